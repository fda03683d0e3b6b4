"""Deliveries over real connections: in order, until the receipt, to whoever bears the name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from trio_hub import DeliveryPolicy, LinkLimits, MemoryKnowledgeStore
from trio_hub.errors import AccessDeniedError, InboxFull, TooLarge
from trio_hub.hub import paths
from trio_hub.records import EV_CHANNEL_CLOSED, EV_TEXT
from trio_hub.testing import FaultyStore
from trio_hub.wire.frames import Dialect

from .peer import Pair, Peer, open_house


@attrs.frozen
class Talk(Pair):
    """Alice talks to Bob, who acks only what a test tells him to."""

    async def bob_is_cut(self) -> None:
        self.bob.cut()
        await self.bob.gone()


@asynccontextmanager
async def talking(manifest_type: str = "conversation", **options: Any) -> AsyncIterator[Talk]:
    async with open_house(**options) as house:
        alice, bob = await house.join("alice"), await house.join("bob", acks=False)
        channel_id = await alice.open(manifest_type, bob)
        bob.ack(await bob.hears(event_type="ag2.channel.opened"))
        await bob.quiet()
        yield Talk(house, alice, bob, channel_id)


async def _texts(peer: Peer) -> list[str]:
    await peer.quiet()
    return peer.heard()


async def test_what_was_not_acked_comes_again_after_a_cut_and_nothing_else(any_house: Any) -> None:
    async with any_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob", acks=False)
        channel_id = await alice.open("conversation", bob)
        await bob.hears(event_type="ag2.channel.opened")
        for number in range(4):
            await alice.say(channel_id, str(number))
        notifies = [await bob.hears(str(number)) for number in range(4)]
        # Early acks of later envelopes hide no earlier one.
        bob.ack(notifies[3])
        bob.ack(notifies[1])
        await bob.quiet()
        bob.cut()
        await bob.gone()
        back = await house.back("bob", acks=False)
        assert await _texts(back) == ["0", "2"]


async def test_receipts_in_any_order_settle_everything() -> None:
    async with talking() as talk:
        await talk.say(*"abcdef")
        notifies = [await talk.bob.hears(it) for it in "abcdef"]
        for index in (5, 0, 3, 1, 4, 2):
            talk.bob.ack(notifies[index])
        await talk.bob.quiet()
        await talk.bob_is_cut()
        assert await _texts(await talk.house.back("bob")) == []


async def test_what_was_posted_while_one_was_away_comes_in_order_before_what_is_new() -> None:
    async with talking() as talk:
        await talk.bob_is_cut()
        await talk.say(*(str(number) for number in range(100)))
        back = await talk.house.back("bob")
        await talk.say(*(str(number) for number in range(100, 120)))
        assert await _texts(back) == [str(number) for number in range(120)]


async def test_a_replay_longer_than_the_window_has_no_gap_and_no_overlap() -> None:
    policy = DeliveryPolicy(max_in_flight=8)
    async with talking(delivery=policy) as talk:
        await talk.bob_is_cut()
        await talk.say(*(str(number) for number in range(60)))
        back = await talk.house.back("bob", acks=False)
        await back.quiet()
        assert len(back.heard()) <= 8
        for number in range(60):
            back.ack(await back.hears(str(number)))
        assert await _texts(back) == [str(number) for number in range(60)]


async def test_a_nack_brings_it_again_at_once_and_says_how_often() -> None:
    async with talking() as talk:
        await talk.say("a", "b")
        first = await talk.bob.hears("a")
        assert first["attempt"] == 1
        talk.bob.ack(await talk.bob.hears("b"))
        talk.bob.nack(first, "not now")
        again = await talk.bob.hears("a")
        assert again["attempt"] == 2
        talk.bob.ack(again)
        assert await _texts(talk.bob) == ["a", "b", "a"]


async def test_an_envelope_that_always_fails_becomes_a_dead_letter_and_is_no_longer_in_the_way(
    autojump_clock: MockClock,
) -> None:
    store = MemoryKnowledgeStore()
    async with talking(store=store, delivery=DeliveryPolicy(max_attempts=3)) as talk:
        (poison,) = await talk.say("poison")
        await talk.say("fine")
        for attempt in range(1, 4):
            notify = await talk.bob.expect("notify", attempt=attempt)
            assert notify["envelope"]["envelope_id"] == poison
            talk.bob.nack(notify, "cannot")
        talk.bob.ack(await talk.bob.hears("fine"))
        await trio.sleep(10_000)
        assert talk.bob.heard().count("poison") == 3
        await talk.bob_is_cut()
        assert "poison" not in await _texts(await talk.house.back("bob"))
        async with store:
            letters = await store.read_under("/dead_letters")
        assert [poison in path for path in letters] == [True]


async def test_silence_is_not_for_ever_and_progress_asks_for_more(
    autojump_clock: MockClock,
) -> None:
    policy = DeliveryPolicy(ack_wait_seconds=60.0)
    async with talking(delivery=policy) as talk:
        await talk.say("a")
        notify = await talk.bob.hears("a")
        for _ in range(4):
            await trio.sleep(50)
            talk.bob.receipt(notify, "progress")
        await trio.sleep(50)
        assert talk.bob.heard() == ["a"]
        await trio.sleep(100)
        assert talk.bob.heard()[:2] == ["a", "a"]


@pytest.mark.parametrize("odd", ["stranger", "nowhere", "no such envelope", "twice", "after nack"])
async def test_odd_receipts_settle_nothing_and_harm_nothing(odd: str) -> None:
    async with talking() as talk:
        await talk.say("a")
        notify = await talk.bob.hears("a")
        match odd:
            case "stranger":
                # Somebody else's receipt: alice is not bob.
                talk.alice.ack(notify)
                await talk.alice.quiet()
            case "nowhere":
                talk.bob.ack({**notify, "envelope": {**notify["envelope"], "channel_id": "x"}})
            case "no such envelope":
                talk.bob.ack({**notify, "envelope": {**notify["envelope"], "envelope_id": "x"}})
            case "twice":
                talk.bob.ack(notify)
                talk.bob.ack(notify)
            case "after nack":
                talk.bob.ack(notify)
                talk.bob.nack(notify)
        await talk.bob.quiet()
        await talk.bob_is_cut()
        back = await talk.house.back("bob")
        assert await _texts(back) == ([] if odd in ("twice", "after nack") else ["a"])


async def test_a_receipt_without_its_recipient_settles_nothing() -> None:
    async with talking() as talk:
        await talk.say("a")
        notify = await talk.bob.hears("a")
        talk.bob.ack({**notify, "recipient_id": ""})
        await talk.bob.quiet()
        await talk.bob_is_cut()
        assert await _texts(await talk.house.back("bob")) == ["a"]


async def test_nobody_hears_what_is_not_for_it() -> None:
    async with open_house() as house:
        alice, bob, carol = [await house.join(it) for it in ("alice", "bob", "carol")]
        channel_id = await alice.open("discussion", bob, carol)
        await alice.say(channel_id, "psst", audience=[carol.id])
        await alice.say(channel_id, "note to self", event_type="app.note", audience=[alice.id])
        await alice.say(channel_id, "nobody", event_type="app.note", audience=[])
        assert await _texts(bob) == []
        assert await _texts(carol) == ["psst"]
        await alice.hears(event_type="app.note")


# Takeover


async def test_who_loses_the_name_is_told_and_no_longer_acts(any_house: Any) -> None:
    async with any_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob", acks=False)
        channel_id = await alice.open("conversation", bob)
        await alice.say(channel_id, "before")
        notify = await bob.hears("before")
        other = await house.back("bob", acks=False)
        error = await bob.expect("error")
        assert error["code"] == "taken_over"
        assert "'bob'" in error["message"]
        # The new one gets what was unacked; the receipts of the old one count no more.
        await other.hears("before")
        bob.ack(notify)
        with pytest.raises(AccessDeniedError):
            await bob.say(channel_id, "it is me")
        await alice.say(channel_id, "after")
        await other.hears("after")
        assert await _texts(bob) == ["before"]
        other.cut()
        await other.gone()
        third = await house.back("bob")
        assert await _texts(third) == ["before", "after"]
        # Nothing was done to the connection itself.
        await bob.register("robert")


async def test_a_hello_that_is_read_late_takes_nothing_from_a_later_connection() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        late, present = await house.peer(), await house.peer()
        late.ids["bob"] = bob.id
        await present.hello("bob", client="c", connection=2)
        for of_late in ({"client": "c", "connection": 1}, {"client": "c"}):
            late.send("hello", name="bob", **of_late)
            error = await late.expect("error")
            assert (error["code"], error["name"]) == ("taken_over", "bob")
        with pytest.raises(AccessDeniedError):
            await late.say(channel_id, "from the past")
        await alice.say(channel_id, "still yours?")
        await present.hears("still yours?")
        assert "taken_over" not in str(await present.quiet())
        # Another client takes over as ever, and so does the same one by a later connection.
        for by in ({"client": "d", "connection": 1}, {}, {"client": "c", "connection": 3}):
            before, present = present, await house.peer()
            await present.hello("bob", **by)
            assert (await before.expect("error"))["code"] == "taken_over"


@pytest.mark.parametrize("client", ["x" * 65, 5])
async def test_what_a_client_calls_itself_is_short(client: object) -> None:
    async with open_house() as house:
        bob = await house.join("bob")
        bob.send("hello", name="bob", client=client)
        error = await bob.expect("error")
        assert error["code"] == "protocol_error"
        assert "client" in error["message"]


async def test_the_end_of_the_old_connection_does_not_unbind_the_new_one() -> None:
    async with talking() as talk:
        back = await talk.house.back("bob")
        await talk.bob_is_cut()
        await talk.alice.quiet()
        await talk.say("still there?")
        await back.hears("still there?")


async def test_a_second_hello_on_one_connection_replays_and_takes_nothing_over() -> None:
    async with talking() as talk:
        await talk.say("a")
        await talk.bob.hears("a")
        await talk.bob.hello("bob")
        await talk.bob.hears("a")
        assert "taken_over" not in str(await talk.bob.quiet())


# Where one was


async def test_a_since_id_counts_for_its_own_channel_only() -> None:
    async with talking() as talk:
        other_id = await talk.alice.open("consulting", talk.bob)
        await talk.alice.say(other_id, "question")
        first, second = await talk.say("a", "b")
        await talk.bob.hears("question")
        await talk.bob_is_cut()
        back = await talk.house.back("bob", since=second, acks=False)
        assert await _texts(back) == ["question"]
        assert back.heard(talk.channel_id) == []
        # What was processed stays so, whatever a later hello says.
        again = await talk.house.back("bob", since=first)
        assert await _texts(again) == ["question"]


async def test_a_mapping_of_ids_counts_for_each_channel() -> None:
    async with talking() as talk:
        other_id = await talk.alice.open("conversation", talk.bob)
        (_, b) = await talk.say("a", "b")
        (c,) = [await talk.alice.say(other_id, "c")]
        await talk.alice.say(other_id, "d")
        await talk.bob_is_cut()
        since = {talk.channel_id: b, other_id: c, "nowhere": c}
        assert await _texts(await talk.house.back("bob", since=since)) == ["d"]


async def test_only_what_is_unsettled_is_looked_for_in_the_logs() -> None:
    """Whatever a client says that it has processed, in however many channels."""

    class Watched(MemoryKnowledgeStore):
        paths: list[str] = []

        async def read_range(self, path: str, start: int, stop: int | None = None) -> list[bytes]:
            self.paths.append(path)
            return await super().read_range(path, start, stop)

    store = Watched()
    async with talking(store=store) as talk:
        ids = {}
        for _ in range(5):
            settled = await talk.alice.open("conversation", talk.bob)
            ids[settled] = await talk.alice.say(settled, "settled")
            talk.bob.ack(await talk.bob.hears(event_type="ag2.channel.opened"))
            talk.bob.ack(await talk.bob.hears("settled"))
        (ids[talk.channel_id],) = await talk.say("open")
        await talk.bob.quiet()
        await talk.bob_is_cut()
        store.paths.clear()
        back = await talk.house.back("bob", since=ids, acks=False)
        assert store.paths == [paths.channel_log(talk.channel_id)]
        assert await _texts(back) == []


@pytest.mark.parametrize("since", ["", "f" * 32, "0" * 32, "no id at all"])
async def test_an_id_that_is_in_no_log_hides_nothing(since: str) -> None:
    async with talking() as talk:
        await talk.say("a", "b")
        await talk.bob_is_cut()
        assert await _texts(await talk.house.back("bob", since=since)) == ["a", "b"]


async def test_null_replays_nothing_now_and_loses_nothing_either() -> None:
    async with talking() as talk:
        await talk.say("a")
        await talk.bob_is_cut()
        back = await talk.house.back("bob", since=None)
        await talk.say("b")
        await back.hears("b")
        assert await _texts(back) == ["b"]
        assert await _texts(await talk.house.back("bob", since="")) == ["a"]


async def test_a_position_in_another_log_is_not_believed() -> None:
    async with talking(dialect=Dialect.BATCHED) as talk:
        (first,) = await talk.say("a")
        await talk.bob.hears("a")
        await talk.bob_is_cut()
        peer = await talk.house.peer()
        welcome = await peer.hello("bob", since=first, epoch="another log")
        assert welcome["position_lost"] is True
        assert welcome["epoch"] == talk.house.hub.epoch
        assert await _texts(peer) == ["a"]
        other = await talk.house.peer()
        welcome = await other.hello("bob", since=first, epoch=welcome["epoch"])
        assert welcome["position_lost"] is False


async def test_a_position_may_be_lost_without_a_since_and_then_all_comes_again() -> None:
    async with talking() as talk:
        await talk.say("a")
        await talk.bob_is_cut()
        peer = await talk.house.peer()
        await peer.hello("bob", since=None, epoch="another log")
        assert await _texts(peer) == ["a"]


# Away


async def test_the_answer_of_a_consult_that_closed_meanwhile_waits_for_its_asker() -> None:
    async with talking("consulting") as talk:
        await talk.say("what?")
        talk.alice.cut()
        await talk.alice.gone()
        await talk.bob.hears("what?")
        await talk.bob.say(talk.channel_id, "that.")
        back = await talk.house.back("alice")
        await back.hears("that.")
        await back.hears(event_type=EV_CHANNEL_CLOSED)


async def test_who_was_registered_by_somebody_else_gets_what_was_posted_before_it_came() -> None:
    async with open_house() as house:
        alice = await house.join("alice")
        bob = await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        bob.cut()
        await bob.gone()
        await alice.say(channel_id, "for later")
        assert house.hub.health().connections == 1
        back = await house.back("bob")
        await back.hears("for later")


# Large and slow


async def test_a_notification_too_large_for_a_plain_peer_is_set_aside_once() -> None:
    limits = LinkLimits(plain_message_bytes_max=4000)
    store = MemoryKnowledgeStore()
    async with open_house(store, dialect=Dialect.PLAIN, link_limits=limits) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        # The hub takes more from a plain peer than it may send to one.
        large = await alice.request(
            "post_envelope", envelope=alice.envelope(channel_id, "x" * 3900)
        )
        await alice.say(channel_id, "small")
        await bob.hears("small")
        assert await _texts(bob) == ["small"]
        bob.cut()
        await bob.gone()
        assert await _texts(await house.back("bob")) == []
        async with store:
            letters = await store.read_under("/dead_letters")
        assert [large in path for path in letters] == [True]


async def test_an_answer_too_large_for_a_plain_peer_is_an_error_that_says_what_to_do() -> None:
    limits = LinkLimits(plain_message_bytes_max=4000)
    async with open_house(dialect=Dialect.PLAIN, link_limits=limits) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        for number in range(10):
            await alice.say(channel_id, f"{number}" * 400)
        with pytest.raises(TooLarge, match="since and until"):
            await alice.request("read_wal", channel_id=channel_id)
        assert len(await alice.request("read_wal", channel_id=channel_id, since=3, until=5)) == 2


async def test_a_full_inbox_refuses_until_something_is_settled() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.peer(acks=False)
        await bob.register("bob", rule={"limits": {"inbox": {"max_pending": 3}}})
        channel_id = await alice.open("conversation", bob)
        bob.ack(await bob.hears(event_type="ag2.channel.opened"))
        await bob.quiet()
        for word in "abc":
            await alice.say(channel_id, word)
        with pytest.raises(InboxFull, match="nothing was posted") as caught:
            await alice.say(channel_id, "d")
        assert caught.value.retryable
        bob.ack(await bob.hears("a"))
        await bob.quiet()
        await alice.say(channel_id, "d")
        # What the hub says about a channel always has room.
        await alice.request("close_channel", channel_id=channel_id)
        await bob.hears(event_type=EV_CHANNEL_CLOSED)


async def test_one_who_stops_reading_holds_up_nobody() -> None:
    # Small marks, so that little is enough to fill the outbox of the one who does not read.
    limits = LinkLimits(outbox_low_bytes=2_000, outbox_high_bytes=4_000)
    async with open_house(link_limits=limits) as house:
        alice, bob, carol = [await house.join(it) for it in ("alice", "bob", "carol")]
        stalled = await house.peer()
        await stalled.register("stalled")
        channel_id = await alice.open("conversation", bob)
        slow_id = await alice.open("conversation", stalled)
        await stalled.quiet()
        with stalled.stalls():
            for number in range(300):
                await alice.say(slow_id, str(number).ljust(500, "."))
            for number in range(50):
                await alice.say(channel_id, str(number))
            assert await _texts(bob) == [str(number) for number in range(50)]
            await carol.request("list_agents")
        await stalled.quiet()
        while len(stalled.heard()) < 300:
            await stalled.hears()
        assert [it.rstrip(".") for it in stalled.heard()] == [str(number) for number in range(300)]


# Failing reads


async def test_a_replay_whose_read_fails_is_read_again(autojump_clock: MockClock) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with talking(store=store) as talk:
        await talk.bob_is_cut()
        await talk.say(*"abc")
        store.fail("read_range")
        back = await talk.house.back("bob")
        await trio.sleep(60)
        assert await _texts(back) == ["a", "b", "c"]


async def test_health_counts_what_was_delivered_and_what_again() -> None:
    async with talking() as talk:
        await talk.say("a")
        notify = await talk.bob.hears("a")
        assert notify["envelope"]["event_type"] == EV_TEXT
        health = talk.house.hub.health()
        assert health.redelivered == 0
        before = health.delivered
        talk.bob.nack(notify)
        await talk.bob.hears("a")
        health = talk.house.hub.health()
        assert (health.delivered - before, health.redelivered) == (1, 1)
