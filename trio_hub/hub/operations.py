"""
The handlers of the operation table: from a connection's typed parameters to the hub's methods.

Each handler carries the name of its operation, and a table test sees to it that there is exactly
one for each row. What the table cannot express of who may do what (an observer of a task must
also be in its channel, say) stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import trio

from ..errors import AccessDeniedError, NotFoundError, ProtocolError
from ..protocol.federation import CrossingAnswer
from ..protocol.task_index import key_of_cursor
from ..records import (
    AuditPage,
    ChannelMetadata,
    Checkpoint,
    DeadLetterPage,
    DeliveryRule,
    DeliveryStanding,
    EffectiveRule,
    Envelope,
    KeptLetter,
    OperatorRule,
    OperatorRulePage,
    Passport,
    PeerPage,
    PendingTurn,
    Resume,
    Revocation,
    RevocationPage,
    Rule,
    TaskMetadata,
    TrackRecord,
    is_bookkeeping,
)
from ..wire import params as p
from ..wire.operations import OPERATIONS
from .answers import RawJson
from .authorization import may_see_task
from .connection import Connection
from .connection_host import Handler
from .limits import HubLimits
from .listing import list_channels
from .log_record import EnvelopeHead, LogRecord

if TYPE_CHECKING:
    from .hub import Hub

__all__ = ["OperationHandlers"]

# Of a frame around a page of envelopes, with what a peer calls its request, but for the commas.
_FRAME_BYTES = 1024


class OperationHandlers:
    """
    What a peer can ask of a hub, but for posting, which has a way of its own.

    Args:
        hub: Whose methods do the work.
        limits: How much is answered at once.
    """

    def __init__(self, hub: Hub, limits: HubLimits) -> None:
        self._hub = hub
        self._limits = limits

    def table(self) -> Mapping[str, Handler]:
        """Return the handler of each operation, by name."""
        return {name: getattr(self, name) for name in OPERATIONS if name != "post_envelope"}

    # Identities

    async def register(self, caller: Connection, it: p.Register) -> Passport:
        return await self._hub.register(
            it.passport, it.resume, skill_md=it.skill_md, rule=it.rule, connection=caller
        )

    async def unregister(self, caller: Connection, it: p.OfAgent) -> None:
        await self._hub.unregister(it.agent_id, by=it.agent_id)
        caller.bound.pop(it.agent_id, None)

    def get_agent(self, caller: Connection, it: p.OfAgentByNameOrId) -> Passport:
        return self._hub.get_agent(it.name_or_id)

    def find_agent_id(self, caller: Connection, it: p.OfName) -> str | None:
        return self._hub.find_agent_id(it.name)

    def names_for(self, caller: Connection, it: p.OfAgents) -> dict[str, str]:
        most = self._limits.names_per_request_max
        if len(it.agent_ids) > most:
            raise ProtocolError(
                f"{len(it.agent_ids)} ids are more than are resolved at once: ask for {most} at a time"
            )
        return {agent_id: self._hub.name_for(agent_id) for agent_id in it.agent_ids}

    async def list_agents(self, caller: Connection, it: p.ListAgents) -> list[Passport]:
        return await self._hub.find_agents(it, most=self._limits.agents_per_answer_max)

    def get_resume(self, caller: Connection, it: p.OfAgent) -> Resume:
        return self._hub.get_resume(it.agent_id)

    async def find_peers(self, caller: Connection, it: p.FindPeers) -> PeerPage:
        return await self._hub.find_peers(it.agent_id, it)

    def get_track_record(self, caller: Connection, it: p.OfAgent) -> dict[str, TrackRecord]:
        return self._hub.get_track_record(it.agent_id)

    def get_skill(self, caller: Connection, it: p.OfAgent) -> str | None:
        return self._hub.get_skill(it.agent_id)

    def get_rule(self, caller: Connection, it: p.OfAgent) -> Rule:
        return self._hub.get_rule(it.agent_id)

    async def set_resume(self, caller: Connection, it: p.SetResume) -> None:
        await self._hub.set_resume(it.agent_id, it.resume, by=it.agent_id)

    async def set_skill(self, caller: Connection, it: p.SetSkill) -> None:
        await self._hub.set_skill(it.agent_id, it.skill_md, by=it.agent_id)

    async def set_rule(self, caller: Connection, it: p.SetRule) -> None:
        await self._hub.set_rule(it.agent_id, it.rule, by=it.agent_id)

    def get_delivery_rule(self, caller: Connection, it: p.OfAgent) -> DeliveryRule:
        return self._hub.get_delivery_rule(it.agent_id)

    async def set_delivery_rule(self, caller: Connection, it: p.SetDeliveryRule) -> None:
        # What operators do is audited with their names.
        by = it.agent_id if it.agent_id in caller.bound else self._operator(caller)
        await self._hub.set_delivery_rule(it.agent_id, it.rule, by=by)

    # Channels

    async def create_channel(self, caller: Connection, it: p.CreateChannel) -> ChannelMetadata:
        return await self._hub.create_channel(
            creator_id=it.creator_id,
            manifest_type=it.manifest_type,
            manifest_version=it.manifest_version,
            participants=it.participants,
            required_acks=it.required_acks,
            ttl=it.ttl,
            knobs=it.knobs,
            intent=it.intent,
            labels=it.labels,
            expectations=it.expectations,
            idempotency_key=it.idempotency_key,
        )

    def get_channel(self, caller: Connection, it: p.OfChannel) -> ChannelMetadata:
        return self._hub.get_channel(it.channel_id)

    async def close_channel(self, caller: Connection, it: p.CloseChannel) -> ChannelMetadata:
        return await self._hub.close_channel(it.channel_id, reason=it.reason or "")

    async def list_channels(self, caller: Connection, it: p.ListChannels) -> list[ChannelMetadata]:
        agent_ids = list(caller.bound) if it.agent_id is None else [it.agent_id]
        # Each once, however many of them take part in it.
        found = dict.fromkeys(
            channel for agent_id in agent_ids for channel in self._hub.channels.of_agent(agent_id)
        )
        return await list_channels(found, it, most=self._limits.channels_per_answer_max)

    async def read_wal(self, caller: Connection, it: p.ReadWal) -> RawJson:
        readers = self._readers(caller, it.channel_id)
        # Not further than can be answered, however long the log is.
        shown = await self._hub.read_raw(
            it.channel_id,
            it.since or 0,
            it.until,
            lambda head: self._sees(caller, readers, head),
            caller.endpoint.frame_bytes_max,
        )
        return RawJson(b"[%b]" % b",".join(shown))

    async def read_tail(self, caller: Connection, it: p.ReadTail) -> RawJson:
        readers = self._readers(caller, it.channel_id)

        def wanted(record: LogRecord) -> bool:
            envelope = record.envelope
            is_left_out = it.said and envelope is not None and is_bookkeeping(envelope.event_type)
            return not is_left_out and self._sees(caller, readers, record.envelope)

        limit = min(it.limit, self._limits.page_records_max)
        start, shown = await self._hub.read_tail_records(
            it.channel_id,
            limit,
            before=it.before,
            wanted=wanted,
            reader=(readers, it.said) if readers else None,
            # Who wants more than can be answered goes on from there.
            bytes_max=caller.endpoint.frame_bytes_max - _FRAME_BYTES - limit,
        )
        return RawJson(
            b'{"start":%d,"envelopes":[%b]}' % (start, b",".join(record.raw for record in shown))
        )

    async def find_envelope_by_causation(
        self, caller: Connection, it: p.FindEnvelopeByCausation
    ) -> RawJson | None:
        readers = self._readers(caller, it.channel_id)
        record = await self._hub.find_record_by_causation(
            it.channel_id, sender_id=it.sender_id, causation_id=it.causation_id
        )
        if record is None or not self._sees(caller, readers, record.envelope):
            return None
        return RawJson(record.raw)

    async def read_standing(self, caller: Connection, it: p.OfEnvelope) -> list[DeliveryStanding]:
        readers = self._readers(caller, it.channel_id)
        record = await self._hub.find_record(it.channel_id, it.envelope_id)
        if record is None or not self._sees(caller, readers, record.envelope):
            raise NotFoundError(f"no envelope {it.envelope_id!r} in channel {it.channel_id}")
        return await self._hub.standing_of(it.channel_id, record)

    async def can_send(self, caller: Connection, it: p.CanSend) -> bool:
        return await self._hub.can_send(it.channel_id, it.sender_id, event_type=it.event_type)

    async def pending_turns_for(
        self, caller: Connection, it: p.PendingTurnsFor
    ) -> list[PendingTurn]:
        return await self._hub.pending_turns_for(
            it.agent_id,
            channel_id=it.channel_id,
            limit=self._limits.turns_per_answer_max,
            after=it.after,
        )

    async def report_turn_failure(self, caller: Connection, it: p.ReportTurnFailure) -> None:
        channel = self._hub.find_channel(it.channel_id)
        if channel is None or it.agent_id not in channel.participant_ids:
            raise AccessDeniedError(f"{it.agent_id} takes no part in a channel {it.channel_id!r}")
        await self._hub.report_turn_failure(
            channel_id=it.channel_id,
            agent_id=it.agent_id,
            envelope_id=it.envelope_id,
            error=it.error,
        )

    # Tasks

    async def observe_task(self, caller: Connection, it: p.ObserveTask) -> None:
        metadata = it.metadata
        if metadata.channel_id:
            channel = self._hub.find_channel(metadata.channel_id)
            if channel is None or metadata.owner_id not in channel.participant_ids:
                raise AccessDeniedError(
                    f"{metadata.owner_id} takes no part in a channel {metadata.channel_id!r}"
                )
        known = self._hub.tasks.find(metadata.task_id)
        writers = self._hub.tasks.checkpoints.writers(metadata.task_id)
        if (known is not None and known.owner_id not in caller.bound) or (
            known is None and writers is not None and caller.bound.keys().isdisjoint(writers)
        ):
            raise AccessDeniedError(
                f"no agent that this connection acts for owns a task {metadata.task_id!r}"
            )
        await self._hub.tasks.observe(metadata)

    async def update_task(self, caller: Connection, it: p.UpdateTask) -> None:
        await self._hub.tasks.update(it)

    def get_task(self, caller: Connection, it: p.OfTask) -> TaskMetadata:
        if not self._may_see(caller, it.task_id):
            raise NotFoundError(f"no task with id {it.task_id!r}")
        return self._hub.tasks.get(it.task_id)

    def list_tasks(self, caller: Connection, it: p.ListTasks) -> list[TaskMetadata]:
        index, after = self._hub.tasks.index, key_of_cursor(it.after)
        channel_ids = {
            channel.channel_id
            for agent_id in caller.bound
            for channel in self._hub.channels.of_agent(agent_id)
        }
        if it.agent_id in caller.bound:
            visible = index.of_owner(it.agent_id, after=after)
        elif it.channel_id in channel_ids:
            visible = index.of_channel(it.channel_id, after=after)
        else:
            visible = index.of_any(caller.bound, channel_ids, after=after)
        return self._hub.tasks.page(it, visible)

    async def wait_task(self, caller: Connection, it: p.WaitTask) -> TaskMetadata:
        task = self.get_task(caller, p.OfTask(task_id=it.task_id))
        with trio.move_on_after(it.wait_seconds):
            task = await self._hub.tasks.end_of(it.task_id)
        # One that goes on is shown as it is now; its owner may have told more of it meanwhile.
        return task if task.is_terminal else self._hub.tasks.find(it.task_id) or task

    async def record_observation(self, caller: Connection, it: p.RecordObservation) -> None:
        if it.task_id is not None:
            task = self._hub.tasks.find(it.task_id)
            if task is not None and task.owner_id not in caller.bound:
                raise AccessDeniedError(
                    f"no agent that this connection acts for owns a task {it.task_id!r}"
                )
        await self._hub.record_observation(
            it.owner_id,
            it.capability,
            it.outcome,
            latency_ms=it.latency_ms,
            task_id=it.task_id,
        )

    def fire_task_event(self, caller: Connection, it: p.FireTaskEvent) -> None:
        owner_id = it.payload.get("owner_id")
        if owner_id is not None and owner_id not in caller.bound:
            raise AccessDeniedError(f"this connection does not act for agent {owner_id!r}")
        self._hub.fire_task_event(it.task_id, it.kind, it.payload)

    async def checkpoint_task(self, caller: Connection, it: p.CheckpointTask) -> None:
        await self._hub.tasks.checkpoints.write(it.task_id, it.state, caller.bound)

    async def read_task_checkpoint(self, caller: Connection, it: p.OfTask) -> dict[str, Any] | None:
        return (await self._hub.tasks.checkpoints.read(it.task_id)).state

    async def swap_task_checkpoint(self, caller: Connection, it: p.SwapTaskCheckpoint) -> int:
        return await self._hub.tasks.checkpoints.write(
            it.task_id,
            it.state,
            caller.bound,
            generation=it.generation,
            key=it.idempotency_key,
            holder=it.holder,
        )

    async def read_task_generation(self, caller: Connection, it: p.OfTask) -> Checkpoint:
        return await self._hub.tasks.checkpoints.read(it.task_id)

    async def lease_task(self, caller: Connection, it: p.LeaseTask) -> int:
        return await self._hub.tasks.checkpoints.lease(
            it.task_id, it.holder, it.seconds, wait_seconds=it.wait_seconds
        )

    async def release_task(self, caller: Connection, it: p.ReleaseTask) -> None:
        await self._hub.tasks.checkpoints.release(it.task_id, it.holder)

    # Looking after a hub

    async def set_operator_rule(self, caller: Connection, it: p.SetOperatorRule) -> None:
        await self._hub.set_operator_rule(it.name, it.rule, by=self._operator(caller))

    def get_operator_rule(self, caller: Connection, it: p.OfName) -> OperatorRule | None:
        return self._hub.get_operator_rule(it.name)

    def list_operator_rules(self, caller: Connection, it: p.ListOperatorRules) -> OperatorRulePage:
        return self._hub.list_operator_rules(limit=it.limit, after=it.after)

    async def revoke_agent(self, caller: Connection, it: p.RevokeAgent) -> Revocation:
        by = self._operator(caller)
        return await self._hub.revoke_agent(it.name, it.reason, by=by, connection=caller)

    async def reinstate_agent(self, caller: Connection, it: p.OfName) -> Revocation | None:
        return await self._hub.reinstate_agent(it.name, by=self._operator(caller))

    def list_revocations(self, caller: Connection, it: p.ListRevocations) -> RevocationPage:
        return self._hub.list_revocations(limit=it.limit, after=it.after)

    def get_effective_rule(self, caller: Connection, it: p.OfAgent) -> EffectiveRule:
        return self._hub.get_effective_rule(it.agent_id)

    def list_dead_letters(self, caller: Connection, it: p.ListDeadLetters) -> DeadLetterPage:
        return self._hub.list_dead_letters(it.agent_id, limit=it.limit, after=it.after)

    async def read_dead_letter(self, caller: Connection, it: p.OfDeadLetter) -> Envelope:
        return await self._hub.read_dead_letter(it.agent_id, it.envelope_id)

    async def replay_dead_letter(self, caller: Connection, it: p.OfDeadLetter) -> KeptLetter:
        return await self._hub.replay_dead_letter(it.agent_id, it.envelope_id)

    async def discard_dead_letter(self, caller: Connection, it: p.OfDeadLetter) -> None:
        await self._hub.discard_dead_letter(it.agent_id, it.envelope_id)

    def health(self, caller: Connection, it: p.Nothing) -> dict[str, Any]:
        return self._hub.health().as_dict()

    async def drain(self, caller: Connection, it: p.Nothing) -> None:
        # Answered first: it parts with the operator, too.
        await self._hub.ask_to_drain()

    async def read_audit(self, caller: Connection, it: p.ReadAudit) -> AuditPage:
        return await self._hub.audit.query(**attrs.asdict(it))

    # Between hubs

    async def cross_envelope(self, caller: Connection, it: p.CrossEnvelope) -> CrossingAnswer:
        door, peer = self._hub.door_for(caller.bound)
        return await door.arrived(peer, it.crossing)

    async def cross_agents(self, caller: Connection, it: p.CrossAgents) -> str:
        door, peer = self._hub.door_for(caller.bound)
        return await door.introduced(peer, it)

    async def cross_can_send(self, caller: Connection, it: p.CrossCanSend) -> bool:
        door, peer = self._hub.door_for(caller.bound)
        channel_id, sender_id = door.may_peer_send(peer, it.channel_id, it.sender)
        return await self._hub.can_send(channel_id, sender_id, event_type=it.event_type)

    # Inside

    def _operator(self, caller: Connection) -> str:
        """Return the operator that a connection acts for, who was let pass as one just now."""
        name = self._hub.acting_operator(caller.bound)
        if name is None:
            raise AccessDeniedError("this connection does not act for an operator any more")
        return name

    def _may_see(self, caller: Connection, task_id: str) -> bool:
        return may_see_task(caller.bound, task_id, self._hub.channels, self._hub.tasks)

    def _readers(self, caller: Connection, channel_id: str) -> frozenset[str]:
        """Return whom a connection acts for that takes part in a channel."""
        return frozenset(self._hub.get_channel(channel_id).participant_ids).intersection(
            caller.bound
        )

    def _sees(
        self, caller: Connection, readers: frozenset[str], envelope: Envelope | EnvelopeHead | None
    ) -> bool:
        """Whether a connection may read a record: as one of the `readers`, or as an operator."""
        if envelope is None:
            return False
        # One that takes part reads as a member does: reading as an operator would be audited.
        if not readers:
            return self._hub.acting_operator(caller.bound) is not None
        audience = envelope.audience
        return audience is None or envelope.sender_id in readers or not readers.isdisjoint(audience)
