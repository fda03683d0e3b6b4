"""Drawing up a channel that is to be opened: who takes part, in which role, and for how long."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ..errors import ProtocolError
from ..ids import iso_from_seconds
from ..protocol.expectations.consequences import TOO_FEW
from ..records import (
    ChannelManifest,
    ChannelMetadata,
    ChannelState,
    Duration,
    Participant,
    ParticipantRole,
    duration_seconds,
)

__all__ = [
    "ChannelWish",
    "channel_id_for",
    "check_number",
    "draft_channel",
    "never_opened",
    "why_not_opened",
]


# With what the reasons begin that an expectation gives for the end of a channel.
_BY_EXPECTATION = ("expectation_violated:", TOO_FEW)


@attrs.frozen(kw_only=True)
class ChannelWish:
    """
    What somebody asks for who opens a channel.

    Attributes:
        participants: Agent ids; the creator is added in front where it is missing.
        ttl: How long it may live; 0 is for ever.
    """

    creator_id: str
    manifest: ChannelManifest
    participants: Sequence[str]
    required_acks: int | None
    ttl: Duration
    knobs: Mapping[str, Any]
    labels: Mapping[str, str]


def channel_id_for(creator_id: str, idempotency_key: str) -> str:
    """
    Return the id of the channel that a creator opens under a key: the same each time, so that
    nothing has to be remembered for it but the channel itself.
    """
    name = f"{creator_id}\0{idempotency_key}".encode()
    return hashlib.blake2b(name, digest_size=16).hexdigest()


def check_number(participants: Sequence[str], *, participants_max: int) -> None:
    """
    Refuse more than a channel may have, before anything is done for each of them.

    Raises:
        ProtocolError: They are more.
    """
    if len(participants) > participants_max:
        raise ProtocolError(
            f"{len(participants)} participants are more than the {participants_max} that a channel "
            "may have"
        )


def draft_channel(
    wish: ChannelWish, channel_id: str, now: float, *, participants_max: int
) -> ChannelMetadata:
    """
    Return the metadata of the channel that is wished for, pending.

    Raises:
        ProtocolError: Nobody is invited, somebody twice, too many, or the ttl is none.
    """
    if not wish.participants:
        raise ProtocolError("a channel needs somebody to be invited")
    if len(set(wish.participants)) != len(wish.participants):
        raise ProtocolError("a participant is listed twice")
    members = list(wish.participants)
    if wish.creator_id not in members:
        members.insert(0, wish.creator_id)
    # The creator is one of them.
    check_number(members, participants_max=participants_max)
    created_at = iso_from_seconds(now)
    try:
        lives = duration_seconds(wish.ttl)
        expires_at = iso_from_seconds(now + lives) if lives else None
    except (ValueError, OverflowError) as error:
        raise ProtocolError(f"ttl: {error}") from None
    other = ParticipantRole.RESPONDENT if len(members) == 2 else ParticipantRole.PARTICIPANT
    return ChannelMetadata(
        channel_id=channel_id,
        manifest=wish.manifest,
        creator_id=wish.creator_id,
        participants=tuple(
            Participant(
                agent_id=agent_id,
                role=ParticipantRole.INITIATOR if agent_id == wish.creator_id else other,
                order=order,
                joined_at=created_at,
            )
            for order, agent_id in enumerate(members)
        ),
        state=ChannelState.PENDING,
        created_at=created_at,
        expires_at=expires_at,
        knobs=dict(wish.knobs),
        labels=dict(wish.labels),
        required_acks=wish.required_acks,
        pending_acks=tuple(agent_id for agent_id in members if agent_id != wish.creator_id),
    )


def never_opened(metadata: ChannelMetadata) -> bool:
    """Whether a channel has ended because of those who were invited to it."""
    if not metadata.is_terminal:
        return False
    if metadata.close_reason.startswith("invite_"):
        return True
    # An expectation may have closed it while it was pending, or later.
    invited = len(metadata.participants) - 1
    accepted = invited - len(metadata.pending_acks)
    needed = invited if metadata.required_acks is None else min(metadata.required_acks, invited)
    return metadata.close_reason.startswith(_BY_EXPECTATION) and accepted < needed


def why_not_opened(metadata: ChannelMetadata) -> ProtocolError:
    """Say why a channel that was waited for did not open."""
    said = f"channel {metadata.channel_id} was not opened: {metadata.close_reason}"
    if metadata.rejected_by:
        said += f" (declined by {', '.join(metadata.rejected_by)})"
    elif metadata.pending_acks:
        said += f" (no answer of {', '.join(metadata.pending_acks)})"
    return ProtocolError(said)
