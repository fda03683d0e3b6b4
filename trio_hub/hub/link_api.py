"""What a hub is to the links that lead to it, and how a proxy leads from it to other agents."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from ..auth import AuthRegistry
from ..links import LinkEndpoint
from ..links.handshakes import HandshakeFailure, Opening
from .failed_handshakes import FailedHandshakes
from .reception import Reception
from .remote_agents import ProxyRoute, RemoteAgentProxy, RemoteAgents

__all__ = ["LinkApi"]


class LinkApi:
    """The part of `Hub` that links call, and proxies. `Hub` fills in what it works with."""

    _auth: AuthRegistry
    _reception: Reception
    _failed_handshakes: FailedHandshakes
    _remote_agents: RemoteAgents

    @property
    def auth_schemes(self) -> tuple[str, ...]:
        """The schemes that are accepted."""
        return self._auth.schemes

    async def serve(self, endpoint: LinkEndpoint) -> None:
        """
        Talk with a peer until either side is done.

        Cancellation: the connection ends.
        """
        await self._reception.serve(endpoint)

    async def check_bearer(self, token: str, peer: str) -> bool:
        """
        Return if a bearer token is good for somebody, or may be.

        Returns:
            False where no `AuthAdapter` of this hub knows of tokens.

        Raises:
            AuthError: It is nobody's; the audit log has it.
            RateLimited: Too many credentials were refused to its address.

        Cancellation: nothing happens.
        """
        return await self._reception.check_bearer(token, peer)

    async def certificate_refused(self, peer: str, reason: str) -> None:
        """
        Take note of a client certificate that TLS refused.

        It counts as a failed attempt of that address, and is in the audit log on return unless
        there were too many from there. Cancellation: it may or may not be.
        """
        await self._reception.certificate_refused(peer, reason)

    def handshake_begun(self, opening: Opening) -> None:
        """
        Take note of a connection whose handshakes have begun.

        On a hub that wants credentials it is one of the `unauthenticated_connections_max`, and is
        dismissed where it has waited longest of them.
        """
        self._reception.opening_came(opening)

    def handshake_over(self, opening: Opening) -> None:
        """Forget it; what has come of it is served, or told of by `handshake_failed`."""
        self._reception.opening_left(opening)

    def handshake_failed(self, peer: str, failure: HandshakeFailure, detail: str = "") -> None:
        """
        Take note of a connection that ended before its WebSocket was open.

        It is counted; those of a minute together are one record of the audit log
        (``handshakes_failed``), which is written when the minute is over or the hub drains.

        Args:
            detail: What OpenSSL calls it.
        """
        self._failed_handshakes.add(peer, failure, detail)

    def remote_proxy(
        self,
        proxy: RemoteAgentProxy,
        *,
        accepts_invites: bool = True,
        at_once_max: int = 100,
        paused: bool = False,
    ) -> AbstractAsyncContextManager[ProxyRoute]:
        """
        Have a proxy reach the remote agents of its scheme, for as long as the block lasts.

        These are the agents of the kind ``remote_agent`` whose ``auth.scheme`` it is, those that
        are registered later included. Their answers come in by `post_envelope`.

        Args:
            proxy: Closed when the block is left.
            accepts_invites: Accept an invite for the agent once it has been dispatched. A proxy
                whose other side answers invites itself posts the answer.
            at_once_max: How many envelopes it may have in hand at once, over all channels.
            paused: Give it nothing before `ProxyRoute.resume`, which is for proxies that know
                when their link is up.

        Raises:
            ValueError: The scheme has a proxy already.
            StoreError: What waits for its agents cannot be read now.

        Cancellation: what is in hand comes again when there is a proxy again.
        """
        return self._remote_agents.routed(
            proxy, accepts_invites=accepts_invites, at_once_max=at_once_max, paused=paused
        )
