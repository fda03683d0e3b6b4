"""Pictures of graphs, to the letter: what draws them is somebody else's program."""

from __future__ import annotations

from trio_hub.protocol.workflow import (
    AgentTarget,
    Always,
    ContextEquals,
    FromSpeaker,
    RevertToInitiatorTarget,
    StayTarget,
    TerminateTarget,
    ToolCalled,
    Transition,
    TransitionGraph,
)


def test_a_picture_has_all_that_the_graph_says() -> None:
    graph = TransitionGraph(
        "a",
        [
            Transition(FromSpeaker("a"), AgentTarget("b")),
            Transition(ToolCalled("ask"), AgentTarget("a")),
            Transition(ContextEquals("done", True), TerminateTarget("done")),
            Transition(Always(), RevertToInitiatorTarget(), priority=-1),
        ],
        default_target=StayTarget(),
        max_turns=9,
    )
    assert graph.to_mermaid(str.upper) == (
        "flowchart TD\n"
        '  n0(["begin"])\n'
        '  n1["A"]\n'
        "  n0 --> n1\n"
        # First, by its priority.
        '  n2{{"any turn"}}\n'
        '  n3(["revert to initiator"])\n'
        "  n2 --> n3\n"
        '  n4["B"]\n'
        "  n1 --> n4\n"
        '  n2 -- "ask called" --> n1\n'
        '  n5(["end: done"])\n'
        '  n2 -- "done = True" --> n5\n'
        '  n6(["stay"])\n'
        '  n2 -- "otherwise" --> n6\n'
        '  n7(["end: max_turns"])\n'
        '  n2 -- "after 9 turns" --> n7\n'
    )


def test_without_an_end_by_number_there_is_no_arrow_to_it() -> None:
    graph = TransitionGraph("a", default_target=TerminateTarget("a & b"))
    assert graph.to_mermaid() == (
        "flowchart TD\n"
        '  n0(["begin"])\n'
        '  n1["a"]\n'
        "  n0 --> n1\n"
        '  n2{{"any turn"}}\n'
        '  n3(["end: a #amp; b"])\n'
        '  n2 -- "otherwise" --> n3\n'
    )
