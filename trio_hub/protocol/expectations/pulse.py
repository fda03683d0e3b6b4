"""
The pulse of a channel: what expectations need to know of its log, kept as it grows.

It costs each envelope a few comparisons, and a text one look at each participant; it never holds
on to an envelope.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import attrs

from ...ids import seconds_from_iso
from ...records import (
    EV_CHANNEL_OPENED,
    EV_CHANNEL_PARTICIPANT_HIDDEN,
    EV_CHANNEL_PARTICIPANT_REMOVED,
    EV_PACKET,
    EV_TEXT,
    Envelope,
    is_bookkeeping,
)

__all__ = ["Moment", "Pulse", "PulseSnapshot"]

_SPOKEN: Final = (EV_TEXT, EV_PACKET)
_LEAVING: Final = (EV_CHANNEL_PARTICIPANT_HIDDEN, EV_CHANNEL_PARTICIPANT_REMOVED)


class Moment(NamedTuple):
    """An envelope of the log, as far as time goes."""

    envelope_id: str
    created_at: str

    @property
    def seconds(self) -> float:
        """When it was accepted, in seconds since 1970."""
        return seconds_from_iso(self.created_at)


@attrs.frozen
class PulseSnapshot:
    """A pulse as it can be kept; see `Pulse`."""

    opened: Moment | None
    content: Moment | None
    spoken: Moment | None
    left: Moment | None
    unanswered: dict[str, Moment]
    hidden: tuple[str, ...]


class Pulse:
    """
    When what was last heard in a channel.

    Attributes:
        opened: When the channel was opened; None while it is pending.
        content: The last envelope that is no bookkeeping.
        spoken: The last text or packet.
        left: The last time that somebody was hidden or removed.
        unanswered: Agent id: the first text or packet that was addressed to it since it last
            spoke itself.
        hidden: Who is not heard any more.
    """

    __slots__ = ("content", "hidden", "left", "opened", "spoken", "unanswered")

    def __init__(self) -> None:
        self.opened: Moment | None = None
        self.content: Moment | None = None
        self.spoken: Moment | None = None
        self.left: Moment | None = None
        self.unanswered: dict[str, Moment] = {}
        self.hidden: frozenset[str] = frozenset()

    def add(self, envelope: Envelope, participant_ids: Iterable[str]) -> None:
        """Take the next envelope of the log."""
        event_type = envelope.event_type
        moment = Moment(envelope.envelope_id, envelope.created_at)
        if is_bookkeeping(event_type):
            if event_type == EV_CHANNEL_OPENED:
                self.opened = moment
            elif event_type in _LEAVING:
                self.left = moment
                if event_type == EV_CHANNEL_PARTICIPANT_HIDDEN:
                    self.hidden |= frozenset(envelope.event_data["participants"])
            return
        self.content = moment
        if event_type in _SPOKEN:
            self.spoken = moment
            sender_id, audience = envelope.sender_id, envelope.addressees
            self.unanswered.pop(sender_id, None)
            for agent_id in participant_ids:
                if agent_id != sender_id and (audience is None or agent_id in audience):
                    self.unanswered.setdefault(agent_id, moment)

    def freeze(self) -> PulseSnapshot:
        """Return what it knows, to be kept."""
        return PulseSnapshot(
            self.opened,
            self.content,
            self.spoken,
            self.left,
            dict(self.unanswered),
            tuple(sorted(self.hidden)),
        )

    @classmethod
    def thaw(cls, frozen: PulseSnapshot, participant_ids: Iterable[str]) -> Pulse:
        """Return a pulse that knows what was kept, as far as it is of those who take part."""
        pulse = cls()
        taking_part = frozenset(participant_ids)
        pulse.opened, pulse.content = frozen.opened, frozen.content
        pulse.spoken, pulse.left = frozen.spoken, frozen.left
        pulse.unanswered = {
            agent_id: moment
            for agent_id, moment in frozen.unanswered.items()
            if agent_id in taking_part
        }
        pulse.hidden = frozenset(frozen.hidden)
        return pulse

    def find(self, envelope_id: str) -> Moment | None:
        """
        Return when an envelope was accepted that a protocol may wait for an answer to.

        One that is none of the latest of their kinds is not remembered; the latest content stands
        in for it, so that nobody is blamed too early.
        """
        for moment in (self.spoken, self.content, self.left):
            if moment is not None and moment.envelope_id == envelope_id:
                return moment
        return self.content
