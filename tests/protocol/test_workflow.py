"""Workflows: graphs as data, who speaks after whom, and what is refused before it is logged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import attrs
import pytest
from hypothesis import given, strategies as st

from trio_hub.errors import ProtocolError, TooLarge
from trio_hub.protocol.adapters import WorkflowAdapter
from trio_hub.protocol.workflow import (
    AgentTarget,
    Always,
    ContextEquals,
    Finish,
    FromSpeaker,
    Handoff,
    RevertToInitiatorTarget,
    RoundRobinTarget,
    StayTarget,
    TerminateTarget,
    ToolCalled,
    Transition,
    TransitionDecision,
    TransitionGraph,
    TransitionRegistry,
    WorkflowState,
    packet_of,
)
from trio_hub.protocol.workflow.packets import CONTEXT_BYTES_MAX, context_bytes
from trio_hub.records import (
    EV_CONTEXT_SET,
    EV_PACKET,
    ChannelState,
    Envelope,
)
from trio_hub.testing.machines import AdapterMachine

from ..counted import compared_at_most, many_ids
from .channels import ALICE, BOB, CAROL, metadata

ADAPTER = WorkflowAdapter()


class Talk:
    """A workflow between Alice, Bob and Carol, from its first turn on."""

    def __init__(self, graph: TransitionGraph, **knobs: Any) -> None:
        self.metadata = metadata(
            ADAPTER,
            ALICE,
            BOB,
            CAROL,
            state=ChannelState.ACTIVE,
            knobs={"graph": graph.to_dict(), **knobs},
        )
        ADAPTER.validate_create(self.metadata)
        self.state: WorkflowState = ADAPTER.initial_state(self.metadata)
        self.closed = ""
        self._number = 0

    def post(self, sender: str, event_type: str, data: dict[str, Any]) -> Talk:
        self._number += 1
        envelope = Envelope(
            channel_id="channel",
            sender_id=sender,
            event_type=event_type,
            event_data=data,
            envelope_id=f"{self._number:032x}",
        )
        ADAPTER.validate_send(self.metadata, envelope, self.state)
        self.state = ADAPTER.fold(envelope, self.state)
        result = ADAPTER.on_accepted(self.metadata, envelope, self.state)
        if result.next_state is ChannelState.CLOSED:
            self.closed = result.reason
        return self

    def say(self, sender: str, words: str = "hi") -> Talk:
        return self.post(sender, "ag2.msg.text", {"text": words})

    def reply(self, sender: str, reply: str | Handoff | Finish) -> Talk:
        return self.post(sender, EV_PACKET, packet_of(reply))

    @property
    def next(self) -> str | None:
        expected = ADAPTER.expected_next(self.metadata, self.state)
        return None if expected is None else expected.agent_id


def rules(*pairs: tuple[Any, Any], **options: Any) -> TransitionGraph:
    return TransitionGraph(ALICE, [Transition(when, then) for when, then in pairs], **options)


# Who speaks


def test_a_graph_says_which_tools_it_waits_for() -> None:
    graph = TransitionGraph(
        ALICE,
        [
            Transition(ToolCalled("escalate"), AgentTarget(BOB)),
            Transition(Always(), StayTarget()),
            Transition(ToolCalled("refund"), AgentTarget(CAROL)),
        ],
    )
    assert TransitionGraph.tools_in(graph.to_dict()) == {"escalate", "refund"}
    assert TransitionGraph.tools_in({"initial_speaker": ALICE}) == frozenset()


def test_sequence_lets_each_one_speak_once_and_ends() -> None:
    talk = Talk(TransitionGraph.sequence([ALICE, BOB, CAROL]))
    assert talk.next == ALICE
    assert talk.say(ALICE).next == BOB
    assert talk.say(BOB).next == CAROL
    talk.say(CAROL)
    assert (talk.next, talk.closed) == (None, "sequence_complete")


def test_round_goes_on_until_there_were_enough_turns() -> None:
    talk = Talk(TransitionGraph.round_robin([ALICE, BOB, CAROL], max_turns=4))
    for speaker in (ALICE, BOB, CAROL):
        assert talk.closed == ""
        assert talk.next == speaker
        talk.say(speaker)
    talk.say(ALICE)
    assert talk.closed == "max_turns"


def test_nobody_speaks_out_of_turn() -> None:
    talk = Talk(TransitionGraph.sequence([ALICE, BOB]))
    with pytest.raises(ProtocolError, match="waits for alice, not for bob"):
        talk.say(BOB)


@pytest.mark.parametrize(
    ("target", "speaker"),
    [
        (AgentTarget(CAROL), CAROL),
        (RoundRobinTarget(), CAROL),
        (StayTarget(), BOB),
        (RevertToInitiatorTarget(), ALICE),
        (TerminateTarget("done"), None),
    ],
)
def test_each_target_gives_the_turn_to_whom_it_says(target: Any, speaker: str | None) -> None:
    talk = Talk(rules((FromSpeaker(ALICE), AgentTarget(BOB)), (FromSpeaker(BOB), target)))
    talk.say(ALICE).say(BOB)
    assert talk.next == speaker
    assert talk.closed == ("done" if speaker is None else "")


def test_the_lowest_priority_is_tried_first_then_the_order_of_the_list() -> None:
    graph = TransitionGraph(
        ALICE,
        (
            Transition(Always(), AgentTarget(ALICE), priority=5),
            Transition(Always(), AgentTarget(BOB), priority=1),
            Transition(Always(), AgentTarget(CAROL), priority=1),
        ),
    )
    assert Talk(graph).say(ALICE).next == BOB


def test_where_nothing_holds_the_default_target_decides() -> None:
    graph = rules((FromSpeaker(BOB), AgentTarget(CAROL)), default_target=AgentTarget(BOB))
    assert Talk(graph).say(ALICE).next == BOB
    assert Talk(rules()).say(ALICE).closed == "after_work"


def test_tool_that_was_called_decides() -> None:
    graph = rules((ToolCalled("to_carol"), AgentTarget(CAROL)), default_target=StayTarget())
    called = {"routing": {"kind": "handoff", "tool": "to_carol"}}
    assert Talk(graph).post(ALICE, EV_PACKET, called).next == CAROL
    assert Talk(graph).reply(ALICE, "hi").next == ALICE
    assert Talk(graph).say(ALICE).next == ALICE


def test_context_decides_also_where_the_same_packet_sets_it() -> None:
    graph = rules(
        (ContextEquals("topic", "law"), AgentTarget(CAROL)),
        (ContextEquals("topic", None), AgentTarget(BOB)),
        default_target=StayTarget(),
    )
    assert Talk(graph).say(ALICE).next == BOB
    assert Talk(graph, context_vars={"topic": "law"}).say(ALICE).next == CAROL
    packet = {"context_updates": {"set": {"topic": "law"}, "delete": []}, "body": "hi"}
    assert Talk(graph).post(ALICE, EV_PACKET, packet).next == CAROL


def test_anybody_sets_context_at_any_time_and_takes_no_turn_with_it() -> None:
    talk = Talk(TransitionGraph.sequence([ALICE, BOB]), context_vars={"a": 1, "b": 2})
    talk.post(CAROL, EV_CONTEXT_SET, {"set": {"c": 3}, "delete": ["a", "nothing"]})
    assert dict(talk.state.context_vars) == {"b": 2, "c": 3}
    assert (talk.next, talk.state.turn_count) == (ALICE, 0)


def test_handoff_goes_where_the_agent_wishes_and_finish_ends() -> None:
    talk = Talk(TransitionGraph.sequence([ALICE, BOB, CAROL]))
    assert talk.reply(ALICE, Handoff(CAROL, reason="she knows")).next == CAROL
    talk.reply(CAROL, Finish("all is well", reason="solved"))
    assert (talk.next, talk.closed) == (None, "solved")


# What is refused


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"routing": 5}, "routing is an object"),
        ({"routing": {"kind": "jump"}}, "unknown kind of routing 'jump'"),
        ({"routing": {"kind": "handoff", "target": "dave"}}, "handoff to 'dave', who takes no"),
        ({"routing": {"kind": "finish", "reason": 5}}, "routing.reason is a text"),
        ({"body": 5}, "body is a text, not int"),
        ({"context_updates": []}, "context_updates are an object"),
        ({"context_updates": {"set": [1]}}, "context `set` is an object"),
        ({"context_updates": {"delete": [1]}}, "context `delete` is a list of names"),
    ],
)
def test_packet_that_is_none_is_refused(data: dict[str, Any], complaint: str) -> None:
    talk = Talk(TransitionGraph.sequence([ALICE, BOB]))
    with pytest.raises(ProtocolError, match=complaint):
        talk.post(ALICE, EV_PACKET, data)
    assert talk.next == ALICE


def test_context_that_is_none_is_refused() -> None:
    with pytest.raises(ProtocolError, match="context `delete`"):
        Talk(rules()).post(BOB, EV_CONTEXT_SET, {"delete": "a"})


MOST = "x" * (CONTEXT_BYTES_MAX - len('"a":"",'))


def test_more_context_than_a_workflow_keeps_is_refused() -> None:
    talk = Talk(TransitionGraph.sequence([ALICE, BOB]), context_vars={"a": MOST})
    before = talk.state
    one_more = {"set": {"b": 1}}
    for sender, event_type, data in (
        (BOB, EV_CONTEXT_SET, one_more),
        (ALICE, EV_PACKET, {**packet_of("hi"), "context_updates": one_more}),
    ):
        with pytest.raises(TooLarge, match="context variables of the workflow"):
            talk.post(sender, event_type, data)
        assert talk.state is before
    # What takes no more, and what takes less; by both ways.
    talk.post(BOB, EV_CONTEXT_SET, {"set": {"a": MOST}})
    talk.post(BOB, EV_CONTEXT_SET, {"set": {"b": 1}, "delete": ["a"]})
    updates = {"set": {"a": MOST[: -len('"b":1,')]}}
    talk.post(ALICE, EV_PACKET, {**packet_of("hi"), "context_updates": updates})
    assert talk.state.context_bytes == CONTEXT_BYTES_MAX == context_bytes(talk.state.context_vars)
    with pytest.raises(TooLarge):
        talk.post(BOB, EV_CONTEXT_SET, {"set": {"": 0}})


def test_context_to_begin_with_has_the_same_limit() -> None:
    with pytest.raises(TooLarge, match="context variables of the workflow"):
        Talk(TransitionGraph.sequence([ALICE, BOB]), context_vars={"a": MOST + "x"})


def test_a_log_from_before_the_limit_is_folded_and_can_only_shrink() -> None:
    talk = Talk(TransitionGraph.sequence([ALICE, BOB]), context_vars={"a": MOST})
    old = Envelope(
        channel_id="channel",
        sender_id=BOB,
        event_type=EV_CONTEXT_SET,
        event_data={"set": {"b": MOST}},
    )
    talk.state = ADAPTER.fold(old, talk.state)
    assert talk.state.context_bytes == 2 * CONTEXT_BYTES_MAX
    with pytest.raises(TooLarge):
        talk.post(BOB, EV_CONTEXT_SET, {"set": {"c": 1}})
    talk.post(BOB, EV_CONTEXT_SET, {"set": {"a": MOST[1:]}})
    # A turn that changes nothing of it is as good as ever.
    talk.say(ALICE)


def test_whoever_thaws_a_workflow_counts_its_context_anew() -> None:
    talk = Talk(TransitionGraph.sequence([ALICE, BOB]), context_vars={"a": 1})
    talk.post(BOB, EV_CONTEXT_SET, {"set": {"b": [1, 2.5, None]}})
    frozen = ADAPTER.freeze(talk.state)
    # As it was before there was a limit, so that snapshots from then can be used.
    assert "context_bytes" not in frozen
    assert ADAPTER.thaw(json.loads(json.dumps(frozen)), talk.metadata) == talk.state


def test_a_long_graph_of_many_is_looked_through_once() -> None:
    agents = many_ids(100)
    graph = TransitionGraph.round_robin(agents)
    steps = tuple(Transition(FromSpeaker(one), AgentTarget(one)) for one in agents)
    with compared_at_most(4 * len(agents)):
        attrs.evolve(graph, transitions=steps).check_participants(agents)


GOOD = TransitionGraph.sequence([ALICE, BOB]).to_dict()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"initial_speaker": ""}, "graph.initial_speaker: expected"),
        ({"initial_speaker": "dave"}, "graph.initial_speaker: 'dave' takes no part"),
        ({"max_turns": 0}, "graph.max_turns: expected a number above 0, got 0"),
        ({"max_turns": True}, "graph.max_turns"),
        ({"transitions": {}}, None),
        ({"transitions": 5}, "graph.transitions: expected a list"),
        ({"transitions": [5]}, r"graph.transitions\[0\]: expected an object, got int"),
        (
            {"transitions": [{"when": {"name": "never"}, "then": {"name": "stay"}}]},
            r"graph.transitions\[0\].when: unknown condition 'never'; known: always",
        ),
        (
            {"transitions": [{"when": {"name": "always"}, "then": {"name": ["x"]}}]},
            r"graph.transitions\[0\].then: unknown target",
        ),
        (
            {"transitions": [{"when": {"name": "always"}}]},
            r"graph.transitions\[0\].then: expected an object with a name, got nothing",
        ),
        (
            {"transitions": [{"when": {"name": "always"}, "then": {"name": "agent"}}]},
            r"graph.transitions\[0\].then.args: .*agent_id",
        ),
        (
            {
                "transitions": [
                    {
                        "when": {"name": "always"},
                        "then": {"name": "agent", "args": {"agent_id": 5}},
                    }
                ]
            },
            r"graph.transitions\[0\].then.args: .*agent_id",
        ),
        (
            {
                "transitions": [
                    {
                        "when": {"name": "from_speaker", "args": {"agent_id": "dave"}},
                        "then": {"name": "agent", "args": {"agent_id": "eve"}},
                    }
                ]
            },
            r"transitions\[0\].when.args.agent_id: 'dave'.*transitions\[0\].then.args.agent_id: 'eve'",
        ),
        (
            {
                "transitions": [
                    {"when": {"name": "always"}, "then": {"name": "stay"}, "priority": "x"}
                ]
            },
            r"priority: expected a whole number",
        ),
        (
            {"default_target": {"name": "agent", "args": {"agent_id": "dave"}}},
            "default_target.args",
        ),
    ],
)
def test_graph_that_is_none_is_refused_with_the_place(
    change: dict[str, Any], complaint: str | None
) -> None:
    channel = metadata(ADAPTER, ALICE, BOB, knobs={"graph": {**GOOD, **change}})
    if complaint is None:
        ADAPTER.validate_create(channel)
        return
    with pytest.raises(ProtocolError, match=complaint):
        ADAPTER.validate_create(channel)


@pytest.mark.parametrize("knobs", [{}, {"graph": None}, {"graph": "x"}, {"graph": []}])
def test_workflow_without_a_graph_is_refused(knobs: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="graph"):
        ADAPTER.validate_create(metadata(ADAPTER, ALICE, BOB, knobs=knobs))


def test_context_vars_that_are_none_and_lonely_workflows_are_refused() -> None:
    with pytest.raises(ProtocolError, match="context_vars"):
        ADAPTER.validate_create(
            metadata(ADAPTER, ALICE, BOB, knobs={"graph": GOOD, "context_vars": 5})
        )
    with pytest.raises(ProtocolError, match="two or more"):
        ADAPTER.validate_create(metadata(ADAPTER, ALICE, knobs={"graph": GOOD}))


# Graphs as data

agents = st.sampled_from(["agent-0", "agent-1"])
conditions = st.one_of(
    st.just(Always()),
    st.builds(FromSpeaker, agents),
    st.builds(ToolCalled, st.sampled_from(["one", "two"])),
    st.builds(ContextEquals, st.sampled_from(["k", "l"]), st.none() | st.integers(0, 2)),
)
targets = st.one_of(
    st.builds(AgentTarget, agents),
    st.sampled_from([RoundRobinTarget(), StayTarget(), RevertToInitiatorTarget()]),
    st.builds(TerminateTarget, st.sampled_from(["done", "enough"])),
)
graphs = st.builds(
    TransitionGraph,
    agents,
    st.lists(st.builds(Transition, conditions, targets, st.integers(-2, 2)), max_size=5),
    targets,
    st.none() | st.integers(1, 6),
)


@given(graphs)
def test_graph_survives_json(graph: TransitionGraph) -> None:
    assert TransitionGraph.from_dict(json.loads(json.dumps(graph.to_dict()))) == graph


@given(graphs)
def test_picture_has_every_agent_and_every_transition(graph: TransitionGraph) -> None:
    picture = graph.to_mermaid(lambda agent_id: f"«{agent_id}»")
    assert picture.startswith("flowchart TD\n")
    for _, agent_id in graph.mentions():
        assert f'"«{agent_id}»"' in picture
    arrows = picture.count("-->")
    assert arrows == len(graph.transitions) + 2 + (graph.max_turns is not None)


def test_names_in_a_picture_cannot_break_it() -> None:
    picture = TransitionGraph.sequence(['a"]\n-->', "b"]).to_mermaid()
    assert '"a#quot;] -->"' in picture


def test_ids_take_the_place_of_names() -> None:
    graph = rules((FromSpeaker("bob"), AgentTarget("carol")), default_target=AgentTarget("alice"))
    named = attrs.evolve(graph, initial_speaker="alice")
    known = named.with_ids({"alice": "1", "bob": "2", "carol": "3"})
    assert [agent_id for _, agent_id in known.mentions()] == ["1", "2", "3", "1"]


@dataclass(frozen=True)
class EveryNth:
    """A condition of a user's, as a dataclass."""

    n: int
    name: ClassVar[str] = "every_nth"

    def evaluate(self, state: WorkflowState, envelope: Envelope) -> bool:
        return state.turn_count % self.n == 0


@attrs.frozen
class ToLastOfOrder:
    """A target of a user's, as an attrs class."""

    name: ClassVar[str] = "to_last"

    def resolve(self, state: WorkflowState, envelope: Envelope) -> TransitionDecision:
        return TransitionDecision(state.participant_order[-1])


def test_conditions_and_targets_of_ones_own_are_data_too() -> None:
    registry = TransitionRegistry()
    registry.register_condition(EveryNth)
    registry.register_target(ToLastOfOrder)
    graph = rules((EveryNth(2), ToLastOfOrder()), default_target=StayTarget())
    again = TransitionGraph.from_dict(graph.to_dict(), registry=registry)
    assert again == graph
    with pytest.raises(ProtocolError, match="unknown condition 'every_nth'"):
        TransitionGraph.from_dict(graph.to_dict())


@pytest.mark.parametrize("make", [TransitionGraph.sequence, TransitionGraph.round_robin])
def test_graph_of_nobody_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="at least one"):
        make([])


def test_sequence_with_somebody_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="speaks once"):
        TransitionGraph.sequence([ALICE, BOB, ALICE])


class TestWorkflowMachine(
    AdapterMachine.of(  # type: ignore[misc]
        ADAPTER,
        knobs=st.fixed_dictionaries({"graph": graphs.map(TransitionGraph.to_dict)}),
        events=st.one_of(
            st.tuples(st.just("ag2.msg.text"), st.just({"text": "hi"})),
            st.tuples(
                st.just(EV_PACKET),
                st.sampled_from(
                    [
                        packet_of("hi"),
                        packet_of(Handoff("agent-0")),
                        packet_of(Handoff("agent-1")),
                        packet_of(Handoff("nobody")),
                        packet_of(Finish()),
                        {"routing": {"kind": "handoff", "tool": "one"}},
                        {"context_updates": {"set": {"k": 1}}},
                        {"routing": 7},
                    ]
                ),
            ),
            st.tuples(
                st.just(EV_CONTEXT_SET),
                st.sampled_from([{"set": {"k": 2}}, {"delete": ["k"]}, {"set": 5}, {}]),
            ),
        ),
    ).TestCase
):
    """Whatever is said in whatever workflow: live is replay, and what may be said can be folded."""


def test_ids_change_nothing_else() -> None:
    graph = TransitionGraph(
        "elsewhere",
        [Transition(FromSpeaker("bob"), AgentTarget("carol"), priority=3)],
        default_target=StayTarget(),
        max_turns=7,
    )
    assert graph.with_ids({"bob": "2", "carol": "3"}) == TransitionGraph(
        "elsewhere",
        [Transition(FromSpeaker("2"), AgentTarget("3"), priority=3)],
        default_target=StayTarget(),
        max_turns=7,
    )


def test_ready_made_graphs_say_how_they_end() -> None:
    sequence = TransitionGraph.sequence([ALICE, BOB])
    assert (sequence.max_turns, sequence.default_target) == (
        2,
        TerminateTarget("sequence_complete"),
    )
    endless = TransitionGraph.round_robin([ALICE, BOB])
    assert (endless.max_turns, endless.default_target) == (
        None,
        TerminateTarget("round_robin_complete"),
    )


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ([], "^graph: expected an object, got list$"),
        ({}, "^graph.initial_speaker: expected the id of a participant$"),
        (
            {"initial_speaker": ALICE, "default_target": {"name": "none_such"}},
            "^graph.default_target: unknown target 'none_such'; known: [a-z_]+, [a-z_]+",
        ),
        (
            {"initial_speaker": ALICE, "transitions": [{}] * 10_001},
            "^graph.transitions: expected a list, up to 10000$",
        ),
        (
            {"initial_speaker": ALICE, "default_target": "agent"},
            "^graph.default_target: expected an object with a name, got str$",
        ),
        (
            {"initial_speaker": ALICE, "default_target": {"name": "agent", "args": "a"}},
            "^graph.default_target.args: expected an object, got str$",
        ),
    ],
)
def test_what_is_no_graph_is_refused_and_says_where(data: Any, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        TransitionGraph.from_dict(data)


def test_as_many_transitions_as_are_allowed_are_read() -> None:
    rule = Transition(Always(), StayTarget())
    graph = TransitionGraph(ALICE, [rule] * 10_000)
    assert TransitionGraph.from_dict(graph.to_dict()) == graph


def test_a_turn_is_remembered_with_who_spoke_and_what_it_was() -> None:
    talk = Talk(rules(default_target=StayTarget())).say(ALICE)
    assert talk.state.last_speaker_id == ALICE
    assert talk.state.last_envelope_id == f"{1:032x}"
    assert talk.say(ALICE).state.last_envelope_id == f"{2:032x}"
