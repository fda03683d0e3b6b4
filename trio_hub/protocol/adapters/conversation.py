"""Conversation: two parties, who speak as they like."""

from __future__ import annotations

from typing import Any, Final

import attrs
import msgspec

from ...errors import ProtocolError
from ...records import (
    ChannelManifest,
    ChannelMetadata,
    Envelope,
    Expectation,
    ParticipantRole,
    ParticipantSchema,
)
from .base import GO_ON, AdapterResult, ExpectedTurn, is_spoken

__all__ = ["ConversationAdapter", "ConversationState"]


@attrs.frozen
class ConversationState:
    """How much was said, and what last."""

    turn_count: int = 0
    last_speaker_id: str | None = None
    last_envelope_id: str | None = None


class ConversationAdapter:
    """Two participants, no turns to wait for; it ends when somebody closes it, or by its TTL."""

    manifest: Final = ChannelManifest(
        type="conversation",
        participants=ParticipantSchema(
            min=2, max=2, roles=(ParticipantRole.INITIATOR, ParticipantRole.RESPONDENT)
        ),
        default_view_policy="windowed_summary",
        expectations=(
            Expectation(name="max_silence", on_violation="audit", params={"seconds": 3600}),
        ),
    )
    state_type: Final = ConversationState
    state_version: Final = 1

    def validate_create(self, metadata: ChannelMetadata) -> None:
        """Ask for exactly two."""
        if len(metadata.participants) != 2:
            raise ProtocolError(
                "a conversation is between two; "
                f"got {len(metadata.participants)} participants (a discussion takes more)"
            )

    def initial_state(self, metadata: ChannelMetadata) -> ConversationState:
        """Nothing was said."""
        return ConversationState()

    def validate_send(
        self, metadata: ChannelMetadata, envelope: Envelope, state: ConversationState
    ) -> None:
        """Let anybody speak."""

    def fold(self, envelope: Envelope, state: ConversationState) -> ConversationState:
        """Count what was said."""
        if not is_spoken(envelope):
            return state
        return ConversationState(state.turn_count + 1, envelope.sender_id, envelope.envelope_id)

    def on_accepted(
        self, metadata: ChannelMetadata, envelope: Envelope, state: ConversationState
    ) -> AdapterResult:
        """Go on."""
        return GO_ON

    def expected_next(
        self, metadata: ChannelMetadata, state: ConversationState
    ) -> ExpectedTurn | None:
        """Expect nobody in particular."""
        return None

    def freeze(self, state: ConversationState) -> Any:
        """Return the state as JSON has it."""
        return msgspec.to_builtins(state)

    def thaw(self, frozen: Any, metadata: ChannelMetadata) -> ConversationState:
        """Return the state that was frozen."""
        return msgspec.convert(frozen, ConversationState)
