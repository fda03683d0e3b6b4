"""
The reflection of a channel that belongs to another hub.

Its log holds what crossed from there and what agents here said, in the order in which it came to
be known here. It judges nothing: whether a post fits the channel's protocol is for the hub that
owns it to say. What that hub says is never refused here, or the two would part for ever.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from ...errors import ProtocolError
from ...records import (
    EV_CHANNEL_CLOSED,
    EV_CHANNEL_EXPIRED,
    EV_CHANNEL_INVITE_ACK,
    EV_CHANNEL_INVITE_REJECT,
    EV_CHANNEL_OPENED,
    EV_CHANNEL_PARTICIPANT_HIDDEN,
    EV_CHANNEL_PARTICIPANT_REMOVED,
    ChannelManifest,
    ChannelMetadata,
    ChannelState,
    Envelope,
)
from ...records.envelope import CHANNEL_EVENT_PREFIX, EXPECTATION_EVENT_PREFIX
from ..adapters import AdapterResult, ExpectedTurn
from ..adapters.base import left_by
from ..channel import ChannelMachine
from ..expectations.firings import Firings
from ..plan import Plan, Stamp

__all__ = ["EV_CLOSE_WISH", "OF_THE_HUB", "ReflectedMachine"]

#: What the hub that owns a channel says in it, and nobody else but in answer to an invite.
OF_THE_HUB: Final = (CHANNEL_EVENT_PREFIX, EXPECTATION_EVENT_PREFIX)
#: Asks the hub that owns a channel to close it.
EV_CLOSE_WISH: Final = "trio_hub.channel.close"

_LEAVING: Final = (EV_CHANNEL_PARTICIPANT_HIDDEN, EV_CHANNEL_PARTICIPANT_REMOVED)
_ANSWERS: Final = (EV_CHANNEL_INVITE_ACK, EV_CHANNEL_INVITE_REJECT)
# Why a reflection ends before its channel does.
_REMOVED: Final = "all who took part here were removed"
_STATES: Final = {
    EV_CHANNEL_OPENED: ChannelState.ACTIVE,
    EV_CHANNEL_CLOSED: ChannelState.CLOSED,
    EV_CHANNEL_EXPIRED: ChannelState.EXPIRED,
}


@attrs.frozen
class _AnyRules:
    """The adapter of a channel whose rules are somebody else's business."""

    manifest: ChannelManifest
    state_type: type[Any] = object
    state_version: int = 1

    def validate_create(self, metadata: ChannelMetadata) -> None: ...

    def initial_state(self, metadata: ChannelMetadata) -> None: ...

    def validate_send(self, metadata: ChannelMetadata, envelope: Envelope, state: Any) -> None: ...

    def fold(self, envelope: Envelope, state: Any) -> None: ...

    def on_accepted(
        self, metadata: ChannelMetadata, envelope: Envelope, state: Any
    ) -> AdapterResult:
        return AdapterResult()

    def expected_next(self, metadata: ChannelMetadata, state: Any) -> ExpectedTurn | None:
        return None

    def freeze(self, state: Any) -> None: ...

    def thaw(self, frozen: Any, metadata: ChannelMetadata) -> None: ...


class ReflectedMachine(ChannelMachine):
    """
    A channel of another hub, up to date with the log of its reflection.

    Args:
        metadata: As it stands here.
        far: The participants that live elsewhere: what they say comes from the owning hub.
        firings: Who was removed.
    """

    __slots__ = ("_far",)

    def __init__(
        self, metadata: ChannelMetadata, far: frozenset[str], firings: Firings | None = None
    ) -> None:
        super().__init__(metadata, _AnyRules(metadata.manifest), firings)
        self._far = far

    @classmethod
    def plan_reflect(
        cls, metadata: ChannelMetadata, far: frozenset[str], invite: Envelope, stamp: Stamp
    ) -> tuple[ReflectedMachine, Plan]:
        """Plan a new reflection, which begins with the first invite to somebody here."""
        machine = cls(metadata, far)
        return machine, Plan((stamp.put_on(invite),), metadata, None)

    def plan_post(self, envelope: Envelope, stamp: Stamp) -> Plan:
        """
        Plan what follows from a post, of somebody here or from the owning hub.

        Raises:
            ProtocolError: The sender takes no part, or is here and the channel is not open.
        """
        if envelope.sender_id in self._far:
            first = self.memory.posted.duplicate_of(envelope)
            if first is not None:
                return Plan((), self.metadata, None, duplicate_of=first)
            _check_leaving(envelope)
            stamped = stamp.put_on(envelope)
            if stamped.event_type == EV_CHANNEL_PARTICIPANT_REMOVED:
                return self._plan_without(stamped)
            return Plan((stamped,), self._metadata_after(stamped), None)
        return super().plan_post(envelope, stamp)

    def plan_end(self, state: ChannelState, reason: str, stamp: Stamp) -> Plan | None:
        """Plan nothing: the owning hub ends its channels."""
        return None

    def _when_answered(self, stamped: Envelope, waiting: tuple[str, ...], stamp: Stamp) -> Plan:
        """Take note of an answer to an invite; what comes of it the owning hub will say."""
        rejected = self.metadata.rejected_by
        if stamped.event_type == EV_CHANNEL_INVITE_REJECT:
            rejected = (*rejected, stamped.sender_id)
        answered = attrs.evolve(self.metadata, pending_acks=waiting, rejected_by=rejected)
        return Plan((stamped,), answered, None)

    def _plan_without(self, stamped: Envelope) -> Plan:
        """Take out whom the owning hub has removed. Without anybody here, it is over here."""
        metadata, out = self.metadata, frozenset(left_by(stamped)) - {self.metadata.creator_id}
        leaving = tuple(it for it in metadata.participants if it.agent_id in out)
        rest = attrs.evolve(
            metadata,
            participants=tuple(it for it in metadata.participants if it.agent_id not in out),
            pending_acks=tuple(it for it in metadata.pending_acks if it not in out),
        )
        if self._far.issuperset(rest.participant_ids) and not rest.is_terminal:
            rest = attrs.evolve(
                rest,
                state=ChannelState.CLOSED,
                close_reason=_REMOVED,
                closed_at=stamped.created_at,
            )
        firings = attrs.evolve(self.firings, removed=(*self.firings.removed, *leaving))
        return Plan((stamped,), rest, None, firings=firings)

    def _metadata_after(self, envelope: Envelope) -> ChannelMetadata:
        metadata = self.metadata
        state = _STATES.get(envelope.event_type)
        if state is None or metadata.is_terminal:
            return metadata
        if not state.is_terminal:
            return attrs.evolve(metadata, state=state)
        reason = envelope.event_data.get("reason", "")
        return attrs.evolve(
            metadata,
            state=state,
            close_reason=reason if isinstance(reason, str) else "",
            closed_at=envelope.created_at,
        )


def _check_leaving(envelope: Envelope) -> None:
    """Refuse an event that says that somebody is out, and not who."""
    if envelope.event_type in _LEAVING:
        who = envelope.event_data.get("participants")
        if not isinstance(who, list | tuple) or not all(isinstance(it, str) for it in who):
            raise ProtocolError(f"a {envelope.event_type!r} names participants by their ids")


def check_far_event(envelope: Envelope) -> None:
    """
    Refuse an event that only an agent's own hub posts, from the hub of somebody who was invited.

    Raises:
        ProtocolError: It is one.
    """
    if envelope.event_type.startswith(OF_THE_HUB) and envelope.event_type not in _ANSWERS:
        raise ProtocolError(f"a {envelope.event_type!r} is posted by the owning hub alone")
