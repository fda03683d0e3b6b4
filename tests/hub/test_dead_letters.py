"""Dead letters: what cannot be delivered is kept, told of, and delivered once more when asked."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from trio_hub import DeliveryPolicy, DiskKnowledgeStore, HubLimits, LinkLimits, MemoryKnowledgeStore
from trio_hub.errors import NotFoundError, StoreError
from trio_hub.records import KeptLetter
from trio_hub.testing import FaultyStore
from trio_hub.wire.frames import Dialect

from .peer import Pair, open_house

ONCE = DeliveryPolicy(max_attempts=1, ack_wait_seconds=600)

# A connection that is full after some twenty short messages.
NARROW = LinkLimits(
    message_bytes_max=20_000,
    overhead_bytes_max=1_000,
    plain_message_bytes_max=20_000,
    outbox_low_bytes=5_000,
    outbox_high_bytes=10_000,
    outbox_hard_bytes=50_000,
)


@attrs.frozen
class Talk(Pair):
    """Alice talks to Bob, who acks only what a test tells him to."""

    @property
    def letters(self) -> tuple[KeptLetter, ...]:
        return self.house.hub.list_dead_letters(limit=1000).letters

    async def dies(self, words: str, reason: str = "cannot") -> KeptLetter:
        """Let Alice say something that Bob refuses; return the letter."""
        envelope_id = await self.alice.say(self.channel_id, words)
        self.bob.nack(await self.bob.hears(words), reason)
        await self.bob.quiet()
        [letter] = [it for it in self.letters if it.envelope_id == envelope_id]
        return letter

    async def replay(self, letter: KeptLetter) -> None:
        await self.house.hub.replay_dead_letter(letter.agent_id, letter.envelope_id)

    async def bob_is_cut(self) -> None:
        self.bob.cut()
        await self.bob.gone()


@asynccontextmanager
async def talking(
    store: Any = None, *, rule: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[Talk]:
    options = {"delivery": ONCE, **options}
    async with open_house(store, **options) as house:
        alice, bob = await house.join("alice"), await house.peer(acks=False)
        await bob.register("bob", **({} if rule is None else {"rule": rule}))
        channel_id = await alice.open("conversation", bob)
        bob.ack(await bob.hears(event_type="ag2.channel.opened"))
        await bob.quiet()
        yield Talk(house, alice, bob, channel_id)


def inbox(**limits: Any) -> dict[str, Any]:
    return {"limits": {"inbox": limits}}


async def kept(store: Any) -> list[str]:
    """The ids of the letters that a store holds."""
    async with store:
        return [path.rpartition("/")[2] for path in await store.read_under("/dead_letters")]


# Dying


async def test_what_is_nacked_to_death_is_kept_with_reason_and_attempts(
    autojump_clock: MockClock,
) -> None:
    async with talking(delivery=DeliveryPolicy(max_attempts=3)) as talk:
        envelope_id = await talk.alice.say(talk.channel_id, "poison")
        for attempt in range(1, 4):
            talk.bob.nack(await talk.bob.expect("notify", attempt=attempt), f"no {attempt}")
        await talk.bob.quiet()
        [letter] = talk.letters
        assert (letter.envelope_id, letter.agent_id) == (envelope_id, talk.bob.id)
        assert (letter.attempts, letter.reason, letter.replaying) == (3, "no 3", False)
        assert letter.died_at
        envelope = await talk.house.hub.read_dead_letter(talk.bob.id, envelope_id)
        assert envelope.event_data == {"text": "poison"}
        assert talk.house.hub.health().dead_letters == 1


async def test_letters_are_listed_after_a_restart_and_are_not_delivered_by_themselves(
    tmp_path: Path,
) -> None:
    store = DiskKnowledgeStore(tmp_path / "data")
    async with talking(store) as talk:
        letter = await talk.dies("poison")
    async with open_house(DiskKnowledgeStore(tmp_path / "data"), delivery=ONCE) as house:
        assert house.hub.list_dead_letters().letters == (letter,)
        assert house.hub.list_dead_letters(letter.agent_id).letters == (letter,)
        back = await house.back("bob")
        await back.quiet()
        assert back.heard() == []


async def test_a_letter_whose_cursor_was_lost_in_a_crash_does_not_come_again() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with store:
        async with talking(store) as talk:
            letter = await talk.dies("poison")
            assert await kept(store) == [letter.envelope_id]
            # As a crash would: the cursors that were to be written behind are lost.
            store.fail_commits()
        store.heal()
        async with open_house(store, delivery=ONCE) as house:
            back = await house.back("bob")
            await back.quiet()
            assert back.heard() == []
            assert house.hub.list_dead_letters().letters == (letter,)


async def test_letters_come_in_bounded_pages() -> None:
    async with talking() as talk:
        died = [await talk.dies(word) for word in "abcde"]
        hub = talk.house.hub
        first = hub.list_dead_letters(limit=2)
        assert first.letters == tuple(died[:2])
        second = hub.list_dead_letters(limit=2, after=first.after)
        assert second.letters == tuple(died[2:4])
        last = hub.list_dead_letters(limit=2, after=second.after)
        assert (last.letters, last.after) == ((died[4],), None)
        assert hub.list_dead_letters(talk.alice.id).letters == ()
        exact = hub.list_dead_letters(limit=5)
        assert (len(exact.letters), exact.after) == (5, None)


async def test_the_oldest_letter_makes_room_for_a_new_one_and_that_is_audited() -> None:
    store = MemoryKnowledgeStore()
    limits = HubLimits(dead_letters_per_agent_max=2)
    async with store, talking(store, limits=limits) as talk:
        first, second = await talk.dies("a"), await talk.dies("b")
        assert talk.letters == (first, second)
        third = await talk.dies("c")
        assert talk.letters == (second, third)
        await talk.bob_is_cut()
        await talk.replay(second)
        # What somebody wants delivered stays.
        back = await talk.house.back("bob", acks=False)
        assert await back.hears("b")
        await talk.alice.say(talk.channel_id, "d")
        back.nack(await back.hears("d"), "cannot")
        await back.quiet()
        fourth = talk.letters[-1]
        assert talk.letters == (attrs.evolve(second, replaying=True), fourth)
        audited = (await talk.house.hub.audit.query(kind="dead_letter_displaced")).records
        assert [it.details["envelope_id"] for it in audited] == [
            first.envelope_id,
            third.envelope_id,
        ]
        assert sorted(await kept(store)) == sorted([second.envelope_id, fourth.envelope_id])


async def test_one_envelope_may_be_a_letter_of_several(autojump_clock: MockClock) -> None:
    async with open_house(delivery=ONCE) as house:
        alice = await house.join("alice")
        others = [await house.join(name, acks=False) for name in ("bob", "carol", "dave")]
        channel_id = await alice.open("discussion", *others)
        for one in others:
            one.ack(await one.hears(event_type="ag2.channel.opened"))
        envelope_id = await alice.say(channel_id, "poison")
        for one in others:
            one.nack(await one.hears("poison"))
            await one.quiet()
        pages, after = [], None
        while True:
            page = house.hub.list_dead_letters(limit=1, after=after)
            pages += page.letters
            after = page.after
            if after is None:
                break
        assert {it.envelope_id for it in pages} == {envelope_id}
        assert {it.agent_id for it in pages} == {one.id for one in others}
        assert len(pages) == 3


async def test_a_late_ack_of_a_dead_envelope_ends_its_letter() -> None:
    store = MemoryKnowledgeStore()
    async with store, talking(store) as talk:
        letter = await talk.dies("slow")
        [notify] = [it for it in talk.bob.history if _is(it, "slow")]
        talk.bob.ack(notify)
        await talk.bob.quiet()
        assert talk.letters == ()
        assert letter.envelope_id not in await kept(store)


def _is(frame: dict[str, Any], words: str) -> bool:
    return frame["kind"] == "notify" and frame["envelope"]["event_data"].get("text") == words


# Replaying


async def test_a_replayed_letter_comes_once_more_beside_the_order_and_an_ack_ends_it() -> None:
    store = MemoryKnowledgeStore()
    async with store, talking(store) as talk:
        letter = await talk.dies("poison")
        await talk.alice.say(talk.channel_id, "later")
        talk.bob.ack(await talk.bob.hears("later"))
        await talk.replay(letter)
        again = await talk.bob.hears("poison")
        assert again["attempt"] == letter.attempts + 1
        await talk.bob.quiet()
        assert talk.letters == (attrs.evolve(letter, replaying=True),)
        talk.bob.ack(again)
        await talk.bob.quiet()
        assert talk.letters == ()
        assert await kept(store) == []
        assert talk.bob.heard() == ["poison", "later", "poison"]
        await talk.bob_is_cut()
        back = await talk.house.back("bob")
        await back.quiet()
        assert back.heard() == []


async def test_a_nack_of_a_replayed_letter_brings_it_back_with_one_more_attempt() -> None:
    async with talking() as talk:
        letter = await talk.dies("poison", "cannot")
        await talk.replay(letter)
        talk.bob.nack(await talk.bob.hears("poison"), "still cannot")
        await talk.bob.quiet()
        assert talk.letters == (attrs.evolve(letter, attempts=2, reason="still cannot"),)
        assert talk.bob.heard() == ["poison", "poison"]
        await talk.replay(talk.letters[0])
        assert (await talk.bob.hears("poison"))["attempt"] == 3


async def test_a_cut_leaves_it_replaying_and_it_comes_again_with_the_next_connection(
    any_house: Any,
) -> None:
    async with any_house(delivery=ONCE) as house:
        alice, bob = await house.join("alice"), await house.join("bob", acks=False)
        channel_id = await alice.open("conversation", bob)
        envelope_id = await alice.say(channel_id, "poison")
        bob.nack(await bob.hears("poison"))
        await bob.quiet()
        await house.hub.replay_dead_letter(bob.id, envelope_id)
        await bob.hears("poison")
        bob.cut()
        await bob.gone()
        await alice.quiet()
        [letter] = house.hub.list_dead_letters().letters
        assert (letter.replaying, letter.attempts) == (True, 1)
        back = await house.back("bob", acks=False)
        again = await back.hears("poison")
        # The plain dialect has no word for it.
        assert again.get("attempt", 2) == 2
        back.ack(again)
        await back.quiet()
        assert house.hub.list_dead_letters().letters == ()


async def test_a_letter_replayed_while_its_recipient_is_away_waits_even_across_a_restart(
    tmp_path: Path,
) -> None:
    async with talking(DiskKnowledgeStore(tmp_path / "data")) as talk:
        letter = await talk.dies("poison")
        await talk.bob_is_cut()
        await talk.replay(letter)
        await talk.replay(letter)
    async with open_house(DiskKnowledgeStore(tmp_path / "data"), delivery=ONCE) as house:
        # Who wants nothing old gets no letters either.
        aside = await house.back("bob", since=None)
        await aside.quiet()
        assert aside.heard() == []
        back = await house.back("bob")
        await back.quiet()
        assert back.heard() == ["poison"]
        assert house.hub.list_dead_letters().letters == ()


async def test_a_replayed_letter_may_be_silent_no_longer_than_any_other(
    autojump_clock: MockClock,
) -> None:
    async with talking() as talk:
        letter = await talk.dies("poison")
        await talk.replay(letter)
        notify = await talk.bob.hears("poison")
        await trio.sleep(500)
        talk.bob.receipt(notify, "progress")
        await trio.sleep(500)
        assert talk.letters[0].replaying
        await trio.sleep(200)
        assert talk.letters == (attrs.evolve(letter, attempts=2, reason="silent for 600 s"),)


async def test_many_replayed_letters_do_not_drown_the_connection() -> None:
    count = 300
    async with talking(link_limits=NARROW) as talk:
        died = [await talk.dies(f"{number:03}" + "." * 500) for number in range(count)]
        await talk.bob_is_cut()
        for letter in died:
            await talk.replay(letter)
        back = await talk.house.peer()
        with back.stalls():
            back.send("hello", name="bob", since_envelope_id="")
            await talk.alice.quiet()
        for number in range(count):
            await back.hears(f"{number:03}" + "." * 500)
        await back.quiet()
        assert talk.letters == ()


async def test_a_read_that_fails_is_tried_again(autojump_clock: MockClock) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with talking(store) as talk:
        letter = await talk.dies("poison")
        store.fail("read_range")
        await talk.replay(letter)
        await trio.sleep(5)
        await talk.bob.hears("poison")


async def test_a_replay_that_could_not_be_kept_is_an_error_and_changes_nothing() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with talking(store) as talk:
        letter = await talk.dies("poison")
        store.fail_commits()
        with pytest.raises(StoreError):
            await talk.replay(letter)
        with pytest.raises(StoreError):
            await talk.house.hub.discard_dead_letter(letter.agent_id, letter.envelope_id)
        assert talk.letters == (letter,)
        assert talk.bob.heard() == ["poison"]
        store.heal()
        await talk.replay(letter)
        await talk.bob.hears("poison")


async def test_an_ack_is_written_until_it_is_kept(autojump_clock: MockClock) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with store, talking(store) as talk:
        letter = await talk.dies("poison")
        await talk.replay(letter)
        store.fail("commit")
        talk.bob.ack(await talk.bob.hears("poison"))
        await trio.sleep(10)
        assert talk.letters == ()
        assert await kept(store) == []


async def test_a_discarded_letter_is_gone_and_its_envelope_stays_in_the_log() -> None:
    store = MemoryKnowledgeStore()
    async with store, talking(store) as talk:
        letter = await talk.dies("poison")
        hub = talk.house.hub
        await hub.discard_dead_letter(letter.agent_id, letter.envelope_id)
        assert talk.letters == ()
        assert await kept(store) == []
        for ask in (hub.discard_dead_letter, hub.replay_dead_letter, hub.read_dead_letter):
            with pytest.raises(NotFoundError, match="no dead letter"):
                await ask(letter.agent_id, letter.envelope_id)
        log = await hub.read_wal(talk.channel_id)
        assert letter.envelope_id in [it.envelope_id for it in log]


async def test_a_letter_that_is_discarded_while_it_is_out_stays_gone() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with store, talking(store) as talk:
        letter = await talk.dies("poison")
        await talk.replay(letter)
        notify = await talk.bob.hears("poison")
        async with trio.open_nursery() as nursery:
            with store.hold_commits():
                nursery.start_soon(
                    talk.house.hub.discard_dead_letter, letter.agent_id, letter.envelope_id
                )
                await trio.testing.wait_all_tasks_blocked()
                talk.bob.nack(notify, "no")
                await talk.bob.quiet()
        await talk.house.hub.drain()
        assert talk.letters == ()
        assert await kept(store) == []


async def test_an_agent_that_leaves_takes_its_letters_along() -> None:
    store = MemoryKnowledgeStore()
    async with store, talking(store) as talk:
        await talk.dies("poison")
        await talk.bob.request("unregister", agent_id=talk.bob.id)
        await talk.alice.quiet()
        assert talk.letters == ()
        await talk.house.hub.drain()
        assert await kept(store) == []


async def test_a_letter_of_an_agent_that_is_no_more_can_only_be_discarded() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with store:
        async with talking(store) as talk:
            letter = await talk.dies("poison")
        for path in await store.list(f"/agents/{letter.agent_id}"):
            await store.delete(f"/agents/{letter.agent_id}/{path}")
        async with open_house(store) as house:
            with pytest.raises(NotFoundError, match="not registered"):
                await house.hub.replay_dead_letter(letter.agent_id, letter.envelope_id)
            await house.hub.discard_dead_letter(letter.agent_id, letter.envelope_id)
            assert house.hub.list_dead_letters().letters == ()


async def test_a_letter_whose_log_is_shorter_than_it_was_harms_nobody() -> None:
    store = MemoryKnowledgeStore()
    async with store:
        async with talking(store) as talk:
            letter = await talk.dies("poison")
        lost = attrs.evolve(letter, position=1000, envelope_id="f" * 32)
        await store.write(
            f"/dead_letters/{lost.agent_id}/{lost.envelope_id}",
            (await store.read(f"/dead_letters/{letter.agent_id}/{letter.envelope_id}") or b"")
            .replace(letter.envelope_id.encode(), lost.envelope_id.encode())
            .replace(b'"position":%d' % letter.position, b'"position":1000'),
        )
        async with open_house(store, delivery=ONCE) as house:
            assert lost in house.hub.list_dead_letters().letters
            with pytest.raises(StoreError, match="damaged or gone"):
                await house.hub.read_dead_letter(lost.agent_id, lost.envelope_id)
            bob = await house.back("bob")
            await house.hub.replay_dead_letter(lost.agent_id, lost.envelope_id)
            await bob.quiet()
            after = {it.envelope_id: it for it in house.hub.list_dead_letters().letters}
            assert "cannot be read" in after[lost.envelope_id].reason
            # The hub lives.
            await bob.register("robert")


async def test_a_document_that_is_no_letter_is_set_aside_and_named() -> None:
    store = MemoryKnowledgeStore()
    async with store:
        await store.write("/dead_letters/a/b", b"{}")
        async with open_house(store) as house:
            assert house.hub.list_dead_letters().letters == ()
            [problem] = house.hub.health().problems
            assert "/dead_letters/a/b" in problem


# What else becomes a letter


async def test_a_notification_that_is_too_large_for_its_peer_is_a_letter() -> None:
    limits = LinkLimits(plain_message_bytes_max=4000)
    async with talking(link_limits=limits, dialect=Dialect.PLAIN) as talk:
        # The hub takes more from a plain peer than it may send to one.
        words = "x" * 3900
        large = await talk.alice.say(talk.channel_id, words)
        await talk.bob.quiet()
        [letter] = talk.letters
        assert (letter.envelope_id, "undeliverable" in letter.reason) == (large, True)
        # And again, when nothing has changed.
        await talk.replay(letter)
        await talk.bob.quiet()
        [again] = talk.letters
        assert (again.attempts, again.replaying) == (letter.attempts + 1, False)


async def test_the_newest_is_dropped_into_a_letter_where_that_is_the_rule() -> None:
    async with talking(rule=inbox(max_pending=2, overflow="drop_newest")) as talk:
        a, b, c = [await talk.alice.say(talk.channel_id, word) for word in "abc"]
        await talk.bob.quiet()
        assert talk.bob.heard() == ["a", "b"]
        [letter] = talk.letters
        assert (letter.envelope_id, letter.attempts, letter.reason) == (
            c,
            0,
            "dropped: the inbox was full",
        )
        for _ in "ab":
            talk.bob.ack(await talk.bob.hears())
        await talk.bob.quiet()
        await talk.replay(letter)
        assert (await talk.bob.hears("c"))["attempt"] == 1
        # Everybody else still reads it in the log.
        log = await talk.house.hub.read_wal(talk.channel_id)
        assert [it.envelope_id for it in log][-3:] == [a, b, c]


async def test_the_oldest_is_dropped_into_a_letter_where_that_is_the_rule() -> None:
    async with talking(rule=inbox(max_pending=2, overflow="drop_oldest")) as talk:
        await talk.bob_is_cut()
        ids = [await talk.alice.say(talk.channel_id, word) for word in "abcd"]
        await talk.alice.quiet()
        assert [it.envelope_id for it in talk.letters] == ids[:2]
        assert {it.reason for it in talk.letters} == {"dropped: the inbox was full of newer ones"}
        back = await talk.house.back("bob")
        await back.quiet()
        assert back.heard() == ["c", "d"]


async def test_no_limit_drops_nothing_even_if_it_is_lifted_while_dropping() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with talking(store, rule=inbox(max_pending=2, overflow="drop_oldest")) as talk:
        await talk.bob_is_cut()
        for word in "ab":
            await talk.alice.say(talk.channel_id, word)
        bob = await talk.house.back("bob", since=None, acks=False)
        with store.hold_commits():
            asking = talk.alice.ask_to_say(talk.channel_id, "c")
            setting = bob.ask("set_rule", agent_id=bob.id, rule=inbox(max_pending=0))
            await trio.testing.wait_all_tasks_blocked()
        await talk.alice.answer(asking)
        await bob.answer(setting)
        await talk.alice.quiet()
        assert len(talk.letters) <= 1


# Nothing passes what is not kept


async def test_no_delivery_passes_a_letter_that_the_store_does_not_hold(
    autojump_clock: MockClock,
) -> None:
    """Whoever sees a later one says with its position that all before it is settled."""
    store = FaultyStore(MemoryKnowledgeStore())
    async with store:
        async with talking(store) as talk:
            await talk.alice.say(talk.channel_id, "a")
            await talk.alice.say(talk.channel_id, "b")
            store.fail_commits()
            talk.bob.nack(await talk.bob.hears("a"))
            await talk.bob.quiet()
            await talk.bob_is_cut()
            # It is somebody else, who knows nothing of a: nor is it told of b.
            back = await talk.house.back("bob", acks=False)
            await trio.sleep(30)
            await back.quiet()
            assert back.heard() == []
        store.heal()
        assert await kept(store) == []
        async with open_house(store) as house:
            back = await house.back("bob", acks=False)
            await back.quiet()
            assert back.heard() == ["a", "b"]


async def test_deliveries_go_on_once_the_letter_is_kept(autojump_clock: MockClock) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with store, talking(store) as talk:
        await talk.alice.say(talk.channel_id, "a")
        await talk.alice.say(talk.channel_id, "b")
        store.fail_commits()
        talk.bob.nack(await talk.bob.hears("a"))
        await trio.sleep(30)
        assert talk.bob.heard().count("b") == 1
        store.heal()
        await talk.bob.expect("notify", attempt=2)
        assert talk.bob.heard().count("b") == 2
        assert len(await kept(store)) == 1


async def test_a_backlog_waits_for_a_letter_that_came_of_it(autojump_clock: MockClock) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    limits = LinkLimits(plain_message_bytes_max=4000)
    async with store, talking(store, link_limits=limits, dialect=Dialect.PLAIN) as talk:
        await talk.bob_is_cut()
        await talk.alice.say(talk.channel_id, "x" * 3900)
        await talk.alice.say(talk.channel_id, "small")
        store.fail_commits()
        back = await talk.house.back("bob", acks=False)
        await trio.sleep(30)
        await back.quiet()
        assert back.heard() == []
        store.heal()
        await back.hears("small")
        assert len(talk.letters) == 1


@pytest.mark.parametrize("how", ["nack", "drop_newest", "drop_oldest"])
async def test_no_cursor_passes_a_letter_that_the_store_does_not_hold(
    how: str, autojump_clock: MockClock
) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    rule = None if how == "nack" else inbox(max_pending=1, overflow=how)
    # Cursors are written sooner than a letter is tried again.
    limits = HubLimits(cursor_flush_seconds=0.2)
    async with store, talking(store, rule=rule, limits=limits) as talk:
        await trio.sleep(10)
        before = await _cursor(store, talk.bob.id)
        if how == "nack":
            await talk.alice.say(talk.channel_id, "a")
            store.fail("commit")
            talk.bob.nack(await talk.bob.hears("a"))
        else:
            await talk.alice.say(talk.channel_id, "a")
            # The post of b succeeds, the letter that comes of it fails.
            store.fail("commit", nth=2)
            await talk.alice.say(talk.channel_id, "b")
            if how == "drop_newest":
                talk.bob.ack(await talk.bob.hears("a"))
        # Later writes go well; the cursor must wait for the letter among them.
        while not await kept(store):
            assert await _cursor(store, talk.bob.id) == before
            await trio.sleep(0.1)
        await trio.sleep(10)
        assert await _cursor(store, talk.bob.id) != before


async def test_a_letter_is_kept_though_what_comes_behind_it_waits_for_room() -> None:
    async with talking(link_limits=NARROW) as talk:
        await talk.alice.say(talk.channel_id, "poison")
        poison = await talk.bob.hears("poison")
        words = [f"{number:03}" + "." * 500 for number in range(60)]
        with talk.bob.stalls():
            for word in words:
                await talk.alice.say(talk.channel_id, word)
            talk.bob.nack(poison)
            await talk.alice.quiet()
        await talk.bob.quiet()
        assert set(words) <= set(talk.bob.heard())
        assert [letter.attempts for letter in talk.letters] == [1]


async def test_a_letter_that_was_never_kept_is_delivered_again_after_a_restart() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with store:
        async with talking(store) as talk:
            await talk.alice.say(talk.channel_id, "a")
            store.fail_commits()
            talk.bob.nack(await talk.bob.hears("a"))
            await talk.bob.quiet()
        store.heal()
        assert await kept(store) == []
        async with open_house(store) as house:
            back = await house.back("bob")
            await back.hears("a")


async def _cursor(store: FaultyStore, agent_id: str) -> dict[str, bytes]:
    return dict(await store.read_under(f"/cursors/{agent_id}"))


# Pressure


async def test_high_water_is_told_once_for_each_crossing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="trio_hub")

    def told() -> int:
        return sum("inbox pressure" in str(vars(it)) for it in caplog.records)

    async with talking(rule=inbox(max_pending=100, high_water=3)) as talk:
        for word in "abcde":
            await talk.alice.say(talk.channel_id, word)
            await talk.bob.quiet()
            assert told() == int(word >= "c")
        notifies = [await talk.bob.hears(word) for word in "abcde"]
        for notify in notifies[:3]:
            talk.bob.ack(notify)
        await talk.bob.quiet()
        await talk.alice.say(talk.channel_id, "f")
        await talk.bob.quiet()
        assert told() == 2


async def test_what_a_hello_settles_lowers_the_pressure(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="trio_hub")
    async with talking(rule=inbox(max_pending=100, high_water=2)) as talk:
        _, b = [await talk.alice.say(talk.channel_id, word) for word in "ab"]
        await talk.bob_is_cut()
        await talk.house.back("bob", since=b, acks=False)
        for word in "cd":
            await talk.alice.say(talk.channel_id, word)
        assert sum("inbox pressure" in str(vars(it)) for it in caplog.records) == 2
