"""Channels for the tests of the channel machine: metadata, stamps, and adapters that misbehave."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import attrs

from trio_hub.protocol.adapters import AdapterResult, ChannelAdapter, ConversationAdapter
from trio_hub.protocol.channel import ChannelMachine
from trio_hub.protocol.plan import Plan, Stamp
from trio_hub.records import (
    EV_CHANNEL_INVITE_ACK,
    EV_CHANNEL_INVITE_REJECT,
    EV_TEXT,
    ChannelMetadata,
    ChannelState,
    Envelope,
    Participant,
    ParticipantRole,
)

ALICE, BOB, CAROL = "alice", "bob", "carol"
CREATED_AT = "2026-01-01T00:00:00+00:00"


def stamps() -> Callable[[], Stamp]:
    """Make stamps whose ids count up: ``000...1``, ``000...2``."""
    numbers = itertools.count(1)
    return lambda: Stamp(lambda: f"{next(numbers):032x}", CREATED_AT)


def metadata(
    adapter: ChannelAdapter, *agent_ids: str, required_acks: int | None = None, **fields: Any
) -> ChannelMetadata:
    """Draw up a pending channel; the first agent opens it."""
    members = agent_ids or (ALICE, BOB)
    other = ParticipantRole.RESPONDENT if len(members) == 2 else ParticipantRole.PARTICIPANT
    defaults: dict[str, Any] = {
        "channel_id": "channel",
        "manifest": adapter.manifest,
        "creator_id": members[0],
        "participants": tuple(
            Participant(
                agent_id=agent_id,
                role=ParticipantRole.INITIATOR if order == 0 else other,
                order=order,
            )
            for order, agent_id in enumerate(members)
        ),
        "state": ChannelState.PENDING,
        "created_at": CREATED_AT,
        "required_acks": required_acks,
        "pending_acks": members[1:],
    }
    return ChannelMetadata(**{**defaults, **fields})


def text(sender_id: str, words: str = "hi", **fields: Any) -> Envelope:
    """Make a text that somebody wants to post."""
    return envelope(sender_id, EV_TEXT, event_data={"text": words}, **fields)


def ack(sender_id: str, **fields: Any) -> Envelope:
    """Make an invitee's yes."""
    return envelope(sender_id, EV_CHANNEL_INVITE_ACK, **fields)


def reject(sender_id: str, **fields: Any) -> Envelope:
    """Make an invitee's no."""
    return envelope(sender_id, EV_CHANNEL_INVITE_REJECT, **fields)


def envelope(sender_id: str, event_type: str, **fields: Any) -> Envelope:
    """Make an envelope that somebody wants to post."""
    return Envelope(
        **{
            "channel_id": "channel",
            "sender_id": sender_id,
            "event_type": event_type,
            "event_data": {},
            **fields,
        }
    )


@attrs.define
class Live:
    """A channel and its log, as a hub would keep them."""

    machine: ChannelMachine
    stamp: Callable[[], Stamp]
    log: list[Envelope] = attrs.field(factory=list)

    @classmethod
    def create(cls, adapter: ChannelAdapter, *agent_ids: str, **fields: Any) -> Live:
        """Create a channel; its invites are in the log."""
        stamp = stamps()
        drawn = metadata(adapter, *agent_ids, **fields)
        machine, plan = ChannelMachine.plan_create(drawn, adapter, stamp())
        live = cls(machine, stamp)
        live.apply(plan)
        return live

    @classmethod
    def opened(cls, adapter: ChannelAdapter, *agent_ids: str, **fields: Any) -> Live:
        """Create a channel that everybody has joined."""
        live = cls.create(adapter, *agent_ids, **fields)
        for invitee in live.machine.metadata.pending_acks:
            live.post(ack(invitee))
        return live

    def apply(self, plan: Plan) -> Plan:
        """Make a plan true."""
        self.machine.apply(plan)
        self.log += plan.envelopes
        return plan

    def post(self, wanted: Envelope) -> Plan:
        """Post, unless it was posted before."""
        plan = self.machine.plan_post(wanted, self.stamp())
        return plan if plan.is_duplicate else self.apply(plan)

    def replayed(self) -> ChannelMachine:
        """Build the machine again, as a hub that has restarted does."""
        machine = ChannelMachine(self.machine.metadata, self.machine.adapter, self.machine.firings)
        for record in self.log:
            machine.replay(record)
        return machine

    @property
    def state(self) -> ChannelState:
        """Where the channel stands."""
        return self.machine.metadata.state

    @property
    def event_types(self) -> list[str]:
        """What is in the log."""
        return [record.event_type for record in self.log]


class ClumsyAdapter(ConversationAdapter):
    """A conversation whose every step can be made to fail or to say something odd."""

    def __init__(self, *failing: str, result: Any = None, only_for: str | None = None) -> None:
        self.failing = set(failing)
        self.result = result
        self.only_for = only_for

    def _step(self, name: str, event_type: str | None = None) -> None:
        if name in self.failing and (self.only_for is None or self.only_for == event_type):
            raise ZeroDivisionError(f"a bug in {name}")

    def validate_create(self, metadata: ChannelMetadata) -> None:
        self._step("validate_create")

    def initial_state(self, metadata: ChannelMetadata) -> Any:
        self._step("initial_state")
        return super().initial_state(metadata)

    def validate_send(self, metadata: ChannelMetadata, envelope: Envelope, state: Any) -> None:
        self._step("validate_send", envelope.event_type)

    def fold(self, envelope: Envelope, state: Any) -> Any:
        self._step("fold", envelope.event_type)
        return super().fold(envelope, state)

    def on_accepted(self, metadata: ChannelMetadata, envelope: Envelope, state: Any) -> Any:
        self._step("on_accepted", envelope.event_type)
        return AdapterResult() if self.result is None else self.result

    def expected_next(self, metadata: ChannelMetadata, state: Any) -> Any:
        self._step("expected_next")
        return None
