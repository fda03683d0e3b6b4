"""Workflow: two or more, who speak as a graph of transitions says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from ...errors import ProtocolError
from ...records import (
    EV_CONTEXT_SET,
    EV_PACKET,
    ChannelManifest,
    ChannelMetadata,
    ChannelState,
    Envelope,
    Expectation,
    ParticipantSchema,
)
from ..workflow import TransitionDecision, TransitionGraph, WorkflowState
from ..workflow.packets import (
    apply_context,
    check_context,
    check_context_bytes,
    check_packet,
    context_bytes,
    context_growth,
)
from .base import GO_ON, AdapterResult, ExpectedTurn, is_spoken, left_by

__all__ = ["WorkflowAdapter"]

# Why a workflow ends whose script wants the turn of somebody who has left.
_LEFT: Final = "participant_left"
# What a snapshot leaves out: it is in the metadata, or follows from the rest.
_NOT_KEPT: Final = ("graph", "context_bytes")


class WorkflowAdapter:
    """
    The knob ``graph`` is the script (`TransitionGraph.to_dict`), ``context_vars`` may hold the
    variables to begin with.

    A turn is a text or a packet. After each, the packet's own wish counts first (finish, or a
    handoff to somebody), then the transitions of the graph, then its default target. Context
    variables may be set by everybody at any time, and by a packet together with its turn; all of
    them together have `CONTEXT_BYTES_MAX`.

    The script gives no turn to somebody who was hidden or removed: where it would, the channel
    is closed.
    """

    manifest: Final = ChannelManifest(
        type="workflow",
        participants=ParticipantSchema(min=2),
        knobs_schema={"graph": "TransitionGraph"},
        default_view_policy="named_windowed_summary",
        expectations=(
            Expectation(name="turn_within", on_violation="warn", params={"seconds": 120}),
            Expectation(name="turn_within", on_violation="auto_close", params={"seconds": 600}),
        ),
    )
    state_type: Final = WorkflowState
    state_version: Final = 1

    def validate_create(self, metadata: ChannelMetadata) -> None:
        """Ask for two or more, and a graph that names nobody else."""
        if len(metadata.participants) < 2:
            raise ProtocolError(
                f"a workflow needs two or more; got {len(metadata.participants)} participant"
            )
        _graph_of(metadata).check_participants(metadata.participant_ids)
        variables = metadata.knobs.get("context_vars", {})
        if not isinstance(variables, dict):
            raise ProtocolError("the knob context_vars of a workflow is an object")
        check_context_bytes(0, context_bytes(variables))

    def initial_state(self, metadata: ChannelMetadata) -> WorkflowState:
        """Begin with the graph's first speaker."""
        graph = _graph_of(metadata)
        ranked = sorted(metadata.participants, key=lambda participant: participant.order)
        return WorkflowState(
            graph=graph,
            participant_order=tuple(participant.agent_id for participant in ranked),
            creator_id=metadata.creator_id,
            next_speaker_id=graph.initial_speaker,
            context_vars=dict(metadata.knobs.get("context_vars") or {}),
        )

    def validate_send(
        self, metadata: ChannelMetadata, envelope: Envelope, state: WorkflowState
    ) -> None:
        """Let only the next speaker speak, and nobody what could not be folded or kept."""
        if envelope.event_type == EV_CONTEXT_SET:
            check_context(envelope.event_data)
            _check_fits(state, envelope.event_data)
        if not is_spoken(envelope):
            return
        if envelope.sender_id != state.next_speaker_id:
            raise ProtocolError(
                f"workflow channel {metadata.channel_id} waits for {state.next_speaker_id}, "
                f"not for {envelope.sender_id}"
            )
        if envelope.event_type == EV_PACKET:
            check_packet(envelope.event_data, state.participant_order)
            _check_fits(state, _updates_in(envelope))

    def fold(self, envelope: Envelope, state: WorkflowState) -> WorkflowState:
        """Take over context variables, and give the turn to the next one."""
        if envelope.event_type == EV_CONTEXT_SET:
            return _with_context(state, envelope.event_data)
        left = left_by(envelope)
        if left:
            return _without(state, left)
        if not is_spoken(envelope):
            return state
        after = state
        if envelope.event_type == EV_PACKET:
            # Before the transitions are tried: what a packet sets may decide where it leads.
            after = _with_context(state, _updates_in(envelope))
        after = attrs.evolve(
            after,
            last_speaker_id=envelope.sender_id,
            last_envelope_id=envelope.envelope_id,
            turn_count=state.turn_count + 1,
        )
        decision = _wished(envelope) or _select(after, envelope)
        speaker = decision.next_speaker
        if speaker in state.left:
            return attrs.evolve(after, next_speaker_id=None, close_reason=_LEFT)
        if speaker is not None and speaker not in state.participant_order:
            raise ProtocolError(f"the graph gives the turn to {speaker!r}, who takes no part")
        return attrs.evolve(after, next_speaker_id=speaker, close_reason=decision.close_reason)

    def on_accepted(
        self, metadata: ChannelMetadata, envelope: Envelope, state: WorkflowState
    ) -> AdapterResult:
        """Close once nobody is to speak any more, or everybody has spoken enough."""
        if not is_spoken(envelope) and not left_by(envelope):
            return GO_ON
        if state.next_speaker_id is None:
            return AdapterResult(ChannelState.CLOSED, state.close_reason or "workflow_terminated")
        most = state.graph.max_turns
        if most is not None and state.turn_count >= most:
            return AdapterResult(ChannelState.CLOSED, "max_turns")
        return GO_ON

    def expected_next(self, metadata: ChannelMetadata, state: WorkflowState) -> ExpectedTurn | None:
        """Expect the next speaker."""
        if state.next_speaker_id is None:
            return None
        return ExpectedTurn(state.next_speaker_id, state.last_envelope_id)

    def freeze(self, state: WorkflowState) -> Any:
        """Return the state as JSON has it, without what `thaw` finds elsewhere."""
        return msgspec.to_builtins(
            {
                name: getattr(state, name)
                for name in attrs.fields_dict(WorkflowState)
                if name not in _NOT_KEPT
            }
        )

    def thaw(self, frozen: Any, metadata: ChannelMetadata) -> WorkflowState:
        """Return the state that was frozen."""
        lists = {name: tuple(frozen[name]) for name in ("participant_order", "left")}
        return WorkflowState(graph=_graph_of(metadata), **{**frozen, **lists})


def _graph_of(metadata: ChannelMetadata) -> TransitionGraph:
    data: Any = metadata.knobs.get("graph")
    if data is None:
        raise ProtocolError(
            "a workflow needs the knob graph: pass knobs={'graph': graph.to_dict()}"
        )
    return TransitionGraph.from_dict(data)


def _updates_in(packet: Envelope) -> Mapping[str, Any]:
    return packet.event_data.get("context_updates") or {}


def _check_fits(state: WorkflowState, updates: Mapping[str, Any]) -> None:
    check_context_bytes(state.context_bytes, context_growth(state.context_vars, updates))


def _with_context(state: WorkflowState, updates: Mapping[str, Any]) -> WorkflowState:
    variables = apply_context(state.context_vars, updates)
    if variables is state.context_vars:
        return state
    size = state.context_bytes + context_growth(state.context_vars, updates)
    return attrs.evolve(state, context_vars=variables, context_bytes=size)


def _without(state: WorkflowState, agent_ids: tuple[str, ...]) -> WorkflowState:
    """Return the state in which these take no turns any more."""
    gone = frozenset(agent_ids)
    order = tuple(it for it in state.participant_order if it not in gone)
    after = attrs.evolve(state, participant_order=order, left=(*state.left, *agent_ids))
    if state.next_speaker_id in agent_ids:
        return attrs.evolve(after, next_speaker_id=None, close_reason=_LEFT)
    return after


def _wished(envelope: Envelope) -> TransitionDecision | None:
    """Return what a packet asks for by itself: the end, or a certain speaker."""
    if envelope.event_type != EV_PACKET:
        return None
    routing = envelope.event_data.get("routing") or {}
    match routing.get("kind"):
        case "finish":
            return TransitionDecision(None, routing.get("reason") or "finished")
        case "handoff" if routing.get("target"):
            return TransitionDecision(routing["target"])
    return None


def _select(state: WorkflowState, envelope: Envelope) -> TransitionDecision:
    """Return where the first transition leads that holds."""
    for transition in state.graph.by_priority:
        if transition.when.evaluate(state, envelope):
            return transition.then.resolve(state, envelope)
    return state.graph.default_target.resolve(state, envelope)
