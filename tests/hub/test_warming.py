"""Channels that are read when somebody touches them: after a restart, and after a failed commit."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from trio_hub import MemoryKnowledgeStore
from trio_hub.errors import StoreError
from trio_hub.records import EV_CHANNEL_EXPIRED, EV_CHANNEL_INVITE, EV_CHANNEL_OPENED
from trio_hub.testing import FaultyStore

from ..protocol.channels import ClumsyAdapter
from .peer import open_house

T0 = 1_767_225_600.0


def clock() -> float:
    """A wall clock that goes with Trio's."""
    return T0 + trio.current_time()


@pytest.mark.parametrize("step", ["initial_state", "fold", "expected_next", "validate_create"])
async def test_a_hub_opens_though_an_adapter_has_a_bug_since(
    step: str, autojump_clock: MockClock
) -> None:
    store = MemoryKnowledgeStore()
    async with open_house(store, clock=clock) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob, ttl=100)
        other_id = await alice.open("consulting", bob)
        bob.cut()
        await alice.say(channel_id, "owed")
    async with open_house(store, clock=clock, adapters=[ClumsyAdapter(step)]) as house:
        bob = await house.back("bob")
        await bob.hears("owed")
        assert await bob.request("pending_turns_for", agent_id=bob.id) == []
        alice = await house.back("alice")
        await alice.say(other_id, "goes on")
        await trio.sleep(200)
        await bob.hears(event_type=EV_CHANNEL_EXPIRED)


async def test_a_read_that_fails_while_a_channel_is_warmed_forgets_no_cursor(
    autojump_clock: MockClock,
) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with open_house(store) as house:
        alice, bob = await house.join("alice"), await house.join("bob", acks=False)
        channel_id = await alice.open("conversation", bob, ttl=0)
        bob.ack(await bob.hears(event_type=EV_CHANNEL_OPENED))
        await alice.say(channel_id, "a")
        await alice.say(channel_id, "b")
        bob.ack(await bob.hears("a"))
        await bob.quiet()
    async with open_house(store) as house:
        store.fail("read_range")
        peer = await house.peer()
        peer.send("hello", name="bob", since_envelope_id="")
        assert (await peer.expect("error"))["code"] == "store_error"
        await peer.hello("bob")
        await peer.quiet()
        assert peer.heard() == ["b"]


async def test_channel_that_many_ask_for_again_after_a_failed_commit_is_opened_once(
    autojump_clock: MockClock,
) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with open_house(store) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        opened: list[str] = []

        async def ask() -> None:
            metadata = await house.hub.create_channel(
                creator_id=alice.id,
                manifest_type="conversation",
                participants=[bob.id],
                required_acks=0,
                idempotency_key="the same",
            )
            opened.append(metadata.channel_id)

        store.fail("commit")
        with pytest.raises(StoreError):
            await ask()
        # All of them, and the hub itself, look on the disk for what the first one left there.
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ask)
            nursery.start_soon(house.hub.channels.settle_doubts)
        [channel_id] = set(opened)
        assert len(opened) == 4
        await alice.say(channel_id, "it lives")
        assert await bob.hears("it lives")
        log = await house.hub.read_wal(channel_id)
        assert [one.event_type for one in log].count(EV_CHANNEL_INVITE) == 1
