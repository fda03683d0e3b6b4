"""
What a channel is: its manifest (the protocol it speaks), its participants, and where in its
life it stands.

A manifest is data and is copied into the metadata when the channel is created, so a newer
version of an adapter never changes a channel that is under way.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from typing import Any

import attrs

__all__ = [
    "ChannelManifest",
    "ChannelMetadata",
    "ChannelState",
    "Expectation",
    "Participant",
    "ParticipantRole",
    "ParticipantSchema",
    "PendingTurn",
]


class ChannelState(StrEnum):
    """Where a channel stands. The last two are final."""

    PENDING = "pending"
    ACTIVE = "active"
    CLOSING = "closing"
    CLOSED = "closed"
    EXPIRED = "expired"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can be posted any more (what was posted is still delivered)."""
        return self in (ChannelState.CLOSED, ChannelState.EXPIRED)


class ParticipantRole(StrEnum):
    """What somebody is in a channel: who opened it, the one other, or one of several others."""

    INITIATOR = "initiator"
    RESPONDENT = "respondent"
    PARTICIPANT = "participant"


@attrs.frozen(kw_only=True)
class ParticipantSchema:
    """How many may take part, both inclusive; no `max` is no bound."""

    min: int
    max: int | None = None
    roles: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Expectation:
    """Something that should happen in time, and what to do when it does not."""

    name: str
    on_violation: str
    params: dict[str, Any] = attrs.field(factory=dict)
    applies_to: tuple[str, ...] | None = None


@attrs.frozen(kw_only=True)
class ChannelManifest:
    """Which protocol, in which version, and what it declares about itself."""

    type: str
    version: int = 1
    participants: ParticipantSchema = ParticipantSchema(min=2)
    knobs_schema: dict[str, str] = attrs.field(factory=dict)
    default_view_policy: str = "full_transcript"
    expectations: tuple[Expectation, ...] = ()


@attrs.frozen(kw_only=True)
class Participant:
    """One agent in one channel; `order` is 0 for the first, and so on."""

    agent_id: str
    role: ParticipantRole
    order: int
    joined_at: str = ""


@attrs.frozen(kw_only=True)
class ChannelMetadata:
    """
    Everything about a channel but what was said in it.

    Attributes:
        required_acks: How many invitees must accept; None is all of them.
        pending_acks: Invitees that have not answered yet.
        rejected_by: Invitees that declined; one is enough to close the channel.
        labels: Free annotations; ``"intent"`` is what the creator said it is for.
    """

    channel_id: str
    manifest: ChannelManifest
    creator_id: str
    participants: tuple[Participant, ...]
    state: ChannelState
    created_at: str
    expires_at: str | None = None
    closed_at: str | None = None
    close_reason: str = ""
    parent_channel_id: str | None = None
    knobs: dict[str, Any] = attrs.field(factory=dict)
    labels: dict[str, str] = attrs.field(factory=dict)
    required_acks: int | None = None
    pending_acks: tuple[str, ...] = ()
    rejected_by: tuple[str, ...] = ()

    @property
    def participant_ids(self) -> tuple[str, ...]:
        """The ids of all that take part, in their order."""
        return self._participant_ids

    # Asked for several times with every post. The name is private because msgspec would take a
    # public attribute for a field, and write it.
    @cached_property
    def _participant_ids(self) -> tuple[str, ...]:
        return tuple(participant.agent_id for participant in self.participants)

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can be posted any more."""
        return self.state.is_terminal


@attrs.frozen(kw_only=True)
class PendingTurn:
    """A turn that a channel's protocol expects of an agent, and the envelope that put it there."""

    channel_id: str
    triggering_envelope_id: str | None
    expected_at: str
