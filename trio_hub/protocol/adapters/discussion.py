"""Discussion: two or more, who speak one after another, round and round."""

from __future__ import annotations

from typing import Any, Final

import attrs
import msgspec

from ...errors import ProtocolError
from ...records import (
    EV_TEXT,
    ChannelManifest,
    ChannelMetadata,
    Envelope,
    Expectation,
    ParticipantSchema,
)
from .base import GO_ON, AdapterResult, ExpectedTurn, left_by

__all__ = ["DiscussionAdapter", "DiscussionState"]

_ORDERINGS: Final = ("round_robin",)


@attrs.frozen
class DiscussionState:
    """
    Whose turn it is.

    `order` is the participants as they were when the channel was made, without those that were
    hidden or removed since, so that a fold needs no metadata; `turn` counts what was said, and
    the speaker is ``order[turn % len(order)]`` from the initiator on.
    """

    order: tuple[str, ...]
    turn: int = 0
    last_envelope_id: str | None = None

    @property
    def next_speaker_id(self) -> str:
        """Who speaks next."""
        return self.order[self.turn % len(self.order)]

    def without(self, agent_ids: tuple[str, ...], envelope_id: str) -> DiscussionState:
        """Return the state in which these are passed over, from this envelope on."""
        place = self.turn % len(self.order)
        upcoming = [*self.order[place:], *self.order[:place]]
        left = [agent_id for agent_id in upcoming if agent_id not in agent_ids]
        if not left:
            # The channel is closed with it; there is nobody to give the turn to.
            return self
        # Turned so that the next one stands where `turn` points to.
        start = -self.turn % len(left)
        moved = left[0] != self.next_speaker_id
        return DiscussionState(
            order=(*left[start:], *left[:start]),
            turn=self.turn,
            last_envelope_id=envelope_id if moved else self.last_envelope_id,
        )


class DiscussionAdapter:
    """
    Two or more participants in a fixed order, beginning with the initiator.

    The knob ``ordering`` may say ``"round_robin"``, which is the only one there is.
    """

    manifest: Final = ChannelManifest(
        type="discussion",
        participants=ParticipantSchema(min=2),
        knobs_schema={"ordering": "str"},
        default_view_policy="named_windowed_summary",
        expectations=(
            Expectation(name="turn_within", on_violation="warn", params={"seconds": 120}),
            Expectation(name="turn_within", on_violation="hide", params={"seconds": 600}),
        ),
    )
    state_type: Final = DiscussionState
    state_version: Final = 1

    def validate_create(self, metadata: ChannelMetadata) -> None:
        """Ask for two or more, and an ordering that exists."""
        if len(metadata.participants) < 2:
            raise ProtocolError(
                f"a discussion needs two or more; got {len(metadata.participants)} participant"
            )
        ordering = metadata.knobs.get("ordering", "round_robin")
        if ordering not in _ORDERINGS:
            raise ProtocolError(
                f"unknown knob ordering={ordering!r} of a discussion: choose from "
                f"{', '.join(_ORDERINGS)}"
            )

    def initial_state(self, metadata: ChannelMetadata) -> DiscussionState:
        """Begin with the creator, then go by the participants' order."""
        ranked = sorted(metadata.participants, key=lambda participant: participant.order)
        order = [participant.agent_id for participant in ranked]
        first = order.index(metadata.creator_id)
        return DiscussionState(order=(*order[first:], *order[:first]))

    def validate_send(
        self, metadata: ChannelMetadata, envelope: Envelope, state: DiscussionState
    ) -> None:
        """Let only the next speaker speak."""
        if envelope.event_type == EV_TEXT and envelope.sender_id != state.next_speaker_id:
            raise ProtocolError(
                f"discussion channel {metadata.channel_id} waits for {state.next_speaker_id}, "
                f"not for {envelope.sender_id}"
            )

    def fold(self, envelope: Envelope, state: DiscussionState) -> DiscussionState:
        """Go on to the next speaker after each text, and pass over those that have left."""
        left = left_by(envelope)
        if left:
            return state.without(left, envelope.envelope_id)
        if envelope.event_type != EV_TEXT:
            return state
        return DiscussionState(state.order, state.turn + 1, envelope.envelope_id)

    def on_accepted(
        self, metadata: ChannelMetadata, envelope: Envelope, state: DiscussionState
    ) -> AdapterResult:
        """Go on; a discussion ends when somebody closes it, or by its TTL."""
        return GO_ON

    def expected_next(
        self, metadata: ChannelMetadata, state: DiscussionState
    ) -> ExpectedTurn | None:
        """Expect the next speaker."""
        return ExpectedTurn(state.next_speaker_id, state.last_envelope_id)

    def freeze(self, state: DiscussionState) -> Any:
        """Return the state as JSON has it."""
        return msgspec.to_builtins(state)

    def thaw(self, frozen: Any, metadata: ChannelMetadata) -> DiscussionState:
        """Return the state that was frozen."""
        return msgspec.convert(frozen, DiscussionState)
