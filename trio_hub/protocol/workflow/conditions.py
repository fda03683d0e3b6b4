"""
When a transition is taken.

A condition of one's own is a frozen attrs class (or a dataclass) with a ``name`` and
``evaluate``, registered with `register_condition`. It must be pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import attrs

from ...records import EV_PACKET, Envelope

if TYPE_CHECKING:
    from .state import WorkflowState

__all__ = ["Always", "ContextEquals", "FromSpeaker", "ToolCalled", "TransitionCondition"]

_a_string: Any = attrs.validators.instance_of(str)


class TransitionCondition(Protocol):
    """When a transition is taken. Its attributes are its arguments in the graph's JSON."""

    name: ClassVar[str]

    def evaluate(self, state: WorkflowState, envelope: Envelope) -> bool:
        """Say whether it holds now that `envelope` was said; `state` already counts it."""
        ...


@attrs.frozen
class Always:
    """It always holds."""

    name: ClassVar[str] = "always"

    def evaluate(self, state: WorkflowState, envelope: Envelope) -> bool:
        """Return True."""
        return True


@attrs.frozen
class FromSpeaker:
    """It holds after a turn of a certain agent, by id."""

    name: ClassVar[str] = "from_speaker"
    agent_id: str = attrs.field(validator=_a_string)

    def evaluate(self, state: WorkflowState, envelope: Envelope) -> bool:
        """Compare the sender."""
        return envelope.sender_id == self.agent_id


@attrs.frozen
class ToolCalled:
    """It holds after a packet that says that a certain tool was called in the turn."""

    name: ClassVar[str] = "tool_called"
    tool_name: str = attrs.field(validator=_a_string)

    def evaluate(self, state: WorkflowState, envelope: Envelope) -> bool:
        """Compare the packet's routing."""
        if envelope.event_type != EV_PACKET:
            return False
        routing = envelope.event_data.get("routing") or {}
        return bool(routing.get("tool") == self.tool_name)


@attrs.frozen
class ContextEquals:
    """It holds while a context variable has a value; one that is not set has the value None."""

    name: ClassVar[str] = "context_equals"
    key: str = attrs.field(validator=_a_string)
    value: Any

    def evaluate(self, state: WorkflowState, envelope: Envelope) -> bool:
        """Compare the variable."""
        return bool(state.context_vars.get(self.key) == self.value)
