"""One graph, run by both: AG2's agents in our workflows, and ours in AG2's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from trio_hub import AgentTarget, FromSpeaker, ToolCalled, Transition, TransitionGraph

from .casts import pairs

if TYPE_CHECKING:
    from .conftest import Side, Stage

pytestmark = pytest.mark.interop

PACKET = "ag2.packet"
CLOSED = "ag2.channel.closed"


def packets(log: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Return sender, kind of routing and body of each packet."""
    return [
        (e["sender_id"], e["event_data"]["routing"]["kind"], e["event_data"]["body"])
        for e in log
        if e["event_type"] == PACKET
    ]


@pairs
async def test_a_sequence_runs_to_its_end(
    stage: Stage, hub: Side, asker: Side, answerer: Side
) -> None:
    await stage.hub(hub)
    bob = await stage.party(answerer, "bob", "a draft")
    carol = await stage.party("ag2" if answerer == "ours" else "ours", "carol", "checked")
    alice = await stage.party(asker, "alice", behaviour="listens")
    graph = TransitionGraph.sequence([alice.agent_id, bob.agent_id, carol.agent_id])
    channel = await alice.open("workflow", bob, carol, knobs={"graph": graph.to_dict()})
    await alice.send(channel, "Write!")

    assert (await alice.wait_for(channel, CLOSED))["event_data"]["reason"] == "sequence_complete"
    assert packets(await alice.call("read_wal", channel_id=channel)) == [
        (bob.agent_id, "text", "a draft"),
        (carol.agent_id, "text", "checked"),
    ]
    await carol.until_heard("a draft")


@pairs
async def test_an_agent_hands_off_and_the_other_finishes(
    stage: Stage, hub: Side, asker: Side, answerer: Side
) -> None:
    await stage.hub(hub)
    hands_off = {"tool": "hand_off", "arguments": {"target": "carol", "reason": "a refund"}}
    finishes = {"tool": "finish", "arguments": {"summary": "Paid.", "reason": "paid"}}
    bob = await stage.party(answerer, "bob", hands_off, "")
    carol = await stage.party("ag2" if answerer == "ours" else "ours", "carol", finishes, "")
    alice = await stage.party(asker, "alice", behaviour="listens")
    graph = TransitionGraph(
        alice.agent_id, [Transition(FromSpeaker(alice.agent_id), AgentTarget(bob.agent_id))]
    )
    channel = await alice.open("workflow", bob, carol, knobs={"graph": graph.to_dict()})
    await alice.send(channel, "My money!")

    assert (await alice.wait_for(channel, CLOSED))["event_data"]["reason"] == "paid"
    log = await alice.call("read_wal", channel_id=channel)
    assert [(sender, kind) for sender, kind, _ in packets(log)] == [
        (bob.agent_id, "handoff"),
        (carol.agent_id, "finish"),
    ]
    await carol.until_heard("a refund")


@pairs
async def test_graph_waits_for_a_tool_and_takes_the_turn_from_there(
    stage: Stage, hub: Side, asker: Side, answerer: Side
) -> None:
    await stage.hub(hub)
    calls = {"tool": "escalate", "arguments": {"reason": "above my limit"}}
    bob = await stage.party(answerer, "bob", calls, "somebody will decide")
    carol = await stage.party("ag2" if answerer == "ours" else "ours", "carol", "granted")
    alice = await stage.party(asker, "alice", behaviour="listens")
    graph = TransitionGraph(
        alice.agent_id,
        [
            Transition(ToolCalled("escalate"), AgentTarget(carol.agent_id)),
            Transition(FromSpeaker(alice.agent_id), AgentTarget(bob.agent_id)),
        ],
    )
    channel = await alice.open("workflow", bob, carol, knobs={"graph": graph.to_dict()})
    await alice.send(channel, "My money!")

    await alice.wait_for(channel, CLOSED)
    log = await alice.call("read_wal", channel_id=channel)
    assert packets(log) == [
        (bob.agent_id, "handoff", "somebody will decide"),
        (carol.agent_id, "text", "granted"),
    ]
    # The same packet, whoever wrote it: the tool, and no target.
    routing = next(e for e in log if e["event_type"] == PACKET)["event_data"]["routing"]
    assert routing == {"kind": "handoff", "tool": "escalate", "reason": "above my limit"}
    await carol.until_heard("above my limit")
