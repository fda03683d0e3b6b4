"""Waiting for something in a channel: nothing is missed, nothing is seen twice, nothing piles up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hub.client import ScriptedAgent
from trio_hub.client.event_memory import EventMemory
from trio_hub.errors import ConnectionLost
from trio_hub.records import EV_TEXT, Envelope
from trio_hub.wire.frames import ReceiptFrame

from .conftest import Connect
from .scripted_hub import text_for


def event(text: str, channel_id: str = "c1") -> Envelope:
    return Envelope(
        channel_id=channel_id, sender_id="a", event_type=EV_TEXT, event_data={"text": text}
    )


def says(*texts: str) -> Callable[[Envelope], bool]:
    return lambda envelope: envelope.text in texts


def anything(_envelope: Envelope) -> bool:
    return True


async def test_what_came_before_the_wait_is_found() -> None:
    memory = EventMemory()
    for text in "abc":
        memory.remember(event(text))
    assert (await memory.wait("c1", says("b"))).text == "b"


async def test_a_wait_begins_behind_what_an_earlier_one_returned() -> None:
    memory = EventMemory()
    for text in "abc":
        memory.remember(event(text))
    assert (await memory.wait("c1", says("b"))).text == "b"
    assert (await memory.wait("c1", anything)).text == "c"


async def test_a_wait_that_found_nothing_has_passed_over_nothing() -> None:
    memory = EventMemory()
    memory.remember(event("a"))
    with trio.move_on_after(0):
        await memory.wait("c1", says("z"))
    assert (await memory.wait("c1", anything)).text == "a"


async def test_waits_at_the_same_time_see_everything_independently() -> None:
    memory = EventMemory()
    found: list[str] = []

    async def wait(*texts: str) -> None:
        found.append((await memory.wait("c1", says(*texts))).text)

    async with trio.open_nursery() as nursery:
        for texts in (("a",), ("b",), ("a", "b"), ("c",)):
            nursery.start_soon(wait, *texts)
        await wait_all_tasks_blocked()
        for text in "abc":
            memory.remember(event(text))
            await wait_all_tasks_blocked()
    assert sorted(found) == ["a", "a", "b", "c"]


async def test_channels_do_not_mix() -> None:
    memory = EventMemory()
    memory.remember(event("a", "c1"))
    memory.remember(event("b", "c2"))
    assert (await memory.wait("c2", anything)).text == "b"
    assert (await memory.wait("c1", anything)).text == "a"


async def test_a_channel_keeps_its_last_events_and_all_together_no_more_than_may_be() -> None:
    memory = EventMemory(per_channel_max=3, events_max=5)
    for number in range(10):
        memory.remember(event(str(number), "c1"))
    assert len(memory) == 3
    for number in range(10):
        memory.remember(event(str(number), f"d{number}"))
        assert len(memory) <= 5
    assert (await memory.wait("d9", anything)).text == "9"
    for number in range(100):
        with trio.move_on_after(0):
            await memory.wait(f"never{number}", anything)
    assert len(memory) <= 5


async def test_what_was_waited_for_is_let_go() -> None:
    memory = EventMemory()
    for number in range(10):
        memory.remember(event(str(number)))
    await memory.wait("c1", says("7"))
    assert len(memory) == 2


async def test_everybody_who_waits_hears_of_the_end() -> None:
    memory = EventMemory()
    memory.remember(event("left over"))

    async def wait() -> None:
        with pytest.raises(ConnectionLost, match="over"):
            await memory.wait("c1", says("never"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        memory.end(ConnectionLost("over"))
    assert (await memory.wait("c1", anything)).text == "left over"
    with pytest.raises(ConnectionLost):
        await memory.wait("c1", anything)


async def test_no_event_is_lost_between_sending_and_waiting(
    connect: Connect, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer):
        alice = await client.register(ScriptedAgent("alice", []))
        reply = text_for(alice.agent_id, "")
        peer.send(reply)
        await peer.next(ReceiptFrame)
        found = await alice.wait_for_channel_event(channel_id="c1", predicate=anything)
        assert found == reply.envelope


async def test_a_redelivery_is_no_second_event(connect: Connect, autojump_clock: MockClock) -> None:
    async with connect() as (client, peer):
        alice = await client.register(ScriptedAgent("alice", []))
        frame = text_for(alice.agent_id, "")
        for _ in range(3):
            peer.send(frame)
            await peer.next(ReceiptFrame)
        await alice.wait_for_channel_event(channel_id="c1", predicate=anything)
        with pytest.raises(trio.TooSlowError, match="c1 within 9 s"):
            await alice.wait_for_channel_event(channel_id="c1", predicate=anything, timeout=9)


async def test_a_slow_handler_does_not_keep_an_event_from_those_who_wait(
    connect: Connect, autojump_clock: MockClock
) -> None:
    async def never_done(*_: object) -> None:
        await trio.sleep_forever()

    async with connect() as (client, peer):
        alice = await client.register(ScriptedAgent("alice", []), handler=never_done)
        peer.send(text_for(alice.agent_id, "first"), text_for(alice.agent_id, "second"))
        found = await alice.wait_for_channel_event(channel_id="c1", predicate=says("second"))
        assert found.text == "second"
