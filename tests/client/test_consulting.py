"""Questions that are asked again, by turns that are tried again: whoever is asked works once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock

from trio_hub import (
    AgentClient,
    ChannelState,
    DeliveryPolicy,
    Envelope,
    FunctionAgent,
    Hub,
    HubClient,
    LocalLink,
    MemoryKnowledgeStore,
    Passport,
    ProtocolError,
    ScriptedAgent,
    Turn,
)
from trio_hub.client import decline_invite, default_handler
from trio_hub.protocol.backoff import Backoff
from trio_hub.records import EV_CHANNEL_INVITE


async def _silence(_turn: Turn) -> None:
    return None


@attrs.frozen
class Stage:
    """Alice, who asks Bob, who asks an expert."""

    hub: Hub
    client: HubClient
    alice: AgentClient

    async def bob(self, ask: Callable[[Turn], Awaitable[str]]) -> AgentClient:
        return await self.client.register(FunctionAgent("bob", ask))

    async def consultations(self, name: str = "bob") -> list[ChannelState]:
        """Return where the channels stand that an agent has opened."""
        agent_id = self.hub.find_agent_id(name)
        return [it.state for it in self.hub.list_channels() if it.creator_id == agent_id]


@asynccontextmanager
async def opened() -> AsyncIterator[Stage]:
    policy = DeliveryPolicy(max_attempts=4, backoff=Backoff(base=0.01, cap=0.01))
    async with (
        Hub.open(MemoryKnowledgeStore(), delivery=policy) as hub,
        HubClient(LocalLink(hub)) as client,
    ):
        with trio.fail_after(30):
            alice = await client.register(_silence, Passport(name="alice"))
            yield Stage(hub, client, alice)


class Broken(Exception):
    """What a turn fails with the first time."""


async def test_turn_that_is_tried_again_finds_what_it_asked_and_the_answer() -> None:
    async def ask(turn: Turn) -> str:
        answer = await turn.delegate("expert", turn.text)
        if turn.attempt < 3:
            raise Broken
        return f"it is {answer}"

    async with opened() as stage:
        expert = ScriptedAgent("expert", ["42"])
        await stage.client.register(expert)
        await stage.bob(ask)
        assert await stage.alice.consult("bob", "six times seven") == "it is 42"
        assert [turn.text for turn in expert.turns] == ["six times seven"]
        assert await stage.consultations() == [ChannelState.CLOSED]


async def test_the_same_words_asked_twice_in_a_turn_are_two_questions() -> None:
    async def ask(turn: Turn) -> str:
        answers = [await turn.delegate("expert", "roll the dice") for _ in range(2)]
        if turn.attempt == 1:
            raise Broken
        return " and ".join(answers)

    async with opened() as stage:
        expert = ScriptedAgent("expert", ["3", "5"])
        await stage.client.register(expert)
        await stage.bob(ask)
        assert await stage.alice.consult("bob", "play") == "3 and 5"
        assert len(expert.turns) == 2


@pytest.mark.parametrize(("key", "asked"), [(None, ["1", "2"]), ("the price", ["1"])])
async def test_other_words_are_another_question_unless_it_has_a_key(
    key: str | None, asked: list[str]
) -> None:
    async def ask(turn: Turn) -> str:
        answer = await turn.delegate("expert", str(turn.attempt), key=key)
        if turn.attempt == 1:
            raise Broken
        return answer

    async with opened() as stage:
        expert = ScriptedAgent("expert", ["first", "second"])
        await stage.client.register(expert)
        await stage.bob(ask)
        answer = await stage.alice.consult("bob", "how much?")
        assert [turn.text for turn in expert.turns] == asked
        assert answer == ("first" if key else "second")


async def test_what_is_still_worked_on_is_waited_for_in_other_words_too() -> None:
    """The program that asked is gone; the next one says the same in other words."""
    answer_now, is_asked = trio.Event(), trio.Event()
    asked: list[str] = []

    async def expert(turn: Turn) -> str:
        asked.append(turn.text)
        is_asked.set()
        await answer_now.wait()
        return "42"

    async def first(turn: Turn) -> str:
        return await turn.delegate("expert", "six times seven", key="product")

    async def second(turn: Turn) -> str:
        answer_now.set()
        return await turn.delegate("expert", "seven times six", key="product")

    async with opened() as stage, trio.open_nursery() as nursery:
        await stage.client.register(FunctionAgent("expert", expert))
        answers: list[str] = []

        async def consult() -> None:
            answers.append(await stage.alice.consult("bob", "well?"))

        async with HubClient(LocalLink(stage.hub)) as gone:
            await gone.register(FunctionAgent("bob", first))
            nursery.start_soon(consult)
            await is_asked.wait()
        assert await stage.consultations() == [ChannelState.ACTIVE]
        await stage.client.attach(FunctionAgent("bob", second), name="bob")
    assert answers == ["42"]
    assert asked == ["six times seven"]


async def test_answer_that_was_heard_by_a_program_that_is_gone_is_read_from_the_log() -> None:
    heard, settled = trio.Event(), trio.Event()

    async def first(turn: Turn) -> str:
        await turn.delegate("expert", turn.text)
        heard.set()
        await trio.sleep_forever()
        raise AssertionError("it woke up")

    async def second(turn: Turn) -> str:
        return await turn.delegate("expert", turn.text)

    async def handle(envelope: Envelope, client: AgentClient, attempt: int) -> None:
        await default_handler(envelope, client, attempt)
        if envelope.text == "42":
            settled.set()

    async with opened() as stage, trio.open_nursery() as nursery:
        expert = ScriptedAgent("expert", ["42"])
        await stage.client.register(expert)
        answers: list[str] = []

        async def consult() -> None:
            answers.append(await stage.alice.consult("bob", "six times seven"))

        async with HubClient(LocalLink(stage.hub)) as gone:
            await gone.register(FunctionAgent("bob", first), handler=handle)
            nursery.start_soon(consult)
            await heard.wait()
            await settled.wait()
        await stage.client.attach(FunctionAgent("bob", second), name="bob")
    assert answers == ["42"]
    assert len(expert.turns) == 1


async def test_what_was_given_up_is_asked_anew(autojump_clock: MockClock) -> None:
    asked: list[str] = []

    async def expert(turn: Turn) -> str:
        asked.append(turn.text)
        if len(asked) == 1:
            await trio.sleep_forever()
        return "42"

    async def ask(turn: Turn) -> str:
        return await turn.delegate("expert", turn.text, timeout=5)

    async with opened() as stage:
        await stage.client.register(FunctionAgent("expert", expert))
        await stage.bob(ask)
        assert await stage.alice.consult("bob", "six times seven") == "42"
        assert asked == ["six times seven"] * 2


async def test_who_declined_is_asked_anew() -> None:
    invites: list[str] = []

    async def decline_once(envelope: Envelope, client: AgentClient, attempt: int) -> None:
        if envelope.event_type == EV_CHANNEL_INVITE:
            invites.append(envelope.channel_id)
            if len(invites) == 1:
                await decline_invite(envelope, client)
                return
        await default_handler(envelope, client, attempt)

    async def ask(turn: Turn) -> str:
        return await turn.delegate("expert", turn.text)

    async with opened() as stage:
        expert = ScriptedAgent("expert", ["42"])
        await stage.client.register(expert, handler=decline_once)
        await stage.bob(ask)
        assert await stage.alice.consult("bob", "six times seven") == "42"
        assert len(invites) == 2


async def test_consult_under_a_key_is_one_question_for_good() -> None:
    async with opened() as stage:
        expert = ScriptedAgent("expert", ["42", "43"])
        await stage.client.register(expert)
        for _ in range(2):
            answer = await stage.alice.consult("expert", "six times seven", idempotency_key="k")
            assert answer == "42"
        assert await stage.alice.consult("expert", "and one?", idempotency_key="l") == "43"


async def test_consult_under_a_key_that_was_given_up_says_so(autojump_clock: MockClock) -> None:
    async def sleep(_turn: Turn) -> str:
        await trio.sleep_forever()
        raise AssertionError("it woke up")

    async with opened() as stage:
        await stage.client.register(FunctionAgent("expert", sleep))
        with pytest.raises(trio.TooSlowError):
            await stage.alice.consult("expert", "still there?", idempotency_key="k", timeout=5)
        with pytest.raises(ProtocolError, match="before there was an answer: the question was"):
            await stage.alice.consult("expert", "still there?", idempotency_key="k")


async def test_channel_is_opened_once_under_a_key() -> None:
    async with opened() as stage:
        await stage.bob(_silence)  # type: ignore[arg-type]
        first, again, other = [
            await stage.alice.open(type="conversation", target="bob", idempotency_key=key)
            for key in ("k", "k", "l")
        ]
        assert first.channel_id == again.channel_id != other.channel_id
