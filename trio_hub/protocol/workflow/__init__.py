"""Workflows as data: who speaks after whom, under which conditions, and when it is over."""

from .conditions import (
    Always as Always,
    ContextEquals as ContextEquals,
    FromSpeaker as FromSpeaker,
    ToolCalled as ToolCalled,
    TransitionCondition as TransitionCondition,
)
from .graph import (
    Transition as Transition,
    TransitionGraph as TransitionGraph,
    TransitionRegistry as TransitionRegistry,
    register_condition as register_condition,
    register_target as register_target,
)
from .packets import (
    Finish as Finish,
    Handoff as Handoff,
    Reply as Reply,
    packet_of as packet_of,
)
from .state import WorkflowState as WorkflowState
from .targets import (
    AgentTarget as AgentTarget,
    RevertToInitiatorTarget as RevertToInitiatorTarget,
    RoundRobinTarget as RoundRobinTarget,
    StayTarget as StayTarget,
    TerminateTarget as TerminateTarget,
    TransitionDecision as TransitionDecision,
    TransitionTarget as TransitionTarget,
)
