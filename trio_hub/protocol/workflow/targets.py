"""
Where the next turn goes.

A target of one's own is a frozen attrs class (or a dataclass) with a ``name`` and ``resolve``,
registered with `register_target`. It must be pure: the same log has to give the same speakers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

import attrs

from ...records import Envelope

if TYPE_CHECKING:
    from .state import WorkflowState

__all__ = [
    "AgentTarget",
    "RevertToInitiatorTarget",
    "RoundRobinTarget",
    "StayTarget",
    "TerminateTarget",
    "TransitionDecision",
    "TransitionTarget",
]


@attrs.frozen
class TransitionDecision:
    """Who speaks next; None ends the workflow, for the reason given."""

    next_speaker: str | None
    close_reason: str = ""


class TransitionTarget(Protocol):
    """Where the next turn goes. Its attributes are its arguments in the graph's JSON."""

    name: ClassVar[str]

    def resolve(self, state: WorkflowState, envelope: Envelope) -> TransitionDecision:
        """
        Decide who speaks after `envelope`.

        Args:
            state: Already counts the envelope: its sender is the last speaker.
        """
        ...


@attrs.frozen
class AgentTarget:
    """A certain agent, by id."""

    name: ClassVar[str] = "agent"
    agent_id: str = attrs.field(validator=attrs.validators.instance_of(str))

    def resolve(self, state: WorkflowState, envelope: Envelope) -> TransitionDecision:
        """Return that agent."""
        return TransitionDecision(self.agent_id)


@attrs.frozen
class RoundRobinTarget:
    """Whoever comes after the last speaker in the order of the participants."""

    name: ClassVar[str] = "round_robin"

    def resolve(self, state: WorkflowState, envelope: Envelope) -> TransitionDecision:
        """Return the next in the round."""
        order = state.participant_order
        last = order.index(envelope.sender_id)
        return TransitionDecision(order[(last + 1) % len(order)])


@attrs.frozen
class StayTarget:
    """The same speaker again."""

    name: ClassVar[str] = "stay"

    def resolve(self, state: WorkflowState, envelope: Envelope) -> TransitionDecision:
        """Return the last speaker."""
        return TransitionDecision(envelope.sender_id)


@attrs.frozen
class RevertToInitiatorTarget:
    """Back to whoever opened the channel."""

    name: ClassVar[str] = "revert_to_initiator"

    def resolve(self, state: WorkflowState, envelope: Envelope) -> TransitionDecision:
        """Return the creator."""
        return TransitionDecision(state.creator_id)


@attrs.frozen
class TerminateTarget:
    """The end of the workflow."""

    name: ClassVar[str] = "terminate"
    reason: str = attrs.field(default="after_work", validator=attrs.validators.instance_of(str))

    def resolve(self, state: WorkflowState, envelope: Envelope) -> TransitionDecision:
        """Return nobody, and why."""
        return TransitionDecision(None, self.reason)
