"""Workflows end to end: agents hand off and finish, over every kind of link."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from trio_hub import (
    AgentTarget,
    Channel,
    ContextEquals,
    Finish,
    FromSpeaker,
    FunctionAgent,
    Handoff,
    Hub,
    HubClient,
    LocalLink,
    MemoryKnowledgeStore,
    ProtocolError,
    StayTarget,
    Transition,
    TransitionGraph,
    WsLink,
    serve_ws,
)
from trio_hub.client import AgentClient, Turn
from trio_hub.records import EV_CHANNEL_CLOSED

Answer = Any


@attrs.define
class Cast:
    """Agents, each on a connection of its own, and what each was asked."""

    clients: dict[str, AgentClient] = attrs.field(factory=dict)
    asked: list[tuple[str, str]] = attrs.field(factory=list)

    async def play(self, graph: TransitionGraph, opening: str, **knobs: Any) -> Channel:
        """Let Alice open the workflow and say its first words."""
        others = [name for name in self.clients if name != "alice"]
        channel = await self.clients["alice"].open(
            type="workflow", target=others, knobs={"graph": graph, **knobs}
        )
        await channel.send(opening)
        return channel

    async def end_of(self, channel: Channel) -> str:
        closed = await self.clients["alice"].wait_for_channel_event(
            channel_id=channel.channel_id,
            predicate=lambda it: it.event_type == EV_CHANNEL_CLOSED,
            timeout=20,
        )
        return str(closed.event_data["reason"])


@pytest.fixture(params=["local", "ws"])
def over(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def opened(over: str, **answers: Answer) -> AsyncIterator[Cast]:
    cast = Cast()
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(Hub.open(MemoryKnowledgeStore()))
        url = ""
        if over == "ws":
            url = (await stack.enter_async_context(serve_ws(hub, "127.0.0.1", 0))).url

        async def join(name: str, answer: Answer) -> None:
            async def ask(turn: Turn) -> Any:
                cast.asked.append((name, turn.text))
                return answer(turn) if callable(answer) else answer

            link = WsLink(url) if url else LocalLink(hub)
            client = await stack.enter_async_context(HubClient(link))
            cast.clients[name] = await client.register(FunctionAgent(name, ask))

        await join("alice", None)
        for name, answer in answers.items():
            await join(name, answer)
        yield cast


async def test_pipeline_runs_through_and_closes(over: str) -> None:
    async with opened(over, bob="a draft", carol=lambda turn: f"{turn.text}, checked") as cast:
        channel = await cast.play(TransitionGraph.sequence(["alice", "bob", "carol"]), "Write!")
        assert await cast.end_of(channel) == "sequence_complete"
        assert cast.asked == [("bob", "Write!"), ("carol", "a draft")]
        said = [it.text for it in await channel.history()]
        assert said == ["Write!", "a draft", "a draft, checked"]


async def test_agent_hands_off_by_name_and_the_other_finishes(over: str) -> None:
    graph = TransitionGraph("alice", [Transition(FromSpeaker("alice"), AgentTarget("bob"))])
    answers = {"bob": Handoff("carol", reason="a refund"), "carol": Finish("Paid.", reason="paid")}
    async with opened(over, **answers) as cast:
        channel = await cast.play(graph, "My money!")
        assert await cast.end_of(channel) == "paid"
        # What nobody said in words, the reason says.
        assert cast.asked == [("bob", "My money!"), ("carol", "a refund")]
        routing = [dict(it.routing) for it in await channel.history()]
        assert [it.get("kind") for it in routing] == [None, "handoff", "finish"]
        assert routing[1]["target"] == cast.clients["carol"].agent_id


async def test_context_that_an_agent_sets_decides_where_it_goes(over: str) -> None:
    graph = TransitionGraph(
        "alice",
        [
            Transition(FromSpeaker("alice"), AgentTarget("bob")),
            Transition(ContextEquals("topic", "law"), AgentTarget("carol"), priority=-1),
        ],
    )
    async with opened(over, bob="never asked", carol=Finish()) as cast:
        channel = await cast.clients["alice"].open(
            type="workflow", target=["bob", "carol"], knobs={"graph": graph}
        )
        await channel.set_context("topic", "law")
        await channel.send("May I?")
        assert await cast.end_of(channel) == "finished"
        assert cast.asked == [("carol", "May I?")]


async def test_graph_that_names_a_stranger_is_refused_at_the_opening(over: str) -> None:
    graph = TransitionGraph("alice", [Transition(FromSpeaker("alice"), AgentTarget("dave"))])
    async with opened(over, bob=None) as cast:
        with pytest.raises(ProtocolError, match=r"transitions\[0\].then.args.agent_id: 'dave'"):
            await cast.play(graph, "hi")


async def test_handoff_to_nobody_is_a_failed_turn_that_ends_nothing(over: str) -> None:
    graph = TransitionGraph.sequence(["alice", "bob"])
    attempts = trio.Event()

    def answer(turn: Turn) -> Any:
        if turn.attempt == 1:
            return Handoff("dave")
        attempts.set()
        return "then I do it"

    async with opened(over, bob=answer) as cast:
        channel = await cast.play(graph, "hi")
        with trio.fail_after(20):
            await attempts.wait()
        assert await cast.end_of(channel) == "sequence_complete"


async def test_handoff_where_there_is_no_workflow_is_refused(over: str) -> None:
    def answer(turn: Turn) -> Any:
        return Handoff("alice") if turn.attempt == 1 else "all right"

    async with opened(over, bob=answer) as cast:
        channel = await cast.clients["alice"].open(type="consulting", target="bob")
        await channel.send("hi")
        reply = await cast.clients["alice"].wait_for_channel_event(
            channel_id=channel.channel_id, predicate=lambda it: it.text != "", timeout=20
        )
        assert reply.text == "all right"
        with pytest.raises(ProtocolError, match="only workflows have context variables"):
            await channel.set_context("a", 1)


async def test_restart_of_the_hub_finds_whose_turn_it_is() -> None:
    store = MemoryKnowledgeStore()
    graph = TransitionGraph("alice", [Transition(FromSpeaker("alice"), StayTarget())])
    async with Hub.open(store) as hub, HubClient(LocalLink(hub)) as client:

        async def quiet(_turn: Turn) -> None:
            return None

        alice = await client.register(FunctionAgent("alice", quiet))
        bob = await client.register(FunctionAgent("bob", quiet))
        channel = await alice.open(type="workflow", target="bob", knobs={"graph": graph})
        await channel.set_context("a", 1)
        await channel.send("mine again")
        ids = channel.channel_id, alice.agent_id, bob.agent_id
    async with Hub.open(store) as hub:
        channel_id, alice_id, bob_id = ids
        assert await hub.can_send(channel_id, alice_id)
        assert not await hub.can_send(channel_id, bob_id)
        machine = await hub.channels.warm(hub.channels.get(channel_id))
        assert machine.state.turn_count == 1
        assert dict(machine.state.context_vars) == {"a": 1}
