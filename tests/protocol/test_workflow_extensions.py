"""Targets and conditions of a user's own: named in graphs, drawn, and held to who takes part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import attrs
import pytest

from trio_hub.errors import ProtocolError
from trio_hub.protocol.adapters import WorkflowAdapter
from trio_hub.protocol.workflow import (
    AgentTarget,
    Always,
    StayTarget,
    Transition,
    TransitionDecision,
    TransitionGraph,
    WorkflowState,
)
from trio_hub.protocol.workflow.graph import register_condition, register_target
from trio_hub.records import EV_TEXT, ChannelState, Envelope

from .channels import ALICE, BOB, envelope, metadata


@register_condition
class Never:
    """A condition without arguments, as a plain class."""

    name: ClassVar[str] = "test_never"

    def evaluate(self, state: WorkflowState, envelope: Envelope) -> bool:
        return False


@register_target
@dataclass(frozen=True)
class Escalate:
    """A target with an agent in it, as a dataclass."""

    agent_id: str
    name: ClassVar[str] = "test_escalate"

    def resolve(self, state: WorkflowState, envelope: Envelope) -> TransitionDecision:
        return TransitionDecision(self.agent_id)


@attrs.frozen
class Sometimes:
    """A condition with arguments, as an attrs class."""

    name: ClassVar[str] = "test_sometimes"
    share: float

    def evaluate(self, state: WorkflowState, envelope: Envelope) -> bool:
        return self.share > 0.5


def graph(when: Any, then: Any) -> TransitionGraph:
    return TransitionGraph(ALICE, [Transition(when, then)], default_target=StayTarget())


def test_what_was_registered_for_the_process_needs_no_registry() -> None:
    written = graph(Never(), Escalate(BOB)).to_dict()
    read = TransitionGraph.from_dict(written)
    assert read.to_dict() == written
    assert isinstance(read.transitions[0].when, Never)
    assert read.transitions[0].then == Escalate(BOB)


def test_ids_take_the_place_of_names_in_targets_of_ones_own() -> None:
    named = TransitionGraph(
        "alice",
        [Transition(Always(), Escalate("bob")), Transition(Never(), AgentTarget("dave"))],
        default_target=StayTarget(),
    )
    known = named.with_ids({"alice": ALICE, "bob": BOB})
    assert [one.then for one in known.transitions] == [Escalate(BOB), AgentTarget("dave")]
    assert known.initial_speaker == ALICE


@pytest.mark.parametrize(
    ("place", "spoilt", "complaint"),
    [
        ("when", "test_never", "expected an object with a name"),
        ("then", {"name": "test_escalate", "args": [BOB]}, "args: expected an object"),
        ("then", {"name": "test_escalate", "args": {"who": BOB}}, "args: .*who"),
    ],
)
def test_what_cannot_be_made_is_named_with_its_place(
    place: str, spoilt: Any, complaint: str
) -> None:
    written = graph(Never(), Escalate(BOB)).to_dict()
    written["transitions"][0][place] = spoilt
    with pytest.raises(ProtocolError, match=complaint):
        TransitionGraph.from_dict(written)


def test_picture_shows_conditions_of_ones_own_with_their_arguments() -> None:
    assert "test_sometimes {'share': 0.7}" in graph(Sometimes(0.7), StayTarget()).to_mermaid()
    assert '"test_never"' in graph(Never(), Escalate(BOB)).to_mermaid()


def test_turn_for_somebody_who_takes_no_part_is_refused() -> None:
    adapter = WorkflowAdapter()
    talk = metadata(
        adapter,
        ALICE,
        BOB,
        state=ChannelState.ACTIVE,
        knobs={"graph": graph(Always(), Escalate(BOB)).to_dict()},
    )
    state = adapter.initial_state(talk)
    elsewhere = attrs.evolve(state, participant_order=(ALICE,))
    with pytest.raises(ProtocolError, match=f"gives the turn to '{BOB}'"):
        adapter.fold(envelope(ALICE, EV_TEXT, event_data={"text": "hi"}), elsewhere)
