"""
The life of a channel, as a machine that plans.

Theory of operation. A channel is its metadata, its log, and what the log folds to. Whatever
happens to it is worked out as a `Plan`: the envelopes to append, stamped and in order, and the
metadata and folded state after them. A plan changes nothing. The hub encodes it, checks its
size, `apply`s it, and commits it as one batch, so that a channel that closes with a reply has
reply, closing envelope and new metadata on disk together, or none of them. When a commit fails,
the machine is thrown away and built again from what the log really holds.

`channel_states` is the whole of what may follow what; an event that is missing there is illegal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from ..errors import AccessDeniedError, NetworkError, ProtocolError
from ..records import (
    EV_CHANNEL_CLOSED,
    EV_CHANNEL_EXPIRED,
    EV_CHANNEL_INVITE,
    EV_CHANNEL_INVITE_REJECT,
    EV_CHANNEL_OPENED,
    ChannelMetadata,
    ChannelState,
    Envelope,
    is_bookkeeping,
)
from .adapters import AdapterResult, ChannelAdapter, ExpectedTurn
from .adapters.base import left_by
from .channel_states import CHANNEL, EVENT_FOR, ChannelEvent
from .expectations.firings import Firings
from .expectations.pulse import Pulse
from .log_memory import ANSWERS, LogMemory
from .plan import Plan, Stamp

__all__ = ["ChannelMachine"]


class ChannelMachine:
    """
    One channel, up to date with its log.

    Args:
        metadata: As it stands.
        adapter: The rules of its type.
        firings: What has come of its expectations.

    Attributes:
        memory: What it remembers of its log, beside what its adapter makes of that.
        damage: Why nothing can be posted any more though the channel is open, or "".
    """

    __slots__ = (
        "adapter",
        "damage",
        "firings",
        "memory",
        "metadata",
        "state",
    )

    def __init__(
        self, metadata: ChannelMetadata, adapter: ChannelAdapter, firings: Firings | None = None
    ) -> None:
        self.metadata = metadata
        self.adapter = adapter
        self.firings = Firings() if firings is None else firings
        self.memory = LogMemory(Pulse() if metadata.manifest.expectations else None)
        self.state: Any = None
        self.damage = ""
        try:
            begun = self.as_it_began()
            self.state = self._guarded(lambda: adapter.initial_state(begun), "begin")
        except ProtocolError as error:
            self.damage = error.message

    def as_it_began(self) -> ChannelMetadata:
        """Return the metadata with everybody in it who has taken part, for the log to be folded."""
        metadata, removed = self.metadata, self.firings.removed
        if not removed:
            return metadata
        everybody = sorted((*metadata.participants, *removed), key=lambda it: it.order)
        return attrs.evolve(metadata, participants=tuple(everybody))

    # What is on disk already

    def replay(self, envelope: Envelope) -> None:
        """
        Take the next envelope of the log. One that cannot be folded damages the channel: it
        can still be read and delivers what it owes, but nothing more is posted to it.
        """
        # Past a hole, what is folded would be worth nothing.
        if not self.damage:
            try:
                self.state = self.adapter.fold(envelope, self.state)
            except Exception as error:
                what = f"envelope {envelope.envelope_id} cannot be folded"
                self.damage = f"record {self.length}: {what}: {error!r}"
        self._remember(envelope)

    def replay_unreadable(self, why: str) -> None:
        """Take a record of the log that nothing can be made of."""
        self.damage = self.damage or f"record {self.length}: {why}"
        self.memory.skip()

    # What is to happen

    @classmethod
    def plan_create(
        cls, metadata: ChannelMetadata, adapter: ChannelAdapter, stamp: Stamp
    ) -> tuple[ChannelMachine, Plan]:
        """
        Plan a new channel: an invite for each that is asked to take part.

        Raises:
            ProtocolError: The adapter does not take such a channel.
        """
        machine = cls(metadata, adapter)
        machine._guarded(lambda: adapter.validate_create(metadata), "be created")
        if machine.damage:
            raise ProtocolError(machine.damage)
        invites = tuple(
            stamp.put_on(
                Envelope(
                    channel_id=metadata.channel_id,
                    sender_id=metadata.creator_id,
                    audience=(invitee,),
                    event_type=EV_CHANNEL_INVITE,
                    event_data={
                        "channel_id": metadata.channel_id,
                        "manifest_type": metadata.manifest.type,
                        "manifest_version": metadata.manifest.version,
                        "creator_id": metadata.creator_id,
                        "knobs": metadata.knobs,
                        "labels": metadata.labels,
                    },
                )
            )
            for invitee in metadata.pending_acks
        )
        return machine, machine._plan(invites, *machine._when_agreed(metadata, stamp))

    def plan_post(self, envelope: Envelope, stamp: Stamp) -> Plan:
        """
        Plan what follows from a post.

        Raises:
            ProtocolError: The channel, its protocol, or the key forbids it.
        """
        metadata = self.metadata
        if envelope.sender_id not in metadata.participant_ids:
            raise ProtocolError(
                f"{envelope.sender_id} takes no part in channel {metadata.channel_id}"
            )
        first = self.memory.posted.duplicate_of(envelope)
        if first is not None:
            return Plan((), metadata, self.state, duplicate_of=first)
        if envelope.event_type in ANSWERS:
            return self._plan_answer(envelope, stamp)
        self._check_heard(envelope.sender_id)
        self._check_open(envelope)
        adapter, stamped = self.adapter, stamp.put_on(envelope)
        # As in `_guarded`; but for every post three closures and as many calls are a lot.
        try:
            adapter.validate_send(metadata, envelope, self.state)
            state = adapter.fold(stamped, self.state)
            result = _checked(adapter.on_accepted(metadata, stamped, state))
        except NetworkError:
            raise
        except Exception as error:
            raise self._broken(f"take a {envelope.event_type!r}", error) from error
        if result.next_state is None:
            return Plan((stamped,), metadata, state)
        return self._plan((stamped,), *self._when_ended(result.next_state, result.reason, stamp))

    def plan_end(self, state: ChannelState, reason: str, stamp: Stamp) -> Plan | None:
        """
        Plan the end of the channel (CLOSED or EXPIRED), or None where it has ended before.

        No adapter can prevent it: where it fails, the state stays what it was.
        """
        if self.metadata.is_terminal:
            return None
        envelopes, metadata = self._when_ended(state, reason, stamp)
        try:
            return self._plan((), envelopes, metadata)
        except ProtocolError:
            return Plan(envelopes, metadata, self.state)

    def plan_own(
        self,
        said: Sequence[Envelope],
        metadata: ChannelMetadata,
        ending: AdapterResult,
        firings: Firings,
        stamp: Stamp,
    ) -> Plan:
        """
        Plan what the hub itself says, and does to the channel by that.

        Args:
            said: Not stamped yet.
            metadata: With what the hub has changed about the participants.
            ending: Whether the channel ends. Where it does not, the adapter is asked what comes
                of it that somebody has left.
            firings: Kept with it.

        Raises:
            ProtocolError: The adapter cannot take it.
        """
        stamped = tuple(stamp.put_on(envelope) for envelope in said)
        state = self.state
        for envelope in stamped:
            state = self._fold(envelope, state)
            if ending.next_state is None and left_by(envelope):
                ending = self._asked(metadata, envelope, state)
        if ending.next_state is not None:
            more, metadata = self._when_ended(ending.next_state, ending.reason, stamp, metadata)
        else:
            more, metadata = self._when_agreed(metadata, stamp)
        return attrs.evolve(self._plan(stamped, more, metadata), firings=firings)

    def apply(self, plan: Plan) -> None:
        """Make a plan true in memory. It must have been made from the machine as it stands."""
        assert not plan.is_duplicate, "there is nothing to apply of a duplicate"
        for envelope in plan.envelopes:
            self._remember(envelope)
        self.metadata = plan.metadata
        self.state = plan.state
        if plan.firings is not None:
            self.firings = plan.firings

    # What may be asked

    @property
    def length(self) -> int:
        """How many envelopes its log holds; the next one's position."""
        return self.memory.posted.length

    @property
    def pulse(self) -> Pulse | None:
        """What its expectations need to know of its log; None where it has none."""
        return self.memory.pulse

    @property
    def hidden(self) -> frozenset[str]:
        """Who takes part and is not heard any more."""
        return frozenset() if self.pulse is None else self.pulse.hidden

    def can_send(self, sender_id: str, event_type: str) -> bool:
        """Whether a post of `event_type` by `sender_id` would be accepted now."""
        probe = Envelope(
            channel_id=self.metadata.channel_id,
            sender_id=sender_id,
            event_type=event_type,
            event_data={},
        )
        try:
            if sender_id not in self.metadata.participant_ids:
                return False
            self._check_heard(sender_id)
            self._check_open(probe)
            self._guarded(
                lambda: self.adapter.validate_send(self.metadata, probe, self.state), "say"
            )
        except NetworkError:
            return False
        return True

    def expected_next(self) -> ExpectedTurn | None:
        """Whose turn it is, where the protocol knows and the channel is active."""
        if self.metadata.state is not ChannelState.ACTIVE or self.damage:
            return None
        try:
            turn: ExpectedTurn | None = self._guarded(
                lambda: self.adapter.expected_next(self.metadata, self.state), "say who is next"
            )
        except NetworkError:
            # One that cannot say is one that does not know.
            return None
        return turn

    def position_by_cause(self, sender_id: str, causation_id: str) -> int | None:
        """Where the envelope stands that `sender_id` posted because of another one."""
        return self.memory.posted.position_by_cause(sender_id, causation_id)

    def knows_key_of(self, envelope: Envelope) -> bool:
        """Whether something was posted under this one's key, so that it would be no new post."""
        return self.memory.posted.knows_key_of(envelope)

    def id_by_key(self, key: str) -> str | None:
        """Return the id of the envelope that any participant posted under a key, or None."""
        return self.memory.posted.id_by_key(self.metadata.participant_ids, key)

    # Inside

    def _remember(self, envelope: Envelope) -> None:
        self.memory.add(envelope, self.metadata.participant_ids)

    def _check_heard(self, sender_id: str) -> None:
        if self.pulse is not None and sender_id in self.pulse.hidden:
            raise AccessDeniedError(
                f"{sender_id} is hidden in channel {self.metadata.channel_id}, because it did not "
                "do in time what was expected of it: it hears the others, who do not hear it any "
                "more"
            )

    def _check_open(self, envelope: Envelope) -> None:
        metadata = self.metadata
        if metadata.is_terminal:
            why = f": {metadata.close_reason}" if metadata.close_reason else ""
            raise ProtocolError(f"channel {metadata.channel_id} is {metadata.state}{why}")
        if self.damage:
            raise ProtocolError(
                f"channel {metadata.channel_id} is damaged and takes no more posts ({self.damage})"
            )
        if metadata.state is not ChannelState.ACTIVE and not is_bookkeeping(envelope.event_type):
            raise ProtocolError(f"channel {metadata.channel_id} is {metadata.state}, not active")

    def _plan_answer(self, envelope: Envelope, stamp: Stamp) -> Plan:
        """Plan what follows from an invitee's ack or reject."""
        metadata = self.metadata
        invitee = envelope.sender_id
        given = self.memory.answers.get(invitee)
        if given is not None and given.is_same(envelope):
            # The answer of an invite that came twice: it was given, and that is that.
            return Plan((), metadata, self.state, duplicate_of=given.envelope_id)
        if metadata.is_terminal or invitee not in metadata.pending_acks:
            raise ProtocolError(
                f"channel {metadata.channel_id} ({metadata.state}) waits for no answer of {invitee}"
            )
        stamped = stamp.put_on(envelope)
        waiting = tuple(agent_id for agent_id in metadata.pending_acks if agent_id != invitee)
        return self._when_answered(stamped, waiting, stamp)

    def _when_answered(self, stamped: Envelope, waiting: tuple[str, ...], stamp: Stamp) -> Plan:
        """Plan what follows now that an answer is here, and those in `waiting` are still due."""
        metadata = self.metadata
        if stamped.event_type == EV_CHANNEL_INVITE_REJECT:
            answered = attrs.evolve(
                metadata,
                pending_acks=waiting,
                rejected_by=(*metadata.rejected_by, stamped.sender_id),
            )
            if not self._next(ChannelEvent.REJECTED).is_terminal:
                # It is open without them: enough others had accepted.
                return self._plan((stamped,), (), answered)
            ended = self._when_ended(ChannelState.CLOSED, "invite_rejected", stamp, answered)
            return self._plan((stamped,), *ended)
        answered = attrs.evolve(metadata, pending_acks=waiting)
        self._next(ChannelEvent.ACKED)
        return self._plan((stamped,), *self._when_agreed(answered, stamp))

    def _when_agreed(
        self, metadata: ChannelMetadata, stamp: Stamp
    ) -> tuple[tuple[Envelope, ...], ChannelMetadata]:
        """Open a pending channel, where enough have accepted."""
        invited = len(metadata.participants) - 1
        needed = invited if metadata.required_acks is None else metadata.required_acks
        accepted = invited - len(metadata.pending_acks)
        if metadata.state is not ChannelState.PENDING or accepted < min(needed, invited):
            return (), metadata
        opened = Envelope(
            channel_id=metadata.channel_id,
            sender_id=metadata.creator_id,
            audience=metadata.participant_ids,
            event_type=EV_CHANNEL_OPENED,
            event_data={"channel_id": metadata.channel_id},
        )
        active = attrs.evolve(metadata, state=self._next(ChannelEvent.QUORUM))
        return (stamp.put_on(opened),), active

    def _when_ended(
        self,
        state: ChannelState,
        reason: str,
        stamp: Stamp,
        metadata: ChannelMetadata | None = None,
    ) -> tuple[tuple[Envelope, ...], ChannelMetadata]:
        """Change the state; say so to everybody where it is final."""
        metadata = self.metadata if metadata is None else metadata
        ended = attrs.evolve(metadata, state=self._next(EVENT_FOR[state]), close_reason=reason)
        if not state.is_terminal:
            return (), ended
        event_type = EV_CHANNEL_EXPIRED if state is ChannelState.EXPIRED else EV_CHANNEL_CLOSED
        last = Envelope(
            channel_id=metadata.channel_id,
            sender_id=metadata.creator_id,
            audience=metadata.participant_ids,
            event_type=event_type,
            event_data={"reason": reason, "channel_id": metadata.channel_id},
        )
        return (stamp.put_on(last),), attrs.evolve(ended, closed_at=stamp.created_at)

    def _plan(
        self,
        envelopes: tuple[Envelope, ...],
        more: tuple[Envelope, ...],
        metadata: ChannelMetadata,
    ) -> Plan:
        envelopes = (*envelopes, *more)
        state = self.state
        for envelope in envelopes:
            state = self._fold(envelope, state)
        return Plan(envelopes, metadata, state)

    def _fold(self, envelope: Envelope, state: Any) -> Any:
        return self._guarded(
            lambda: self.adapter.fold(envelope, state), f"take a {envelope.event_type!r}"
        )

    def _asked(self, metadata: ChannelMetadata, envelope: Envelope, state: Any) -> AdapterResult:
        """Ask the adapter what becomes of the channel after an envelope."""
        result: AdapterResult = self._guarded(
            lambda: _checked(self.adapter.on_accepted(metadata, envelope, state)),
            f"take a {envelope.event_type!r}",
        )
        return result

    def _guarded(self, step: Callable[[], Any], what: str) -> Any:
        """Let an adapter's bug cost one post, not the log: what it cannot take is refused."""
        try:
            return step()
        except NetworkError:
            raise
        except Exception as error:
            raise self._broken(what, error) from error

    def _broken(self, what: str, error: Exception) -> ProtocolError:
        return ProtocolError(
            f"the adapter {self.metadata.manifest.type!r} of channel "
            f"{self.metadata.channel_id} cannot {what}: {error!r}"
        )

    def _next(self, event: ChannelEvent) -> ChannelState:
        state = self.metadata.state
        following = CHANNEL[state].get(event)
        if following is None:
            raise ProtocolError(
                f"channel {self.metadata.channel_id} is {state}: it cannot be {event}"
            )
        return following


def _checked(result: object) -> AdapterResult:
    """Refuse what `on_accepted` must not return."""
    if not isinstance(result, AdapterResult):
        raise TypeError(f"on_accepted returned {result!r}, which is no AdapterResult")
    if result.next_state is not None and result.next_state not in EVENT_FOR:
        raise ValueError(f"on_accepted asked for the state {result.next_state!r}")
    return result
