"""Envelopes that are too large to be kept until they are sent: read back, in order, and few at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hub import LinkLimits, MemoryKnowledgeStore
from trio_hub.errors import DamagedRecord, StoreError
from trio_hub.hub.mailbox import PAYLOAD_BYTES_MAX, Mailbox
from trio_hub.testing import FaultyStore

from .peer import Pair, Peer, open_house
from .test_long_answers import counted

# So that little is enough to fill the outbox of one who does not read.
NARROW = LinkLimits(outbox_low_bytes=2_000, outbox_high_bytes=4_000)


def large(word: str) -> str:
    return word.ljust(PAYLOAD_BYTES_MAX, ".")


class Gate(MemoryKnowledgeStore):
    """Reads of large records wait while it is shut, and fail as they are told."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = trio.Event()
        self.opened.set()
        self.damaged = -1
        self.reads = 0

    def shut(self) -> None:
        self.opened = trio.Event()

    async def read_page(self, path: str, start: int, stop: int, bytes_max: int) -> list[bytes]:
        page = await super().read_page(path, start, stop, bytes_max)
        if any(len(it) > PAYLOAD_BYTES_MAX for it in page):
            self.reads += 1
            await self.opened.wait()
            if start <= self.damaged < stop:
                raise DamagedRecord("spoilt", path=path, position=self.damaged)
        return page


@attrs.frozen
class Talk(Pair):
    """Alice talks to Bob."""

    @property
    def mailbox(self) -> Mailbox:
        return self.house.hub._deliveries.mailboxes[self.bob.id]


@asynccontextmanager
async def talking(store: Any = None, **options: Any) -> AsyncIterator[Talk]:
    async with open_house(store, link_limits=NARROW) as house:
        alice, bob = await house.join("alice"), await house.join("bob", **options)
        channel_id = await alice.open("conversation", bob)
        await bob.quiet()
        yield Talk(house, alice, bob, channel_id)


async def heard(peer: Peer, count: int) -> list[str]:
    """The first words of what it hears."""
    return [
        (await peer.hears())["envelope"]["event_data"]["text"].rstrip(".") for _ in range(count)
    ]


@pytest.mark.parametrize("is_back", [False, True])
async def test_one_who_stops_reading_has_none_of_them_in_memory(is_back: bool) -> None:
    async with talking() as talk:
        words = [str(number) for number in range(30)]
        mailbox, bob = talk.mailbox, talk.bob
        if is_back:
            bob.cut()
            await bob.gone()
            await talk.say(*map(large, words))
            bob = await talk.house.peer()
        with bob.stalls():
            if is_back:
                bob.send("hello", name="bob", since_envelope_id="")
            else:
                await talk.say(*map(large, words))
            await wait_all_tasks_blocked()
            in_window = [mailbox.inbox.find(talk.channel_id, it) for it in range(40)]
            assert not any(it.payload for it in in_window if it is not None)
            assert not any(it.payload for it in mailbox.backlog)
            assert mailbox.inbox.owed >= 25
        assert await heard(bob, 30) == words
        await bob.quiet()
        assert mailbox.inbox.owed == 0


async def test_small_ones_wait_behind_a_large_one_that_is_being_read() -> None:
    store = Gate()
    async with talking(store) as talk:
        other_id = await talk.alice.open("conversation", talk.bob)
        await talk.bob.quiet()
        store.shut()
        await talk.say("a", large("b"), "c")
        await talk.alice.say(other_id, "d")
        assert await heard(talk.bob, 1) == ["a"]
        await talk.bob.quiet()
        assert store.reads == 1
        store.opened.set()
        assert await heard(talk.bob, 3) == ["b", "c", "d"]


async def test_one_that_failed_is_read_again() -> None:
    store = Gate()
    async with talking(store, acks=False) as talk:
        owed = talk.mailbox.inbox.owed
        await talk.say(large("a"), "b")
        first = await talk.bob.hears(large("a"))
        talk.bob.ack(await talk.bob.hears("b"))
        talk.bob.nack(first)
        again = await talk.bob.hears(large("a"))
        assert again["attempt"] == 2
        talk.bob.ack(again)
        await talk.bob.quiet()
        assert (store.reads, talk.mailbox.inbox.owed) == (2, owed)


async def test_a_read_that_fails_is_tried_again_after_a_while(autojump_clock: MockClock) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with talking(store) as talk:
        for nth in (1, 2):
            store.fail("read_range", nth=nth)
        before = trio.current_time()
        await talk.say(large("a"), "b")
        assert await heard(talk.bob, 2) == ["a", "b"]
        assert 2.0 <= trio.current_time() - before < 5.0
        assert store.operations["read_range"] == 3


async def test_one_that_is_damaged_meanwhile_is_passed_over() -> None:
    store = Gate()
    async with talking(store) as talk:
        store.damaged = talk.house.hub.channels.get(talk.channel_id).length
        await talk.say(large("a"), large("b"))
        assert await heard(talk.bob, 1) == ["b"]
        await talk.bob.quiet()
        assert talk.mailbox.inbox.owed == 0


async def test_a_connection_that_ends_meanwhile_is_sent_nothing_of_it() -> None:
    store = Gate()
    async with talking(store) as talk:
        store.shut()
        await talk.say(large("a"))
        talk.bob.cut()
        await talk.bob.gone()
        back = await talk.house.back("bob")
        store.opened.set()
        assert await heard(back, 1) == ["a"]
        await back.quiet()
        assert back.heard() == [large("a")]


async def test_what_is_settled_meanwhile_is_not_sent() -> None:
    store = Gate()
    async with talking(store) as talk:
        hub = talk.house.hub
        store.shut()
        await talk.say(large("a"), "b")
        channel = hub.channels.get(talk.channel_id)
        hub._deliveries.resume(talk.bob.id, channel, channel.length - 2)
        store.opened.set()
        assert await heard(talk.bob, 1) == ["b"]


async def test_a_channel_that_is_left_meanwhile_holds_up_no_other() -> None:
    store = Gate()
    async with talking(store) as talk:
        other_id = await talk.alice.open("conversation", talk.bob)
        store.shut()
        await talk.say(large("a"))
        await talk.alice.say(other_id, large("b"))
        talk.house.hub._deliveries.left(talk.house.hub.channels.get(talk.channel_id), [talk.bob.id])
        store.opened.set()
        assert await heard(talk.bob, 1) == ["b"]


async def test_a_store_that_fails_when_the_connection_has_ended_is_asked_no_more(
    autojump_clock: MockClock,
) -> None:
    class Broken(Gate):
        async def read_page(self, path: str, start: int, stop: int, bytes_max: int) -> list[bytes]:
            await super().read_page(path, start, stop, bytes_max)
            raise StoreError("no disk")

    store = Broken()
    async with talking(store) as talk:
        await talk.say(large("a"))
        await talk.bob.quiet()
        talk.bob.cut()
        await talk.bob.gone()
        asked = store.reads
        await trio.sleep(10)
        assert store.reads == asked >= 1


async def test_one_who_comes_back_again_and_again_costs_no_reads_that_nobody_waits_for() -> None:
    store = Gate()
    async with talking(store) as talk:
        talk.bob.cut()
        await talk.bob.gone()
        channels = [talk.channel_id]
        for _ in range(9):
            channels.append(await talk.alice.open("conversation", talk.bob, required_acks=0))
        for channel_id in channels:
            await talk.alice.say(channel_id, large("a"))
        store.shut()
        store.reads = 0
        back = await talk.house.peer()
        for _ in range(50):
            back.send("hello", name="bob", since_envelope_id="")
        await wait_all_tasks_blocked()
        store.opened.set()
        assert await heard(back, len(channels)) == ["a"] * len(channels)
        await back.quiet()
        # Four readers were about it when the first of the others came.
        assert store.reads <= 4 + 3 * len(channels)


async def test_what_has_expired_is_told_of_while_one_is_being_read(
    autojump_clock: MockClock,
) -> None:
    store = Gate()
    async with talking(store, acks=False) as talk:
        await talk.alice.say(talk.channel_id, "a", ttl_seconds=10)
        notify = await talk.bob.hears("a")
        store.shut()
        await talk.say(large("b"))
        await trio.sleep(20)
        talk.bob.receipt(notify, "ack", reason="expired")
        await talk.bob.quiet()
        # Its cursor may be on disk by now, so whoever is to be told of it must have been.
        assert talk.house.hub._deliveries.expired == 1
        store.opened.set()
        await talk.bob.hears(large("b"))


async def test_one_that_no_disk_gives_is_a_dead_letter_and_holds_up_nobody_for_ever(
    autojump_clock: MockClock,
) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with talking(store) as talk:
        for nth in range(1, 11):
            store.fail("read_range", nth=nth)
        before = trio.current_time()
        await talk.say(large("a"), "b")
        assert await heard(talk.bob, 1) == ["b"]
        assert 9.0 <= trio.current_time() - before < 12.0
        (letter,) = talk.house.hub.list_dead_letters().letters
        assert letter.reason == "undeliverable: this operation was made to fail"


async def test_one_for_many_is_read_a_few_times_and_decoded_not_at_all() -> None:
    store = Gate()
    async with open_house(store) as house:
        alice = await house.join("alice")
        others = [await house.join(f"other-{number}") for number in range(20)]
        channel_id = await alice.open("discussion", *others)
        await others[-1].quiet()
        with counted() as steps:
            await alice.say(channel_id, large("a"))
            for other in others:
                await other.hears(large("a"))
        # As many as there are readers.
        assert store.reads <= 4
        assert steps.total["records"] == 0


async def test_nothing_is_read_for_one_who_has_no_room_any_more() -> None:
    store = Gate()
    async with open_house(store, link_limits=NARROW) as house:
        names = [f"part-{number}" for number in range(10)]
        alice, bob = await house.join("alice"), await house.join(*names)
        channel_id = await alice.request(
            "create_channel",
            creator_id=alice.id,
            manifest_type="discussion",
            participants=list(bob.ids.values()),
        )
        await bob.quiet()
        with bob.stalls():
            for word in "abc":
                await alice.say(channel_id["channel_id"], large(word), event_type="app.note")
            await wait_all_tasks_blocked()
            # What the line holds, and what was under way when that was full; not all the thirty.
            assert store.reads < 25
        for _ in range(30):
            await bob.hears(event_type="app.note")
        for name in names:
            mine = [
                it["envelope"]["event_data"]["text"].rstrip(".")
                for it in bob.history
                if it["kind"] == "notify"
                and it["recipient_id"] == bob.ids[name]
                and it["envelope"]["event_type"] == "app.note"
            ]
            assert mine == ["a", "b", "c"]


async def test_an_agent_that_is_no_more_is_sent_nothing() -> None:
    store = Gate()
    async with talking(store) as talk:
        await talk.bob.register("other")
        bob_id = talk.bob.ids["bob"]
        store.shut()
        await talk.alice.say(talk.channel_id, large("a"))
        await wait_all_tasks_blocked()
        await talk.bob.request("unregister", agent_id=bob_id)
        store.opened.set()
        await talk.bob.quiet()
        assert talk.bob.heard() == []
