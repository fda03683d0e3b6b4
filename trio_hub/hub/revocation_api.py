"""What a hub can be asked about the agents that its operators have shut out, in the same process."""

from __future__ import annotations

from ..errors import AccessDeniedError
from ..records import Revocation, RevocationPage
from ..wire.params import LIST_LIMIT_DEFAULT
from .announcer import Announcer
from .connection import Connection
from .limits import HubLimits
from .reception import Reception
from .registry import Registry
from .remote_agents import RemoteAgents
from .revocations import Revocations, revoked

__all__ = ["RevocationApi"]


class RevocationApi:
    """The part of `Hub` that is about shutting agents out. `Hub` fills in what it works with."""

    _limits: HubLimits
    _registry: Registry
    _revocations: Revocations
    _reception: Reception
    _remote_agents: RemoteAgents
    _announcer: Announcer

    def find_revocation(self, name: str) -> Revocation | None:
        """Return why nobody may act for a name, or None: they may."""
        return self._revocations.find(name)

    def check_revoked(self, name: str) -> None:
        """Raise `AgentRevoked` where an operator has revoked a name."""
        self._revocations.check(name)

    def list_revocations(
        self, *, limit: int = LIST_LIMIT_DEFAULT, after: str | None = None
    ) -> RevocationPage:
        """
        Return the names that operators have revoked, sorted, with why and by whom.

        Args:
            limit: At most so many; never more than `HubLimits.page_records_max`.
            after: Go on behind an earlier page: its `after`.
        """
        return self._revocations.page(min(limit, self._limits.page_records_max), after)

    async def revoke_agent(
        self, name: str, reason: str, *, by: str = "hub", connection: Connection | None = None
    ) -> Revocation:
        """
        Shut out whoever has a name, now or later, until it is reinstated.

        When this returns it is durable, the audit log says so, and nobody acts for the agent any
        more: its connection was told why and let go. Whoever comes by that name from then on is
        refused with `AgentRevoked`, once its credential was found good. What the agent is owed is
        kept, and others may go on to post to it, as to one that is away. Revoking it again
        replaces the reason.

        It binds whoever comes by a link, also in this process (`LocalLink`), agents that a
        `RemoteAgentProxy` reaches, and those of other hubs; not who calls this hub's own methods.

        Args:
            reason: A sentence for the agent; it is audited, too.
            by: Who wants it, for the audit log: a name or an id.
            connection: Of the operator who wants it; it can revoke nobody that it acts for.

        Raises:
            AccessDeniedError: The connection acts for that name; or it does not act for `by` any
                more, who was revoked meanwhile.
            ProtocolError: Nobody can have such a name, the reason is missing or too long, or too
                many names are revoked.
            StoreError: It could not be kept, as far as is known.

        Cancellation: it may or may not be revoked.
        """

        def check() -> None:
            if connection is None:
                return
            names = connection.bound.values()
            if name in names:
                raise AccessDeniedError(
                    f"this connection acts for {name!r} itself: have another operator revoke it"
                )
            if by not in names:
                raise AccessDeniedError(f"this connection does not act for {by!r} any more")

        revocation = await self._revocations.revoke(name, reason, by, check)
        await self._announcer.agent_revoked(revocation, self._registry.id_of(name))
        return revocation

    async def reinstate_agent(self, name: str, *, by: str = "hub") -> Revocation | None:
        """
        Let whoever has a name come again.

        Durable and audited when this returns. The agent gets what it is owed when it attaches.

        Args:
            by: Who wants it, for the audit log: a name or an id.

        Returns:
            What was taken back; None where the name was not revoked, which is not audited.

        Raises:
            ProtocolError: Nobody can have such a name.
            StoreError: It could not be kept, as far as is known.

        Cancellation: it may or may not be reinstated.
        """
        revocation = await self._revocations.reinstate(name)
        if revocation is not None:
            agent_id = self._registry.id_of(name)
            if agent_id is not None:
                await self._remote_agents.reinstated(agent_id)
            await self._announcer.agent_reinstated(revocation, agent_id, by)
        return revocation

    def _on_revocation(self, name: str, revocation: Revocation | None) -> None:
        agent_id = self._registry.id_of(name)
        if revocation is not None and agent_id is not None:
            self._reception.part_with(agent_id, revoked(revocation))
            self._remote_agents.revoked(agent_id)
