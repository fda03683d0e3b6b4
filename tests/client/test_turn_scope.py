"""A turn that is cancelled stops, says nothing, and does not come again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hub import (
    EV_CHANNEL_CLOSED,
    EV_TEXT,
    AgentClient,
    Channel,
    Envelope,
    Hub,
    HubClient,
    LocalLink,
    MemoryKnowledgeStore,
    Passport,
    TaskState,
    Turn,
)
from trio_hub.client import ScriptedAgent
from trio_hub.ids import iso_from_seconds
from trio_hub.records import EV_TASK_CANCEL_REQUEST
from trio_hub.wire.frames import NotifyFrame, ReceiptFrame

from .conftest import Connect
from .scripted_hub import ScriptedHub, text_for
from .test_handlers import ChannelOnHub


class Sleeper:
    """Works for ever on what begins with "long", and answers all else."""

    def __init__(self) -> None:
        self.name = "bob"
        self.began: list[Turn] = []
        self.stopped: list[str] = []
        self.changed = trio.Event()

    async def ask(self, turn: Turn) -> str:
        self._tell(self.began, turn)
        if not turn.text.startswith("long"):
            return f"re {turn.text}"
        try:
            await trio.sleep_forever()
        finally:
            self._tell(self.stopped, turn.text)
        raise AssertionError("it woke up")

    def _tell(self, where: list, what: object) -> None:  # type: ignore[type-arg]
        where.append(what)
        self.changed.set()
        self.changed = trio.Event()

    async def until(self, *, began: int = 0, stopped: int = 0) -> None:
        while len(self.began) < began or len(self.stopped) < stopped:
            await self.changed.wait()


@asynccontextmanager
async def talk() -> AsyncIterator[tuple[AgentClient, Sleeper, AgentClient]]:
    agent = Sleeper()
    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        bob = await client.register(agent)

        async def listen(_turn: Turn) -> None:
            return None

        alice = await client.register(listen, Passport(name="alice"))
        with trio.fail_after(30):
            yield alice, agent, bob


async def reply_in(channel: Channel, alice: AgentClient) -> str:
    reply = await alice.wait_for_channel_event(
        channel_id=channel.channel_id,
        predicate=lambda it: it.event_type == EV_TEXT,
        timeout=10,
    )
    return reply.text


async def test_who_asked_cancels_and_the_channel_goes_on() -> None:
    async with talk() as (alice, agent, bob):
        channel = await alice.open(type="conversation", target="bob")
        asked = await channel.send("long")
        await agent.until(began=1)
        await channel.cancel_turn(asked, reason="never mind")
        await agent.until(stopped=1)
        await channel.send("short")
        assert await reply_in(channel, alice) == "re short"
        await wait_all_tasks_blocked()
        # It was settled, not put off: nothing is owed, and nothing was asked twice.
        assert [turn.text for turn in agent.began] == ["long", "short"]
        assert bob.identity.deliveries.in_flight == 0
        assert [it.text for it in await channel.history()] == ["long", "short", "re short"]


async def test_a_request_for_another_turn_does_nothing() -> None:
    async with talk() as (alice, agent, _bob):
        channel = await alice.open(type="conversation", target="bob")
        first = await channel.send("short")
        assert await reply_in(channel, alice) == "re short"
        asked = await channel.send("long")
        await agent.until(began=2)
        await channel.cancel_turn(first)
        await wait_all_tasks_blocked()
        assert agent.stopped == []
        await channel.cancel_turn(asked)
        await agent.until(stopped=1)


async def test_what_was_cancelled_before_its_turn_is_never_begun() -> None:
    async with talk() as (alice, agent, _bob):
        channel = await alice.open(type="conversation", target="bob")
        first = await channel.send("long 1")
        await agent.until(began=1)
        second = await channel.send("long 2")
        await channel.cancel_turn(second)
        await channel.cancel_turn(first)
        await agent.until(stopped=1)
        await channel.send("short")
        assert await reply_in(channel, alice) == "re short"
        assert [turn.text for turn in agent.began] == ["long 1", "short"]


async def test_closing_the_channel_ends_its_turn_and_no_other() -> None:
    async with talk() as (alice, agent, _bob):
        channel = await alice.open(type="consulting", target="bob")
        other = await alice.open(type="consulting", target="bob")
        await channel.send("long")
        await other.send("long, elsewhere")
        await agent.until(began=2)
        await channel.close()
        await agent.until(stopped=1)
        assert agent.stopped == ["long"]


async def test_the_ttl_of_the_envelope_is_the_deadline(autojump_clock: MockClock) -> None:
    async with talk() as (alice, agent, bob):
        channel = await alice.open(type="conversation", target="bob")
        began = trio.current_time()
        await alice.send_envelope(
            Envelope(
                channel_id=channel.channel_id,
                sender_id=alice.agent_id,
                event_type=EV_TEXT,
                event_data={"text": "long"},
                ttl_seconds=20,
            )
        )
        await agent.until(stopped=1)
        assert 0 < agent.began[0].deadline - began <= 20
        assert agent.began[0].cancel_scope.cancel_called
        await wait_all_tasks_blocked()
        assert bob.identity.deliveries.in_flight == 0


async def test_the_task_of_a_turn_is_cancelled_with_its_turn() -> None:
    task_ids: list[str] = []
    begun = trio.Event()

    async def work(turn: Turn) -> str:
        async with turn.agent.task("dig", channel_id=turn.channel.channel_id) as task:
            task_ids.append(task.task_id)
            begun.set()
            await trio.sleep_forever()
        raise AssertionError("it woke up")

    async with talk() as (alice, _agent, bob):
        await bob.hub_client.register(work, Passport(name="digger"))
        channel = await alice.open(type="conversation", target="digger")
        await channel.send("dig")
        await begun.wait()
        # As AG2's `tasks` tool asks.
        await alice.send_envelope(
            Envelope(
                channel_id=channel.channel_id,
                sender_id=alice.agent_id,
                event_type=EV_TASK_CANCEL_REQUEST,
                event_data={"task_id": task_ids[0], "reason": ""},
                task_id=task_ids[0],
            )
        )
        ended = await alice.hub_client.wait_task(task_ids[0], timeout=10)
        assert ended.state is TaskState.CANCELLED


async def test_a_cancelled_turn_is_not_taken_up_again() -> None:
    async with talk() as (alice, agent, bob):
        channel = await alice.open(type="consulting", target="bob")
        asked = await channel.send("long")
        await agent.until(began=1)
        await channel.cancel_turn(asked)
        await agent.until(stopped=1)
        assert len(await bob.hub_client.pending_turns_for(bob.agent_id)) == 1
        assert await bob.resume_pending_turns() == 0
        assert len(agent.began) == 1


def deliver(agent_id: str, created_at: str) -> NotifyFrame:
    envelope = Envelope(
        channel_id="c1",
        sender_id="somebody",
        event_type=EV_TEXT,
        event_data={"text": "hello"},
        envelope_id="00",
        ttl_seconds=60,
        created_at=created_at,
    )
    return NotifyFrame(envelope=envelope, recipient_id=agent_id, attempt=1)


@pytest.fixture
def channel(hub: ScriptedHub) -> ChannelOnHub:
    return ChannelOnHub(hub)


async def test_what_has_expired_on_its_way_is_settled_unasked(
    connect: Connect, channel: ChannelOnHub, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []))
        peer.send(deliver(bob.agent_id, iso_from_seconds(time.time() - 3600)))
        assert (await peer.next(ReceiptFrame)).status == "ack"
    assert channel.posted == []


@pytest.mark.parametrize("how", ["returns", "raises"])
async def test_what_an_agent_says_after_it_was_cancelled_counts_for_nothing(
    connect: Connect, channel: ChannelOnHub, autojump_clock: MockClock, how: str
) -> None:
    async def give_up(turn: Turn) -> str:
        turn.cancel_scope.cancel()
        if how == "raises":
            raise RuntimeError("I was told to stop")
        return "and yet"

    async with connect() as (client, peer):
        bob = await client.register(give_up, Passport(name="bob"))
        peer.send(text_for(bob.agent_id))
        assert (await peer.next(ReceiptFrame)).status == "ack"
    assert channel.posted == []


async def test_a_request_that_came_while_it_was_being_put_off_is_found_in_the_log(
    connect: Connect, channel: ChannelOnHub, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []))
        asked = text_for(bob.agent_id, attempt=2)
        ended = text_for(bob.agent_id, event_type=EV_CHANNEL_CLOSED)
        channel.log = [
            {
                "channel_id": "c1",
                "sender_id": "somebody",
                "event_type": it.envelope.event_type,
                "event_data": {},
                "envelope_id": it.envelope.envelope_id,
            }
            for it in (asked, ended)
        ]
        peer.send(asked)
        assert (await peer.next(ReceiptFrame)).status == "ack"
    assert channel.posted == []
