"""What agents and people have in common who take part: they open channels, and speak in them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any

import attrs

from ..errors import NotFoundError
from ..ids import ID_PATTERN
from ..protocol.workflow import TransitionGraph
from ..records import AuthBlock, ChannelMetadata, Duration, Envelope, Expectation
from .channel import Channel
from .identity_client import IdentityClient

__all__ = ["SpeakingClient"]


class SpeakingClient(IdentityClient):
    """
    A handle on an identity that takes part in channels: an `AgentClient` or a `HumanClient`.

    Args:
        hub_client: The connection that it is on.
    """

    async def open(
        self,
        *,
        type: str,
        target: str | Iterable[str],
        ttl: Duration | None = None,
        knobs: Mapping[str, Any] | None = None,
        intent: str | None = None,
        labels: Mapping[str, str] | None = None,
        required_acks: int | None = None,
        version: int = 1,
        expectations: Iterable[Expectation] | None = None,
        idempotency_key: str | None = None,
    ) -> Channel:
        """
        Open a channel with others, and return it once they have accepted.

        Args:
            type: ``"consulting"``, ``"conversation"``, ``"discussion"``, ``"workflow"``, or another
                that the hub knows.
            target: The name or id of the other, or of several others.
            ttl: How long it may live, such as ``"30m"``.
            knobs: What its protocol wants to know. For a workflow, ``{"graph": graph}`` with a
                `TransitionGraph`, which may name agents by name or id, or its JSON form with ids.
            intent: What it is for, for people and for logs.
            expectations: What is expected in it, and what follows when it does not come, in place
                of what the type says; None leaves that as it is.
            idempotency_key: Opening under the same key again gives the channel that was opened
                first, as it stands now: it may have ended. It holds for good, also where hub or
                agent have been started again. AG2's hubs know no such keys.

        Raises:
            NotFoundError: There is no such agent, or the hub does not know what an expectation
                names.
            AccessDeniedError: A rule forbids it.
            ProtocolError: Somebody declined, or did not answer in time.

        Cancellation: it may or may not come about.
        """
        self.identity.check_attached()
        targets = [target] if isinstance(target, str) else list(target)
        create = partial(
            self.hub_client.create_channel,
            creator_id=self.agent_id,
            manifest_type=type,
            manifest_version=version,
            required_acks=required_acks,
            ttl=ttl,
            intent=intent,
            labels=labels,
            expectations=None if expectations is None else tuple(expectations),
            idempotency_key=idempotency_key,
        )
        try:
            return await self._open(create, targets, knobs)
        except NotFoundError:
            # A name that was registered anew has another id than the one remembered here.
            remembered = [one for one in targets if self.hub_client.names.id_of(one) is not None]
            if all(ID_PATTERN.fullmatch(one) for one in targets) or not remembered:
                raise
            for one in remembered:
                self.hub_client.names.forget(one)
        return await self._open(create, targets, knobs)

    async def _open(
        self,
        create: Callable[..., Awaitable[ChannelMetadata]],
        targets: list[str],
        knobs: Mapping[str, Any] | None,
    ) -> Channel:
        participants = [await self.hub_client.id_for(one) for one in targets]
        graph = (knobs or {}).get("graph")
        if isinstance(graph, TransitionGraph):
            ids = {
                self.passport.name: self.agent_id,
                **dict(zip(targets, participants, strict=True)),
            }
            knobs = {**(knobs or {}), "graph": graph.with_ids(ids).to_dict()}
        return Channel(await create(participants=participants, knobs=knobs), self)

    async def channel(self, channel_id: str) -> Channel:
        """Return a handle on a channel that it is in. Raises `NotFoundError`."""
        self.identity.check_attached()
        return Channel(await self.hub_client.get_channel(channel_id), self)

    async def send_envelope(self, envelope: Envelope) -> str:
        """
        Post an envelope, and return its id. An empty `sender_id` is filled in.

        Raises, Durability and Cancellation: as `Channel.send`.
        """
        self.identity.check_attached()
        if not envelope.sender_id:
            envelope = attrs.evolve(envelope, sender_id=self.agent_id)
        return await self.hub_client.post_envelope(envelope)

    async def renew(self, auth: AuthBlock) -> None:
        """
        Prove itself by another credential, before the one it has ends, and without a gap.

        What is on its way goes on. From now on it comes back by the new one.

        Args:
            auth: Of the scheme that it was registered with.

        Raises:
            AuthError: The hub refused it. What it had before is kept, and holds as long as it did.
            trio.TooSlowError: The hub did not answer in time.

        Cancellation: the hub may know the new one; it is what the agent comes back by.
        """
        self.identity.check_attached()
        await self.hub_client.renew(self.agent_id, auth)
