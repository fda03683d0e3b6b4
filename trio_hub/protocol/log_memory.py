"""
What a channel remembers of its log, beside the state that its adapter makes of it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import attrs

from ..records import EV_CHANNEL_INVITE_ACK, EV_CHANNEL_INVITE_REJECT, Envelope
from .expectations.pulse import Pulse
from .posted import PostedIndex

__all__ = ["ANSWERS", "Answer", "LogMemory"]

#: What an invitee says to an invite.
ANSWERS: Final = (EV_CHANNEL_INVITE_ACK, EV_CHANNEL_INVITE_REJECT)


@attrs.frozen
class Answer:
    """How somebody has answered an invite, and to which envelope."""

    envelope_id: str
    event_type: str
    causation_id: str | None

    def is_same(self, again: Envelope) -> bool:
        """Whether an envelope gives this answer once more."""
        return (
            again.causation_id is not None
            and again.causation_id == self.causation_id
            and again.event_type == self.event_type
        )


@attrs.define(eq=False)
class LogMemory:
    """
    Takes each envelope as it stands in the log, in order.

    Attributes:
        posted: What was posted under which key and because of what.
        pulse: What expectations need to know; None where the channel has none.
        answers: Who was invited and has answered: what.
        last_id: The id of the last envelope; "" where there is none, or it could not be read.
    """

    pulse: Pulse | None
    posted: PostedIndex = attrs.field(factory=PostedIndex)
    answers: dict[str, Answer] = attrs.field(factory=dict)
    last_id: str = ""

    def add(self, envelope: Envelope, participant_ids: Collection[str]) -> None:
        """Take the next envelope."""
        self.posted.add(envelope)
        self.last_id = envelope.envelope_id
        if self.pulse is not None:
            self.pulse.add(envelope, participant_ids)
        if envelope.event_type in ANSWERS:
            self.answers[envelope.sender_id] = Answer(
                envelope.envelope_id, envelope.event_type, envelope.causation_id
            )

    def skip(self, count: int = 1) -> None:
        """Take note of records that nothing can be made of."""
        self.posted.skip(count)
        self.last_id = ""
