"""
What follows from an expectation that was not met: its actions, as one plan for its channel.

The plan holds what is said in the channel, what becomes of its participants, its end where it
comes to that, and the note that the expectation has fired: all of it is on disk, or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import attrs

from ...records import (
    EV_CHANNEL_PARTICIPANT_HIDDEN,
    EV_CHANNEL_PARTICIPANT_REMOVED,
    EV_EXPECTATION_VIOLATED,
    ChannelMetadata,
    ChannelState,
    Envelope,
)
from ..adapters.base import AdapterResult
from .base import (
    Action,
    CloseChannel,
    HideParticipants,
    RemoveParticipants,
    TellParticipants,
    Violation,
)
from .firings import Firings

if TYPE_CHECKING:
    from ..channel import ChannelMachine
    from ..plan import Plan, Stamp

__all__ = ["TOO_FEW", "Consequences", "plan_violation"]

#: Why a channel is closed in which not enough participants are left that may speak.
TOO_FEW: Final = "too_few_participants"


@attrs.frozen
class Consequences:
    """
    A plan, and whom it hides and removes.

    Attributes:
        hidden, removed: Agent ids, each of which took part and was heard before.
    """

    plan: Plan
    hidden: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def plan_violation(
    machine: ChannelMachine,
    violation: Violation,
    actions: Sequence[Action],
    firings: Firings,
    stamp: Stamp,
) -> Consequences:
    """
    Plan what follows.

    Args:
        machine: The channel.
        violation: What was not met.
        actions: What its handler wants done. Agents in it that do not take part are passed over,
            those that it removes being among them.
        firings: With this one noted.
        stamp: For what is said.

    Raises:
        ProtocolError: The adapter cannot take what would be said.
        TypeError: Something is no action.
    """
    for one in actions:
        if not isinstance(one, Action):
            raise TypeError(f"{one!r} is no action")
    metadata, reason = machine.metadata, f"expectation_violated:{violation.expectation.name}"
    members = metadata.participant_ids
    wanted_out = {
        it for one in actions if isinstance(one, RemoveParticipants) for it in one.agent_ids
    }
    removed = tuple(it for it in members if it in wanted_out)
    wanted_hidden = {
        it for one in actions if isinstance(one, HideParticipants) for it in one.agent_ids
    }
    hidden = tuple(
        it for it in members if it in wanted_hidden - wanted_out and it not in machine.hidden
    )
    if removed:
        leaving = tuple(it for it in metadata.participants if it.agent_id in wanted_out)
        firings = attrs.evolve(firings, removed=(*firings.removed, *leaving))
        metadata = attrs.evolve(
            metadata,
            participants=tuple(it for it in metadata.participants if it not in leaving),
            pending_acks=tuple(it for it in metadata.pending_acks if it not in wanted_out),
        )
    said = [
        _notice(metadata, violation, audience)
        for one in actions
        if isinstance(one, TellParticipants) and (audience := _taking_part(metadata, one.agent_ids))
    ]
    if removed:
        said.append(_leaving(metadata, EV_CHANNEL_PARTICIPANT_REMOVED, removed, reason))
    if hidden:
        said.append(_leaving(metadata, EV_CHANNEL_PARTICIPANT_HIDDEN, hidden, reason))
    ending = AdapterResult()
    closing = [one for one in actions if isinstance(one, CloseChannel)]
    if closing:
        ending = AdapterResult(ChannelState.CLOSED, closing[0].reason)
    elif removed or hidden:
        heard = set(metadata.participant_ids) - machine.hidden - set(hidden)
        if len(heard) < metadata.manifest.participants.min:
            ending = AdapterResult(ChannelState.CLOSED, TOO_FEW)
    return Consequences(machine.plan_own(said, metadata, ending, firings, stamp), hidden, removed)


def _taking_part(metadata: ChannelMetadata, agent_ids: tuple[str, ...] | None) -> tuple[str, ...]:
    members = metadata.participant_ids
    return members if agent_ids is None else tuple(it for it in members if it in agent_ids)


def _notice(metadata: ChannelMetadata, violation: Violation, audience: tuple[str, ...]) -> Envelope:
    return Envelope(
        channel_id=metadata.channel_id,
        sender_id=metadata.creator_id,
        audience=audience,
        event_type=EV_EXPECTATION_VIOLATED,
        event_data={
            "expectation": violation.expectation.name,
            "violators": list(violation.violator_ids),
            "detail": dict(violation.detail),
        },
    )


def _leaving(
    metadata: ChannelMetadata, event_type: str, agent_ids: tuple[str, ...], reason: str
) -> Envelope:
    return Envelope(
        channel_id=metadata.channel_id,
        sender_id=metadata.creator_id,
        audience=metadata.participant_ids,
        event_type=event_type,
        event_data={
            "channel_id": metadata.channel_id,
            "participants": list(agent_ids),
            "reason": reason,
        },
    )
