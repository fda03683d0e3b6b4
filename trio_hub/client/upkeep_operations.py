"""The operations for whoever looks after a hub or an agent, as methods."""

from __future__ import annotations

from typing import Any

from ..records import (
    AuditPage,
    DeadLetterPage,
    EffectiveRule,
    Envelope,
    KeptLetter,
    OperatorRule,
    OperatorRulePage,
    Revocation,
    RevocationPage,
)
from ..wire import params as p
from .asking import Asking

__all__ = ["UpkeepOperations"]


class UpkeepOperations(Asking):
    """Operators' rules, revocations, dead letters, health, draining and the audit log. AG2's hubs know none of them."""

    async def set_operator_rule(self, name: str, rule: OperatorRule | None) -> None:
        """
        Set a ceiling over the rule of whoever has a name, now or later; None clears it.

        For operators of the hub. Durable, audited and in force on return, from the next post on.
        """
        await self.request("set_operator_rule", p.SetOperatorRule(name=name, rule=rule), None)

    async def get_operator_rule(self, name: str) -> OperatorRule | None:
        """Read what operators have set for a name, or None. For operators of the hub."""
        rule: OperatorRule | None = await self.request(
            "get_operator_rule", p.OfName(name=name), OperatorRule | None
        )
        return rule

    async def list_operator_rules(
        self, *, limit: int = p.LIST_LIMIT_DEFAULT, after: str | None = None
    ) -> OperatorRulePage:
        """
        List the names for which operators have set a rule, sorted. For operators of the hub.

        Args:
            limit: At most so many.
            after: Go on behind an earlier page: its `after`.
        """
        page: OperatorRulePage = await self.request(
            "list_operator_rules", p.ListOperatorRules(limit=limit, after=after), OperatorRulePage
        )
        return page

    async def revoke_agent(self, name: str, reason: str) -> Revocation:
        """
        Shut out whoever has a name, now or later, until it is reinstated.

        For operators of the hub. On return it is durable and audited, whoever was connected by
        that name was told why and let go, and nobody comes by it any more. What is owed to the
        agent is kept. Revoking it again replaces the reason.

        Args:
            name: Of an agent; not one for which this client's connection acts.
            reason: A sentence for the agent; it is audited, too.

        Raises:
            AccessDeniedError: This client acts for that name, or for no operator.
            ProtocolError: It is no name, the reason is missing or too long, or too many are revoked.
            StoreError: It may or may not be revoked.

        Cancellation: it may or may not be revoked.
        """
        revocation: Revocation = await self.request(
            "revoke_agent", p.RevokeAgent(name=name, reason=reason), Revocation
        )
        return revocation

    async def reinstate_agent(self, name: str) -> Revocation | None:
        """
        Let whoever has a name come again; return what was taken back, None where there was nothing.

        For operators of the hub. Durable and audited on return.
        """
        revocation: Revocation | None = await self.request(
            "reinstate_agent", p.OfName(name=name), Revocation | None
        )
        return revocation

    async def list_revocations(
        self, *, limit: int = p.LIST_LIMIT_DEFAULT, after: str | None = None
    ) -> RevocationPage:
        """
        List the names that are revoked, sorted, with why and by whom. For operators of the hub.

        Args:
            limit: At most so many.
            after: Go on behind an earlier page: its `after`.
        """
        page: RevocationPage = await self.request(
            "list_revocations", p.ListRevocations(limit=limit, after=after), RevocationPage
        )
        return page

    async def get_effective_rule(self, agent_id: str) -> EffectiveRule:
        """
        Read what is in force for an agent: the stricter of its own rule and its operators'.

        Args:
            agent_id: One that is attached here; for an operator, any.
        """
        rule: EffectiveRule = await self.request(
            "get_effective_rule", p.OfAgent(agent_id=agent_id), EffectiveRule
        )
        return rule

    async def list_dead_letters(
        self,
        agent_id: str | None = None,
        *,
        limit: int = p.LIST_LIMIT_DEFAULT,
        after: str | None = None,
    ) -> DeadLetterPage:
        """
        List what could not be delivered to an agent, oldest envelope first.

        AG2's hubs keep no dead letters and do not know this, nor the other operations for them.

        Args:
            agent_id: One that is attached here; for an operator, any, and None is everybody.
            limit: At most so many.
            after: Go on behind an earlier page: its `after`.
        """
        page: DeadLetterPage = await self.request(
            "list_dead_letters",
            p.ListDeadLetters(agent_id=agent_id, limit=limit, after=after),
            DeadLetterPage,
        )
        return page

    async def read_dead_letter(self, agent_id: str, envelope_id: str) -> Envelope:
        """Read the envelope of a dead letter of an agent."""
        envelope: Envelope = await self.request(
            "read_dead_letter",
            p.OfDeadLetter(agent_id=agent_id, envelope_id=envelope_id),
            Envelope,
        )
        return envelope

    async def replay_dead_letter(self, agent_id: str, envelope_id: str) -> KeptLetter:
        """
        Have a dead letter delivered once more: now, or when its recipient is back.

        An ack ends it; a nack brings it back with one more attempt counted.
        """
        letter: KeptLetter = await self.request(
            "replay_dead_letter",
            p.OfDeadLetter(agent_id=agent_id, envelope_id=envelope_id),
            KeptLetter,
        )
        return letter

    async def discard_dead_letter(self, agent_id: str, envelope_id: str) -> None:
        """Throw a dead letter away; its envelope stays in its channel's log."""
        await self.request(
            "discard_dead_letter",
            p.OfDeadLetter(agent_id=agent_id, envelope_id=envelope_id),
            None,
        )

    async def health(self) -> dict[str, Any]:
        """
        Ask how the hub is doing, as an operator: the fields of `HubHealth`, and whether all is
        well as ``"ok"``.
        """
        health: dict[str, Any] = await self.request("health", p.Nothing(), dict[str, Any])
        return health

    async def drain(self) -> None:
        """
        Have the hub drain, as an operator: it takes nothing new, writes what it accepted, and
        parts with everybody, who are told to come back. A hub that runs as a program ends.

        When this returns, the audit log names who asked, and the hub has begun.

        Cancellation: it may or may not drain.
        """
        await self.request("drain", p.Nothing(), None)

    async def read_audit(
        self,
        *,
        kind: str | None = None,
        agent_id: str | None = None,
        channel_id: str | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: int = p.LIST_LIMIT_DEFAULT,
        before: int | None = None,
    ) -> AuditPage:
        """
        Read the latest records of the audit log that meet everything given, as an operator.

        Args:
            agent_id: That it happened to, or that did it.
            since: Not before this time (ISO 8601).
            until: Before this time.
            limit: At most so many, up to 1,000.
            before: Below this position; go on with the `start` of an earlier page, until it is 0.
        """
        asked = p.ReadAudit(
            kind=kind,
            agent_id=agent_id,
            channel_id=channel_id,
            since=since,
            until=until,
            limit=limit,
            before=before,
        )
        page: AuditPage = await self.request("read_audit", asked, AuditPage)
        return page
