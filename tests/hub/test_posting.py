"""Posts: durable before the answer, done once under their key, and honest when the disk fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from trio_hub import DiskKnowledgeStore, Envelope, HubLimits, MemoryKnowledgeStore
from trio_hub.errors import (
    AccessDeniedError,
    InboxFull,
    NotFoundError,
    ProtocolError,
    StoreError,
    TooLarge,
)
from trio_hub.records import EV_CHANNEL_CLOSED, EV_TEXT
from trio_hub.testing import FaultyStore

from .peer import House, Peer, open_house


@attrs.frozen
class Talk:
    """Alice and Bob in a conversation over a store that fails when it is told to."""

    house: House
    store: FaultyStore
    alice: Peer
    bob: Peer
    channel_id: str

    async def log(self) -> list[str]:
        """What is in the log, texts only."""
        wal = await self.alice.request("read_wal", channel_id=self.channel_id)
        return [it["event_data"]["text"] for it in wal if it["event_type"] == EV_TEXT]


@asynccontextmanager
async def talking(manifest_type: str = "conversation", **options: Any) -> AsyncIterator[Talk]:
    store = FaultyStore(options.pop("store", None) or MemoryKnowledgeStore())
    async with open_house(store, **options) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open(manifest_type, bob)
        await alice.quiet()
        await bob.quiet()
        yield Talk(house, store, alice, bob, channel_id)


async def test_a_post_is_neither_answered_nor_delivered_before_it_is_durable(
    any_house: Any,
) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with any_house(store) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        with store.hold_commits():
            request_id = alice.ask_to_say(channel_id, "hi")
            await alice.quiet()
            await bob.quiet()
            assert not alice.is_answered(request_id)
            assert bob.heard() == []
            wal = await bob.request("read_wal", channel_id=channel_id)
            assert EV_TEXT not in [it["event_type"] for it in wal]
        envelope_id = await alice.answer(request_id)
        assert (await bob.hears("hi"))["envelope"]["envelope_id"] == envelope_id


async def test_posts_that_wait_together_share_a_commit_and_keep_their_order() -> None:
    async with talking() as talk:
        with talk.store.hold_commits():
            requests = [talk.alice.ask_to_say(talk.channel_id, str(n)) for n in range(50)]
            await talk.alice.quiet()
            before = talk.store.operations["commit"]
        envelope_ids = [await talk.alice.answer(it) for it in requests]
        assert envelope_ids == sorted(envelope_ids)
        assert await talk.log() == [str(n) for n in range(50)]
        assert talk.store.operations["commit"] - before <= 3
        await talk.bob.quiet()
        assert talk.bob.heard() == [str(n) for n in range(50)]


async def test_a_post_that_could_not_be_kept_says_so_and_its_key_finds_nothing() -> None:
    async with talking() as talk:
        talk.store.fail("commit")
        with pytest.raises(StoreError):
            await talk.alice.say(talk.channel_id, "hi", idempotency_key="k")
        assert await talk.log() == []
        envelope_id = await talk.alice.say(talk.channel_id, "hi", idempotency_key="k")
        assert await talk.log() == ["hi"]
        assert (await talk.bob.hears("hi"))["envelope"]["envelope_id"] == envelope_id
        await talk.bob.quiet()
        assert talk.bob.heard() == ["hi"]


async def test_a_failed_commit_is_answered_with_a_code_that_invites_a_retry() -> None:
    async with talking() as talk:
        talk.store.fail("commit", message="the disk is full")
        request_id = talk.alice.ask_to_say(talk.channel_id, "hi")
        with pytest.raises(StoreError, match="the disk is full") as caught:
            await talk.alice.answer(request_id)
        assert caught.value.retryable
        assert talk.house.hub.health().commits_failed == 1


async def test_a_post_that_was_kept_though_its_commit_failed_is_found_by_its_key() -> None:
    async with talking() as talk:
        talk.store.fail("commit", after=True)
        with pytest.raises(StoreError):
            await talk.alice.say(talk.channel_id, "hi", idempotency_key="k")
        envelope_id = await talk.alice.say(talk.channel_id, "hi", idempotency_key="k")
        assert await talk.log() == ["hi"]
        assert (await talk.bob.hears("hi"))["envelope"]["envelope_id"] == envelope_id
        await talk.bob.quiet()
        assert talk.bob.heard() == ["hi"]


async def test_a_post_that_was_kept_though_its_commit_failed_is_delivered_without_a_retry(
    autojump_clock: MockClock,
) -> None:
    async with talking(ttl_sweep_interval=5.0) as talk:
        talk.store.fail("commit", after=True)
        with pytest.raises(StoreError):
            await talk.alice.say(talk.channel_id, "hi")
        await trio.sleep(6)
        await talk.bob.hears("hi")


async def test_all_that_was_planned_upon_a_failed_commit_fails_with_it() -> None:
    async with talking("consulting") as talk:
        with talk.store.hold_commits():
            question = talk.alice.ask_to_say(talk.channel_id, "what?")
            await talk.alice.quiet()
            reply = talk.bob.ask_to_say(talk.channel_id, "that.")
            await talk.bob.quiet()
            talk.store.fail("commit")
        with pytest.raises(StoreError):
            await talk.alice.answer(question)
        with pytest.raises(StoreError):
            await talk.bob.answer(reply)
        # The folded state is that of the log: nothing was asked.
        with pytest.raises(ProtocolError, match="waits for the question"):
            await talk.bob.say(talk.channel_id, "that.")
        await talk.alice.say(talk.channel_id, "what?")
        await talk.bob.say(talk.channel_id, "that.")
        await talk.alice.hears(event_type=EV_CHANNEL_CLOSED)


async def test_a_disk_that_stays_full_refuses_posts_until_it_is_healed() -> None:
    async with talking() as talk:
        talk.store.fail_commits("the disk is full")
        for _ in range(3):
            with pytest.raises(StoreError, match="full"):
                await talk.alice.say(talk.channel_id, "hi", idempotency_key="k")
        assert not talk.house.hub.health().ok
        assert await talk.bob.request("get_channel", channel_id=talk.channel_id)
        talk.store.heal()
        await talk.alice.say(talk.channel_id, "hi", idempotency_key="k")
        assert await talk.log() == ["hi"]
        assert talk.house.hub.health().ok


# Keys


async def test_the_same_key_gives_the_first_id_and_other_content_is_refused() -> None:
    async with talking() as talk:
        first = await talk.alice.say(talk.channel_id, "hi", idempotency_key="k")
        assert await talk.alice.say(talk.channel_id, "hi", idempotency_key="k") == first
        with pytest.raises(ProtocolError, match="other content"):
            await talk.alice.say(talk.channel_id, "ho", idempotency_key="k")
        assert await talk.log() == ["hi"]


async def test_the_same_key_while_the_first_is_under_way_waits_for_it() -> None:
    async with talking() as talk:
        with talk.store.hold_commits():
            first = talk.alice.ask_to_say(talk.channel_id, "hi", idempotency_key="k")
            await talk.alice.quiet()
            second = talk.alice.ask_to_say(talk.channel_id, "hi", idempotency_key="k")
            await talk.alice.quiet()
            assert not talk.alice.is_answered(second)
        assert await talk.alice.answer(first) == await talk.alice.answer(second)
        with talk.store.hold_commits():
            first = talk.alice.ask_to_say(talk.channel_id, "ho", idempotency_key="l")
            await talk.alice.quiet()
            second = talk.alice.ask_to_say(talk.channel_id, "ho", idempotency_key="l")
            await talk.alice.quiet()
            talk.store.fail("commit")
        for request_id in (first, second):
            with pytest.raises(StoreError):
                await talk.alice.answer(request_id)


async def test_a_key_outlives_a_restart(tmp_path: Any) -> None:
    async with talking(store=DiskKnowledgeStore(tmp_path / "data")) as talk:
        first = await talk.alice.say(talk.channel_id, "hi", idempotency_key="k")
        channel_id = talk.channel_id
    async with open_house(DiskKnowledgeStore(tmp_path / "data")) as house:
        alice = await house.back("alice")
        assert await alice.say(channel_id, "hi", idempotency_key="k") == first


async def test_a_retry_is_answered_though_the_recipient_has_no_room_any_more() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.peer(acks=False)
        await bob.register("bob", rule={"limits": {"inbox": {"max_pending": 2}}})
        channel_id = await alice.open("conversation", bob)
        bob.ack(await bob.hears(event_type="ag2.channel.opened"))
        await bob.quiet()
        first = await alice.say(channel_id, "one", idempotency_key="k")
        await alice.say(channel_id, "two")
        with pytest.raises(InboxFull):
            await alice.say(channel_id, "three")
        assert await alice.say(channel_id, "one", idempotency_key="k") == first


async def test_an_invite_answered_twice_is_answered_with_the_first_id() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with open_house(store) as house:
        alice, bob = await house.join("alice"), await house.join("bob", accepts=False)
        opening = alice.ask(
            "create_channel",
            creator_id=alice.id,
            manifest_type="conversation",
            participants=[bob.id],
        )
        invite = await bob.hears(event_type="ag2.channel.invite")
        with store.hold_commits():
            first = bob.answer_invite(invite)
            await bob.quiet()
            second = bob.answer_invite(invite)
            await bob.quiet()
            assert not bob.is_answered(second)
        assert await bob.answer(first) == await bob.answer(second)
        await alice.answer(opening)


async def test_an_answer_that_was_lost_twice_over_is_a_store_error() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with open_house(store) as house:
        alice, bob = await house.join("alice"), await house.join("bob", accepts=False)
        opening = alice.ask(
            "create_channel",
            creator_id=alice.id,
            manifest_type="conversation",
            participants=[bob.id],
        )
        invite = await bob.hears(event_type="ag2.channel.invite")
        with store.hold_commits():
            first = bob.answer_invite(invite)
            await bob.quiet()
            second = bob.answer_invite(invite)
            await bob.quiet()
            store.fail("commit")
        for request_id in (first, second):
            with pytest.raises(StoreError, match="made to fail"):
                await bob.answer(request_id)
        await bob.answer(bob.answer_invite(invite))
        await alice.answer(opening)


# What is refused


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({"event_type": "ag2.channel.opened"}, ProtocolError, "by the hub alone"),
        ({"event_type": "ag2.channel.closed"}, ProtocolError, "by the hub alone"),
        ({"event_type": "ag2.channel.made.up"}, ProtocolError, "by the hub alone"),
        ({"event_type": "ag2.channel.invite.ack"}, ProtocolError, "waits for no answer"),
        ({"audience": ["stranger"]}, ProtocolError, "stranger take no part"),
        ({"channel_id": "nowhere"}, AccessDeniedError, "nowhere"),
        ({"sender_id": "somebody else"}, AccessDeniedError, "somebody else"),
        ({"event_data": {"text": "x" * 2000}}, TooLarge, "1000 are allowed"),
    ],
    ids=lambda it: str(it)[:40],
)
async def test_what_may_not_be_posted_is_refused_and_leaves_nothing(
    fields: dict[str, Any], error: type[Exception], says: str
) -> None:
    async with talking(limits=HubLimits(envelope_bytes_max=1000)) as talk:
        envelope = {**talk.alice.envelope(talk.channel_id, "x"), **fields}
        with pytest.raises(error, match=says):
            await talk.alice.request("post_envelope", envelope=envelope)
        assert await talk.log() == []
        assert await talk.bob.quiet() == [
            frame for frame in talk.bob.frames if frame["envelope"]["event_type"] != EV_TEXT
        ]
        await talk.alice.say(talk.channel_id, "fine")


async def test_one_says_nothing_in_somebody_elses_channel() -> None:
    async with talking() as talk:
        mallory = await talk.house.join("mallory")
        with pytest.raises(AccessDeniedError):
            await mallory.say(talk.channel_id, "psst")


async def test_the_stamp_is_the_hubs_whatever_the_sender_wrote() -> None:
    async with talking(clock=lambda: 1_767_225_600.0) as talk:
        forged = {"envelope_id": "0" * 32, "created_at": "1999-01-01T00:00:00+00:00"}
        envelope_id = await talk.alice.say(talk.channel_id, "hi", **forged)
        notify = await talk.bob.hears("hi")
        assert notify["envelope"]["envelope_id"] == envelope_id != forged["envelope_id"]
        assert notify["envelope"]["created_at"] == "2026-01-01T00:00:00+00:00"


async def test_everything_that_was_said_arrives_as_it_was_said() -> None:
    async with talking() as talk:
        said: dict[str, Any] = {
            "channel_id": talk.channel_id,
            "sender_id": talk.alice.id,
            "audience": [talk.bob.id],
            "event_type": "app.deep",
            "event_data": {"a": [1, 2.5, None, {"é\u2028\n": "\U0001f600"}], "big": 2**60},
            "task_id": "t",
            "causation_id": "c",
            "trace_id": "00-0-0-00",
            "priority": "urgent",
            "depth": 3,
            "idempotency_key": "k",
            "ttl_seconds": 60,
        }
        envelope_id = await talk.alice.request("post_envelope", envelope=said)
        heard = (await talk.bob.hears(event_type="app.deep"))["envelope"]
        assert {**heard, "created_at": ""} == {
            **said,
            "envelope_id": envelope_id,
            "created_at": "",
        }


# Reading


async def test_a_log_is_read_by_position() -> None:
    async with talking() as talk:
        for number in range(5):
            await talk.alice.say(talk.channel_id, str(number))

        async def read(**params: Any) -> list[str]:
            wal = await talk.bob.request("read_wal", channel_id=talk.channel_id, **params)
            return [it["event_data"].get("text", "-") for it in wal]

        # An invite to another, which only its reader sees; an ack; the opening; five texts.
        assert await read() == ["-", "-", "-", "0", "1", "2", "3", "4"]
        assert await read(since=3, until=5) == ["0", "1"]
        assert await read(since=None, until=None) == await read()
        assert await read(since=7, until=100) == ["4"]
        assert await read(since=100) == []
        assert await read(since=5, until=3) == []
        with pytest.raises(ProtocolError, match="since"):
            await read(since=-1)


async def test_a_log_longer_than_a_page_is_read_whole() -> None:
    async with talking(limits=HubLimits(page_records_max=3)) as talk:
        for number in range(10):
            await talk.alice.say(talk.channel_id, str(number))
        assert await talk.log() == [str(number) for number in range(10)]


async def test_one_reads_what_is_for_oneself_or_said_by_oneself() -> None:
    async with open_house() as house:
        alice, bob, carol = [await house.join(it) for it in ("alice", "bob", "carol")]
        channel_id = await alice.open("discussion", bob, carol)
        first = await alice.say(channel_id, "for bob alone", audience=[bob.id])
        await bob.say(channel_id, "for all", causation_id=first)
        seen = {}
        for name, peer in (("alice", alice), ("bob", bob), ("carol", carol)):
            wal = await peer.request("read_wal", channel_id=channel_id)
            seen[name] = [it["event_data"]["text"] for it in wal if it["event_type"] == EV_TEXT]
        assert seen == {
            "alice": ["for bob alone", "for all"],
            "bob": ["for bob alone", "for all"],
            "carol": ["for all"],
        }
        await alice.say(channel_id, "x", event_type="app.x", audience=[bob.id], causation_id="c")
        wanted = {"channel_id": channel_id, "sender_id": alice.id, "causation_id": "c"}
        assert await carol.request("find_envelope_by_causation", **wanted) is None
        assert (await bob.request("find_envelope_by_causation", **wanted))["depth"] == 0


async def test_an_audience_that_names_somebody_twice_is_kept_and_heard_once() -> None:
    async with open_house() as house:
        alice, bob, carol = [await house.join(it) for it in ("alice", "bob", "carol")]
        channel_id = await alice.open("discussion", bob, carol)
        twice = [carol.id, bob.id, carol.id, bob.id]
        first = await alice.say(channel_id, "hi", audience=twice, idempotency_key="k")
        again = await alice.say(channel_id, "hi", audience=twice[:2], idempotency_key="k")
        assert again == first
        for peer in (bob, carol):
            heard = await peer.hears("hi")
            assert heard["envelope"]["audience"] == [carol.id, bob.id]
            await peer.quiet()
            assert peer.heard() == ["hi"]
        assert [it.audience for it in await house.hub.read_wal(channel_id) if it.text] == [
            (carol.id, bob.id)
        ]


async def test_a_log_that_names_somebody_many_times_is_heard_and_read_as_ever() -> None:
    store = MemoryKnowledgeStore()
    async with open_house(store) as house:
        alice, bob, carol = [await house.join(it) for it in ("alice", "bob", "carol")]
        channel_id = await alice.open("discussion", bob, carol)
        channel = house.hub.channels.get(channel_id)
        said = Envelope(
            channel_id=channel_id,
            sender_id=alice.id,
            audience=(bob.id, alice.id) * 5_000,
            event_type=EV_TEXT,
            event_data={"text": "for bob alone"},
        )
        # Past what is seen to today.
        machine = await house.hub.channels.warm(channel)
        posted = house.hub.channels.post_nowait(channel, machine, said)
        assert posted.ticket is not None
        await posted.ticket.wait()
        await bob.hears("for bob alone")
        await bob.quiet()
        await carol.quiet()
        assert (bob.heard(), carol.heard()) == (["for bob alone"], [])
    async with open_house(store) as house:
        alice, bob, carol = [await house.back(it) for it in ("alice", "bob", "carol")]
        seen = {}
        for name, peer in (("alice", alice), ("bob", bob), ("carol", carol)):
            wal = await peer.request("read_wal", channel_id=channel_id)
            seen[name] = [it["event_data"]["text"] for it in wal if it["event_type"] == EV_TEXT]
        assert seen == {"alice": ["for bob alone"], "bob": ["for bob alone"], "carol": []}


async def test_a_cause_is_found_once_its_effect_is_durable() -> None:
    async with talking() as talk:
        wanted = {
            "channel_id": talk.channel_id,
            "sender_id": talk.alice.id,
            "causation_id": "c",
        }
        assert await talk.bob.request("find_envelope_by_causation", **wanted) is None
        with talk.store.hold_commits():
            post = talk.alice.ask_to_say(talk.channel_id, "hi", causation_id="c")
            await talk.alice.quiet()
            question = talk.bob.ask("find_envelope_by_causation", **wanted)
            await talk.bob.quiet()
            assert not talk.bob.is_answered(question)
        found = await talk.bob.answer(question)
        assert found["envelope_id"] == await talk.alice.answer(post)


# In the same process


async def test_the_hub_itself_posts_and_reads_for_its_own_process() -> None:
    async with talking() as talk:
        hub = talk.house.hub
        wanted = Envelope(
            channel_id=talk.channel_id,
            sender_id=talk.alice.id,
            event_type=EV_TEXT,
            event_data={"text": "from inside"},
        )
        envelope_id = await hub.post_envelope(wanted)
        await talk.bob.hears("from inside")
        wal = await hub.read_wal(talk.channel_id, since=3)
        assert [it.envelope_id for it in wal] == [envelope_id]
        for broken in (
            attrs.evolve(wanted, channel_id="nowhere"),
            attrs.evolve(wanted, sender_id="nobody"),
        ):
            with pytest.raises(NotFoundError):
                await hub.post_envelope(broken)
        talk.store.fail("commit")
        with pytest.raises(StoreError):
            await hub.post_envelope(wanted)
