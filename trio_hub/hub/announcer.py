"""
The announcer: the one place that every transition of the hub's state is told to.

From here it goes to the listeners, and to the audit log where it is of a kind that is kept for
good. What is told of is durable, but for refusals, which have nothing to be durable. Nothing
here fails or waits for a listener; the few coroutines wait until the audit log has it.

The audit log names who, what and when. Texts that agents wrote (envelopes, errors, reasons of a
nack) stay out of it, as do claims: it is read by people who may not read the channels.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs

from ..errors import NetworkError
from ..protocol.expectations import Violation
from ..protocol.inbox import Expired
from ..records import (
    ChannelMetadata,
    ChannelState,
    DeliveryRule,
    Envelope,
    KeptLetter,
    OperatorRule,
    Passport,
    Revocation,
    Rule,
    TaskMetadata,
    TaskState,
)
from .audit import AuditLog
from .channels import Channel, LogRecord
from .listeners import Listeners

__all__ = ["AUDITED_CHARACTERS_MAX", "Announcer"]

#: Of names, schemes and ids in the audit log: they come from whoever knocks, and it is kept for good.
AUDITED_CHARACTERS_MAX = 200

_CHANNEL_KINDS = {
    ChannelState.ACTIVE: "opened",
    ChannelState.CLOSING: "closing",
    ChannelState.CLOSED: "closed",
    ChannelState.EXPIRED: "expired",
}
_TASK_KINDS = {TaskState.CREATED: "created", TaskState.RUNNING: "started"}


class Announcer:
    """
    Tells listeners and the audit log.

    Args:
        listeners: Who wants to know.
        audit: What is kept.
    """

    def __init__(self, listeners: Listeners, audit: AuditLog) -> None:
        self.listeners = listeners
        self._audit = audit
        #: Posts that were refused, by the code of the error.
        self.rejections: Counter[str] = Counter()
        #: Expectations that were not met: (name, what followed).
        self.violations: Counter[tuple[str, str]] = Counter()

    # Envelopes

    def posted(self, metadata: ChannelMetadata, records: list[LogRecord]) -> None:
        """A log grew. Call it only where `listeners.hear_posts`."""
        for record in records:
            if record.envelope is not None:
                self.listeners.tell("on_envelope_posted", record.envelope, metadata)

    def rejected(self, envelope: Envelope, error: NetworkError) -> None:
        """A post was refused."""
        self.rejections[error.code] += 1
        self.listeners.tell("on_envelope_rejected", envelope, error)

    def dispatch_failed(self, envelope: Envelope, recipient_id: str, error: NetworkError) -> None:
        """An envelope is not handed to a recipient."""
        self.listeners.tell("on_dispatch_failed", envelope, recipient_id, error)

    def dead_letter(self, letter: KeptLetter) -> None:
        """An envelope became a dead letter."""
        self.listeners.tell("on_dead_letter", letter)
        # What the hub gives as a reason begins with one of these words; others are of agents.
        word = letter.reason.partition(":")[0]
        self._audit.record(
            word if word in ("dropped", "undeliverable") else "dead_letter",
            agent_id=letter.agent_id,
            channel_id=letter.channel_id,
            details={
                "envelope_id": letter.envelope_id,
                "position": letter.position,
                "attempts": letter.attempts,
            },
        )

    def dead_letter_displaced(self, letter: KeptLetter) -> None:
        """A dead letter was discarded because its recipient has too many."""
        self._audit.record(
            "dead_letter_displaced",
            agent_id=letter.agent_id,
            channel_id=letter.channel_id,
            details={"envelope_id": letter.envelope_id, "position": letter.position},
        )

    def envelope_expired(self, agent_id: str, it: Expired) -> None:
        """An envelope's TTL was over before it could be delivered to an agent."""
        self.listeners.tell(
            "on_envelope_expired", it.channel_id, agent_id, it.envelope_id, it.attempts
        )
        self._audit.record(
            "envelope_expired",
            agent_id=agent_id,
            channel_id=it.channel_id,
            details={
                "envelope_id": it.envelope_id,
                "position": it.position,
                "attempts": it.attempts,
            },
        )

    def inbox_pressure(self, agent_id: str, pending: int, cap: int) -> None:
        """An inbox has crossed its high-water mark."""
        self.listeners.tell("on_inbox_pressure", agent_id, pending, cap)

    # Channels

    def channel(self, channel: Channel) -> None:
        """A channel's metadata is durable; tell what is new in it since the last time."""
        metadata, before = channel.metadata, channel.announced
        if before is metadata.state:
            return
        channel.announced = metadata.state
        if before is None:
            self._channel(metadata, "created")
            self._audit.record(
                "channel_created",
                channel_id=metadata.channel_id,
                by=metadata.creator_id,
                details={
                    "type": metadata.manifest.type,
                    "version": metadata.manifest.version,
                    "participants": list(metadata.participant_ids),
                },
            )
        kind = _CHANNEL_KINDS.get(metadata.state)
        if kind is None:
            return
        self._channel(metadata, kind)
        if metadata.is_terminal:
            self._audit.record(f"channel_{kind}", channel_id=metadata.channel_id)

    def expectation_fired(
        self,
        metadata: ChannelMetadata,
        violation: Violation,
        hidden: tuple[str, ...],
        removed: tuple[str, ...],
    ) -> None:
        """An expectation was not met, and what follows from it is durable."""
        expectation, channel_id = violation.expectation, metadata.channel_id
        self.violations[expectation.name, expectation.on_violation] += 1
        self.listeners.tell("on_expectation_fired", channel_id, expectation, violation)
        for kind, agent_ids in (("hidden", hidden), ("removed", removed)):
            if agent_ids:
                payload = {"metadata": metadata, "agent_ids": agent_ids}
                self.listeners.tell("on_channel_event", channel_id, f"participant_{kind}", payload)
        blamed = violation.violator_ids
        self._audit.record(
            "expectation_violated",
            agent_id=blamed[0] if len(blamed) == 1 else None,
            channel_id=channel_id,
            by="hub",
            details={
                "expectation": expectation.name,
                "on_violation": expectation.on_violation,
                "violators": list(blamed),
                "detail": dict(violation.detail),
                "hidden": list(hidden),
                "removed": list(removed),
            },
        )

    def channel_retired(self, metadata: ChannelMetadata, archived: bool) -> None:
        """A channel that had ended is not kept any more."""
        self._channel(metadata, "retired")
        self._audit.record(
            "channel_retired", channel_id=metadata.channel_id, details={"archived": archived}
        )

    def log_trimmed(
        self, metadata: ChannelMetadata, first: int, records: int, archived: bool
    ) -> None:
        """The log of an open channel begins at `first` now."""
        self._channel(metadata, "trimmed")
        self._audit.record(
            "log_trimmed",
            channel_id=metadata.channel_id,
            details={"first": first, "records": records, "archived": archived},
        )

    async def turn_failed(
        self, channel_id: str, agent_id: str, envelope_id: str, error: str
    ) -> None:
        """A handler failed, says its client. Audited when this returns."""
        self.listeners.tell("on_turn_failed", channel_id, agent_id, envelope_id, error)
        await self._audit.written(
            self._audit.record(
                "turn_failed",
                agent_id=agent_id,
                channel_id=channel_id,
                details={
                    "envelope_id": envelope_id[:AUDITED_CHARACTERS_MAX],
                    "error_length": len(error),
                },
            )
        )

    # Identities

    def registered(self, passport: Passport) -> None:
        """Somebody new is there."""
        self._agent(passport.stamped_id, "registered", passport=passport)
        self._audit.record(
            "agent_registered",
            agent_id=passport.agent_id,
            details={"name": passport.name, "scheme": passport.auth.scheme},
        )

    def unregistered(self, passport: Passport, by: str) -> None:
        """Somebody is no more."""
        self._agent(passport.stamped_id, "unregistered", name=passport.name)
        self._audit.record(
            "agent_unregistered",
            agent_id=passport.agent_id,
            by=by,
            details={"name": passport.name},
        )

    async def rule_set(self, agent_id: str, before: Rule, after: Rule, by: str) -> None:
        """A rule was replaced. Audited when this returns."""
        self._agent(agent_id, "rule_set", rule=after, by=by)
        changed = _differences(before, after)
        await self._audit.written(
            self._audit.record(
                "rule_changed", agent_id=agent_id, by=by, details={"changed": changed}
            )
        )

    async def operator_rule_set(
        self,
        name: str,
        agent_id: str | None,
        before: OperatorRule | None,
        after: OperatorRule | None,
        by: str,
    ) -> None:
        """What operators have set for a name was replaced. Audited when this returns."""
        if agent_id is not None:
            self._agent(agent_id, "operator_rule_set", rule=after, by=by)
        details = {
            "name": name[:AUDITED_CHARACTERS_MAX],
            "changed": _differences(before or OperatorRule(), after or OperatorRule()),
            "cleared": after is None,
        }
        await self._audit.written(
            self._audit.record("operator_rule_changed", agent_id=agent_id, by=by, details=details)
        )

    async def agent_revoked(self, revocation: Revocation, agent_id: str | None) -> None:
        """An operator has shut a name out. Audited when this returns."""
        reason, by = revocation.reason, revocation.by
        if agent_id is not None:
            self._agent(agent_id, "revoked", reason=reason, by=by)
        # The reason is no text of an agent's: it is an operator's, who gives it for the record.
        details = {"name": revocation.name[:AUDITED_CHARACTERS_MAX], "reason": reason}
        await self._audit.written(
            self._audit.record("agent_revoked", agent_id=agent_id, by=by, details=details)
        )

    async def agent_reinstated(self, revocation: Revocation, agent_id: str | None, by: str) -> None:
        """An operator has taken a revocation back. Audited when this returns."""
        if agent_id is not None:
            self._agent(agent_id, "reinstated", by=by)
        details = {"name": revocation.name[:AUDITED_CHARACTERS_MAX]}
        await self._audit.written(
            self._audit.record("agent_reinstated", agent_id=agent_id, by=by, details=details)
        )

    async def delivery_rule_set(
        self, agent_id: str, before: DeliveryRule, after: DeliveryRule, by: str
    ) -> None:
        """How an agent is delivered to was replaced. Audited when this returns."""
        self._agent(agent_id, "delivery_rule_set", rule=after, by=by)
        details = {"changed": _differences(before, after)}
        await self._audit.written(
            self._audit.record("delivery_rule_changed", agent_id=agent_id, by=by, details=details)
        )

    def resume_set(self, agent_id: str, version: int, by: str) -> None:
        """A resume was replaced."""
        self._agent(agent_id, "resume_set", version=version, by=by)
        self._audit.record("resume_set", agent_id=agent_id, by=by, details={"version": version})

    def skill_set(self, agent_id: str, by: str, *, removed: bool) -> None:
        """A skill page was replaced or removed."""
        self._agent(agent_id, "skill_set", removed=removed, by=by)
        self._audit.record("skill_set", agent_id=agent_id, by=by, details={"removed": removed})

    def observation_recorded(self, agent_id: str, capability: str, outcome: TaskState) -> None:
        """A task that exercised a capability was counted."""
        self._agent(agent_id, "observation_recorded", capability=capability, outcome=outcome)

    # Connections

    def attached(self, agent_id: str, connection_id: str) -> None:
        """An identity is bound to a connection."""
        self._agent(agent_id, "attached", connection_id=connection_id)

    def detached(self, agent_id: str, connection_id: str) -> None:
        """An identity's connection has ended."""
        self._agent(agent_id, "detached", connection_id=connection_id)

    def taken_over(self, agent_id: str, lost_by: str, taken_by: str, peer: str) -> None:
        """An identity was bound to a connection while another one had it."""
        details = {"lost_by": lost_by, "taken_by": taken_by, "peer": peer}
        self._agent(agent_id, "taken_over", **details)
        self._audit.record("taken_over", agent_id=agent_id, details=details)

    def connection(self, connection_id: str, kind: str, peer: str) -> None:
        """A connection was opened or closed."""
        self.listeners.tell("on_connection_event", connection_id, kind, {"peer": peer})

    async def auth_failed(self, connection_id: str, peer: str, name: str, scheme: str) -> None:
        """A credential was refused. Audited when this returns."""
        details = {
            "name": name[:AUDITED_CHARACTERS_MAX],
            "scheme": scheme[:AUDITED_CHARACTERS_MAX],
            "connection_id": connection_id,
            "peer": peer,
        }
        self.listeners.tell("on_connection_event", connection_id, "auth_failed", details)
        await self._audit.written(self._audit.record("auth_failed", details=details))

    def handshakes_failed(self, summary: dict[str, Any]) -> None:
        """So many connections have ended before their WebSocket was open."""
        self.listeners.tell("on_connection_event", "", "handshakes_failed", summary)
        self._audit.record("handshakes_failed", details=summary)

    def credential_ended(
        self, how: str, agent_id: str, name: str, connection_id: str, peer: str
    ) -> None:
        """Nobody acts for an agent any more by a credential that has expired or was revoked."""
        details = {"name": name, "connection_id": connection_id, "peer": peer}
        told = {"agent_id": agent_id, **details}
        self.listeners.tell("on_connection_event", connection_id, how, told)
        self._audit.record(how, agent_id=agent_id, details=details)

    async def turned_away(self, connection_id: str, peer: str, name: str) -> None:
        """Somebody came with a good credential by a revoked name. Audited when this returns."""
        details = {
            "name": name[:AUDITED_CHARACTERS_MAX],
            "connection_id": connection_id,
            "peer": peer,
        }
        self.listeners.tell("on_connection_event", connection_id, "revoked_turned_away", details)
        await self._audit.written(self._audit.record("revoked_turned_away", details=details))

    def operator_acted(
        self, name: str, operation: str, *, agent_id: str | None, channel_id: str | None
    ) -> None:
        """An operator has asked for something that only operators may."""
        details = {"operation": operation}
        self._audit.record(
            "operator_action", agent_id=agent_id, channel_id=channel_id, by=name, details=details
        )

    async def room(self) -> None:
        """Wait, before letting somebody in, until the audit log has caught up with the disk."""
        await self._audit.room()

    # Tasks

    def task(self, metadata: TaskMetadata, before: TaskMetadata | None) -> None:
        """A task is durable in a new form."""
        kind = "progress"
        if before is None or before.state is not metadata.state:
            kind = _TASK_KINDS.get(metadata.state, str(metadata.state))
            if metadata.is_terminal:
                self._audit.record(
                    "task_terminated",
                    agent_id=metadata.owner_id,
                    channel_id=metadata.channel_id,
                    details={"task_id": metadata.task_id, "outcome": str(metadata.state)},
                )
        self.listeners.tell("on_task_event", metadata.task_id, kind, {"metadata": metadata})

    def task_reported(self, task_id: str, kind: str, payload: dict[str, Any]) -> None:
        """The client of a task's owner reports something about it."""
        self.listeners.tell("on_task_event", task_id, kind, payload)

    # Inside

    def _channel(self, metadata: ChannelMetadata, kind: str) -> None:
        payload: dict[str, Any] = {"metadata": metadata}
        if metadata.close_reason:
            payload["reason"] = metadata.close_reason
        self.listeners.tell("on_channel_event", metadata.channel_id, kind, payload)

    def _agent(self, agent_id: str, kind: str, **payload: Any) -> None:
        self.listeners.tell("on_agent_event", agent_id, kind, payload)


def _differences(before: Any, after: Any, prefix: str = "") -> list[str]:
    """Name the fields that differ; their values may be lists as long as a rule may hold."""
    names: list[str] = []
    for field in attrs.fields(type(before)):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old == new:
            continue
        if attrs.has(type(old)) and type(old) is type(new):
            names += _differences(old, new, f"{prefix}{field.name}.")
        else:
            names.append(prefix + field.name)
    return names
