"""Agents as tools: which there are, what they are called, and what asking one does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from trio_hub import (
    AgentClient,
    ChannelState,
    FunctionAgent,
    Hub,
    HubClient,
    LocalLink,
    MemoryKnowledgeStore,
    NetworkError,
    NotFoundError,
    Passport,
    Resume,
)
from trio_hub.client import Turn
from trio_hub.mcp import PeerTools


async def silence(_turn: Turn) -> None:
    return None


async def echo(turn: Turn) -> str:
    return f"{turn.sender_name} asked: {turn.text}"


@attrs.frozen
class Stage:
    hub: Hub
    client: HubClient
    asker: AgentClient

    async def add(self, name: str, **resume: object) -> AgentClient:
        return await self.client.register(
            FunctionAgent(name, echo),
            resume=Resume(**resume) if resume else None,  # type: ignore[arg-type]
        )


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with opened() as one:
        yield one


@asynccontextmanager
async def opened() -> AsyncIterator[Stage]:
    async with (
        Hub.open(MemoryKnowledgeStore()) as hub,
        HubClient(LocalLink(hub)) as client,
    ):
        yield Stage(hub, client, await client.register(FunctionAgent("me", silence)))


async def test_every_agent_but_oneself_and_people_is_a_tool(stage: Stage) -> None:
    await stage.add("bob", summary="Knows refunds.", claimed_capabilities=("refunds", "law"))
    await stage.add("carol")
    await stage.client.register_human(Passport(name="dave"))
    tools = await PeerTools(stage.asker).tools()
    assert {(tool.name, tool.description) for tool in tools} == {
        ("ask_bob", "Knows refunds. Capabilities: refunds, law."),
        ("ask_carol", "Ask the agent carol."),
    }


async def test_only_those_of_a_capability_where_one_is_named(stage: Stage) -> None:
    await stage.add("bob", claimed_capabilities=("refunds",))
    await stage.add("carol")
    tools = await PeerTools(stage.asker, capability="refunds").tools()
    assert [tool.name for tool in tools] == ["ask_bob"]


async def test_names_are_what_every_client_takes_and_each_its_own(stage: Stage) -> None:
    ids = {name: (await stage.add(name)).agent_id for name in ("b o/b", "b_o_b", "x" * 100, "bob")}
    names = {tool.agent_id: tool.name for tool in await PeerTools(stage.asker).tools()}
    assert names[ids["bob"]] == "ask_bob"
    assert names[ids["b o/b"]] == f"ask_b_o_b_{ids['b o/b'][-8:]}"
    assert names[ids["b_o_b"]] == f"ask_b_o_b_{ids['b_o_b'][-8:]}"
    assert len(set(names.values())) == 4
    assert all(len(name) <= 64 for name in names.values())


async def test_at_most_so_many_are_tools(stage: Stage) -> None:
    for number in range(5):
        await stage.add(f"agent-{number}")
    assert len(await PeerTools(stage.asker, peers_max=3).tools()) == 3


async def test_asking_is_a_consult(stage: Stage) -> None:
    await stage.add("bob")
    assert await PeerTools(stage.asker).ask("ask_bob", "refunds?") == "me asked: refunds?"
    [channel] = [it.metadata for it in stage.hub.channels]
    assert channel.manifest.type == "consulting"
    assert channel.state is ChannelState.CLOSED


async def test_nobody_behind_a_tool_is_told_with_its_name(stage: Stage) -> None:
    with pytest.raises(NotFoundError, match="ask_nobody"):
        await PeerTools(stage.asker).ask("ask_nobody", "there?")


async def test_channel_that_ends_without_an_answer_is_an_error(stage: Stage) -> None:
    async def hang_up(turn: Turn) -> None:
        await turn.channel.close("no time")

    await stage.client.register(FunctionAgent("bob", hang_up))
    with trio.fail_after(20), pytest.raises(NetworkError, match="no time"):
        await PeerTools(stage.asker).ask("ask_bob", "there?")


async def test_answer_that_does_not_come_in_time_ends_the_channel(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with opened() as stage:
        await stage.client.register(FunctionAgent("bob", silence))
        with pytest.raises(trio.TooSlowError, match="ask_bob gave no answer within 5 s"):
            await PeerTools(stage.asker, timeout_seconds=5).ask("ask_bob", "there?")
        [channel] = [it.metadata for it in stage.hub.channels]
        assert channel.state is ChannelState.CLOSED


async def test_caller_that_gives_up_ends_the_channel(stage: Stage) -> None:
    asked = trio.Event()

    async def think(_turn: Turn) -> None:
        asked.set()
        await trio.sleep_forever()

    await stage.client.register(FunctionAgent("bob", think))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(PeerTools(stage.asker).ask, "ask_bob", "there?")
        with trio.fail_after(20):
            await asked.wait()
        nursery.cancel_scope.cancel()
    [channel] = [it.metadata for it in stage.hub.channels]
    assert channel.state is ChannelState.CLOSED
