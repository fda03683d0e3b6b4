"""Consulting others from inside a turn: answers, depth, and what is left when it is given up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from trio_hub import (
    AgentClient,
    ChannelState,
    FunctionAgent,
    Hub,
    HubClient,
    LimitsBlock,
    LocalLink,
    MemoryKnowledgeStore,
    Passport,
    Rule,
    ScriptedAgent,
    Turn,
)
from trio_hub.errors import AccessDeniedError, NotFoundError, ProtocolError


async def silence(_turn: Turn) -> None:
    return None


@asynccontextmanager
async def asker() -> AsyncIterator[AgentClient]:
    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        with trio.fail_after(1000):
            yield await client.register(silence, Passport(name="alice"))


async def states(alice: AgentClient) -> list[ChannelState]:
    channels = await alice.hub_client.list_channels(agent_id=alice.agent_id, include_terminal=True)
    return [it.state for it in channels]


async def test_an_agent_asks_another_before_it_answers() -> None:
    async with asker() as alice:
        client = alice.hub_client
        expert = ScriptedAgent("expert", ["42"])
        await client.register(expert)

        async def ask(turn: Turn) -> str:
            return f"it is {await turn.delegate('expert', turn.text)}"

        await client.register(ask, Passport(name="bob"))
        assert await alice.consult("bob", "six times seven") == "it is 42"
        assert [turn.text for turn in expert.turns] == ["six times seven"]
        assert expert.turns[0].envelope.depth == 1
        assert await states(alice) == [ChannelState.CLOSED]


def asks(name: str, errors: list[str], depths: list[int]) -> FunctionAgent:
    """Ask the other one, whatever it is about."""
    other = {"bob": "carol", "carol": "bob"}[name]

    async def ask(turn: Turn) -> str:
        depths.append(turn.envelope.depth)
        try:
            return await turn.delegate(other, turn.text)
        except AccessDeniedError as error:
            errors.append(error.message)
            return f"{name} has had enough"

    return FunctionAgent(name, ask)


async def test_two_that_ask_each_other_come_to_an_end_where_the_rule_says() -> None:
    async with asker() as alice:
        errors: list[str] = []
        depths: list[int] = []
        for name in ("bob", "carol"):
            rule = Rule(limits=LimitsBlock(delegation_depth=3))
            await alice.hub_client.register(asks(name, errors, depths), rule=rule)
        assert await alice.consult("bob", "and so on") == "carol has had enough"
        assert depths == [0, 1, 2, 3]
        assert len(errors) == 1
        assert "limits.delegation_depth" in errors[0]
        # Also the channel in which nothing was asked.
        everything = await alice.hub_client.list_channels(include_terminal=True)
        assert {it.state for it in everything} == {ChannelState.CLOSED}


async def test_nobody_answers_in_time(autojump_clock: MockClock) -> None:
    stopped = trio.Event()

    async def sleep(turn: Turn) -> str:
        try:
            await trio.sleep_forever()
        finally:
            stopped.set()
        raise AssertionError("it woke up")

    async with asker() as alice:
        await alice.hub_client.register(sleep, Passport(name="bob"))
        with pytest.raises(trio.TooSlowError, match="'bob' did not answer 'alice' within 5 s"):
            await alice.consult("bob", "still there?", timeout=5)
        assert await states(alice) == [ChannelState.CLOSED]
        # Whoever was asked does not work on for nothing.
        await stopped.wait()


async def test_whoever_gives_up_takes_the_whole_chain_with_it() -> None:
    begun, stopped = trio.Event(), trio.Event()

    async def sleep(turn: Turn) -> str:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            stopped.set()
        raise AssertionError("it woke up")

    async def ask(turn: Turn) -> str:
        return await turn.delegate("expert", turn.text)

    async with asker() as alice:
        await alice.hub_client.register(sleep, Passport(name="expert"))
        await alice.hub_client.register(ask, Passport(name="bob"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alice.consult, "bob", "what?")
            await begun.wait()
            nursery.cancel_scope.cancel()
        await stopped.wait()


async def test_a_channel_that_is_closed_before_the_answer_says_so() -> None:
    async with asker() as alice:

        async def close(turn: Turn) -> None:
            await turn.channel.close("no time")

        await alice.hub_client.register(close, Passport(name="bob"))
        with pytest.raises(ProtocolError, match=r"'alice' asked 'bob', was closed .*: no time"):
            await alice.consult("bob", "what?")


async def test_who_is_not_there_is_not_asked() -> None:
    async with asker() as alice:
        with pytest.raises(NotFoundError):
            await alice.consult("nobody", "what?")
        assert await states(alice) == []
