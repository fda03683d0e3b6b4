"""Consulting: one question, one reply, and the channel closes itself."""

from __future__ import annotations

from typing import Any, Final

import attrs
import msgspec

from ...errors import ProtocolError
from ...records import (
    EV_TEXT,
    ChannelManifest,
    ChannelMetadata,
    ChannelState,
    Envelope,
    Expectation,
    ParticipantRole,
    ParticipantSchema,
)
from .base import GO_ON, AdapterResult, ExpectedTurn, participant_with

__all__ = ["ConsultingAdapter", "ConsultingState"]


@attrs.frozen
class ConsultingState:
    """The question and the reply, as far as they were given."""

    question_id: str | None = None
    reply_id: str | None = None


class ConsultingAdapter:
    """
    Two participants. The initiator asks, the respondent answers, both once, in text.

    Other event types pass as data and count as neither question nor reply.
    """

    manifest: Final = ChannelManifest(
        type="consulting",
        participants=ParticipantSchema(
            min=2, max=2, roles=(ParticipantRole.INITIATOR, ParticipantRole.RESPONDENT)
        ),
        default_view_policy="full_transcript",
        expectations=(
            Expectation(name="acks_within", on_violation="auto_close", params={"seconds": 30}),
            Expectation(name="reply_within", on_violation="auto_close", params={"seconds": 600}),
        ),
    )
    state_type: Final = ConsultingState
    state_version: Final = 1

    def validate_create(self, metadata: ChannelMetadata) -> None:
        """Ask for exactly one initiator and one respondent."""
        roles = sorted(participant.role for participant in metadata.participants)
        if roles != [ParticipantRole.INITIATOR, ParticipantRole.RESPONDENT]:
            raise ProtocolError(
                "a consulting channel is between one initiator and one respondent; "
                f"got {len(roles)} participants: {', '.join(roles)}"
            )

    def initial_state(self, metadata: ChannelMetadata) -> ConsultingState:
        """Nothing was asked."""
        return ConsultingState()

    def validate_send(
        self, metadata: ChannelMetadata, envelope: Envelope, state: ConsultingState
    ) -> None:
        """Let only the one whose turn it is speak."""
        if envelope.event_type != EV_TEXT:
            return
        turn = self.expected_next(metadata, state)
        if turn is None:
            raise ProtocolError(
                f"consulting channel {metadata.channel_id} is complete: it takes one question and "
                "one reply; open another channel to ask again"
            )
        if envelope.sender_id != turn.agent_id:
            missing = "question" if state.question_id is None else "reply"
            raise ProtocolError(
                f"consulting channel {metadata.channel_id} waits for the {missing} of "
                f"{turn.agent_id}, not for {envelope.sender_id}"
            )

    def fold(self, envelope: Envelope, state: ConsultingState) -> ConsultingState:
        """Take the first text for the question and the second for the reply."""
        if envelope.event_type != EV_TEXT:
            return state
        if state.question_id is None:
            return ConsultingState(question_id=envelope.envelope_id)
        if state.reply_id is None:
            return attrs.evolve(state, reply_id=envelope.envelope_id)
        return state

    def on_accepted(
        self, metadata: ChannelMetadata, envelope: Envelope, state: ConsultingState
    ) -> AdapterResult:
        """Close once the reply is there."""
        if state.reply_id is not None and envelope.envelope_id == state.reply_id:
            return AdapterResult(ChannelState.CLOSED, "consulting_complete")
        return GO_ON

    def expected_next(
        self, metadata: ChannelMetadata, state: ConsultingState
    ) -> ExpectedTurn | None:
        """Expect the initiator, then the respondent, then nobody."""
        if state.reply_id is not None:
            return None
        asked = state.question_id is not None
        role = ParticipantRole.RESPONDENT if asked else ParticipantRole.INITIATOR
        agent_id = participant_with(metadata, role)
        return None if agent_id is None else ExpectedTurn(agent_id, state.question_id)

    def freeze(self, state: ConsultingState) -> Any:
        """Return the state as JSON has it."""
        return msgspec.to_builtins(state)

    def thaw(self, frozen: Any, metadata: ChannelMetadata) -> ConsultingState:
        """Return the state that was frozen."""
        return msgspec.convert(frozen, ConsultingState)
