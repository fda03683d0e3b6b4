"""
The `ChannelAdapter` protocol: the rules of one type of channel.

An adapter is stateless and pure. Everything it decides follows from the channel's metadata and
from a *folded state*, which is the log seen through `fold`, one envelope after another. A hub
folds each envelope once when it is accepted, and again from the log when it has restarted; both
must give the same, so a fold looks at nothing but its arguments.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import attrs

from ...records import (
    EV_CHANNEL_PARTICIPANT_HIDDEN,
    EV_CHANNEL_PARTICIPANT_REMOVED,
    EV_PACKET,
    EV_TEXT,
    ChannelManifest,
    ChannelMetadata,
    ChannelState,
    Envelope,
    ParticipantRole,
)

__all__ = [
    "GO_ON",
    "AdapterResult",
    "ChannelAdapter",
    "ExpectedTurn",
    "is_spoken",
    "left_by",
    "participant_with",
]


@attrs.frozen
class AdapterResult:
    """What should become of a channel after an envelope: nothing, or a new state, and why."""

    next_state: ChannelState | None = None
    reason: str = ""


#: What most envelopes come to.
GO_ON: Final = AdapterResult()


@attrs.frozen
class ExpectedTurn:
    """Who should speak next, and the envelope that makes it so (None: the channel's opening)."""

    agent_id: str
    triggering_envelope_id: str | None = None


class ChannelAdapter(Protocol):
    """
    The rules of one type of channel.

    `State` below is whatever frozen attrs class the adapter chooses; the hub only hands it back.
    """

    @property
    def manifest(self) -> ChannelManifest:
        """What channels of this type declare about themselves; copied into each of them."""
        ...

    @property
    def state_type(self) -> type[Any]:
        """The attrs class of the folded state."""
        ...

    def validate_create(self, metadata: ChannelMetadata) -> None:
        """Raise `ProtocolError` or `TooLarge` where such a channel cannot be."""
        ...

    def initial_state(self, metadata: ChannelMetadata) -> Any:
        """Return the state of a channel in which nothing was said."""
        ...

    def validate_send(self, metadata: ChannelMetadata, envelope: Envelope, state: Any) -> None:
        """
        Raise `ProtocolError` where `envelope` may not be said now, `TooLarge` where it is too much.

        It has no id yet; its sender takes part in the channel, and the channel is active.
        """
        ...

    def fold(self, envelope: Envelope, state: Any) -> Any:
        """
        Return the state after `envelope`. Called for every envelope of the log, the hub's own
        included, in order. What raises here is refused before it is logged.

        Where somebody is hidden or removed (`left_by`), an adapter that knows whose turn it is
        gives it to somebody else.
        """
        ...

    def on_accepted(
        self, metadata: ChannelMetadata, envelope: Envelope, state: Any
    ) -> AdapterResult:
        """
        Say what becomes of the channel now that `envelope` is folded into `state`.

        Asked after every post, and after the hub has hidden or removed somebody.
        """
        ...

    def expected_next(self, metadata: ChannelMetadata, state: Any) -> ExpectedTurn | None:
        """Say whose turn it is, where the protocol knows."""
        ...


def is_spoken(envelope: Envelope) -> bool:
    """Whether it is a turn: text or a packet. All else is data that goes by beside the turns."""
    return envelope.event_type in (EV_TEXT, EV_PACKET)


def left_by(envelope: Envelope) -> tuple[str, ...]:
    """Return who takes no turns any more by this envelope: those hidden or removed, if any."""
    if envelope.event_type in (EV_CHANNEL_PARTICIPANT_HIDDEN, EV_CHANNEL_PARTICIPANT_REMOVED):
        return tuple(envelope.event_data["participants"])
    return ()


def participant_with(metadata: ChannelMetadata, role: ParticipantRole) -> str | None:
    """Return the first participant that has `role`."""
    for participant in metadata.participants:
        if participant.role is role:
            return participant.agent_id
    return None
