"""An envelope whose TTL is over is settled, told of and audited, and not delivered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from trio_hub import DeliveryPolicy, DiskKnowledgeStore, HubListener, LinkLimits
from trio_hub.records import AuditRecord

from .peer import PATIENCE_SECONDS, House, Pair, open_house

TTL_SECONDS = 5.0
START = 1_700_000_000.0


class Expiries(HubListener):
    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str, int]] = []

    async def on_envelope_expired(
        self, channel_id: str, agent_id: str, envelope_id: str, attempts: int
    ) -> None:
        self.heard.append((channel_id, agent_id, envelope_id, attempts))


def hub_time() -> float:
    return START + trio.current_time()


@attrs.frozen
class Talk(Pair):
    """Alice talks to Bob, who acks only what a test tells him to."""

    listener: Expiries

    async def says(self, words: str, ttl: float | None = TTL_SECONDS) -> str:
        return await self.alice.say(self.channel_id, words, ttl_seconds=ttl)

    async def expired(self) -> list[tuple[str, int]]:
        """Which envelopes have expired after how many attempts: audited, and told of."""
        await trio.testing.wait_all_tasks_blocked()
        records = await audited(self.house)
        found = [(it.details["envelope_id"], it.details["attempts"]) for it in records]
        assert found == [it[2:] for it in self.listener.heard]
        assert {(it.channel_id, it.agent_id) for it in records} <= {(self.channel_id, self.bob.id)}
        assert self.house.hub.figures().expired == len(found)
        return found


async def audited(house: House) -> list[AuditRecord]:
    return list((await house.hub.audit.query(kind="envelope_expired")).records)


@asynccontextmanager
async def talking(store: Any = None, **options: Any) -> AsyncIterator[Talk]:
    listener = Expiries()
    async with open_house(store, clock=hub_time, listeners=[listener], **options) as house:
        alice, bob = await house.join("alice"), await house.peer(acks=False)
        await bob.register("bob")
        channel_id = await alice.open("conversation", bob)
        bob.ack(await bob.hears(event_type="ag2.channel.opened"))
        await bob.quiet()
        yield Talk(house, alice, bob, channel_id, listener)


async def test_what_is_delivered_in_time_is_its_recipients(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.says("quick")
        notify = await talk.bob.hears("quick")
        await trio.sleep(TTL_SECONDS)
        talk.bob.ack(notify)
        await talk.bob.quiet()
        assert await talk.expired() == []
        assert talk.house.hub._deliveries.owed(talk.bob.id) == 0


async def test_what_expired_while_its_recipient_was_away_is_not_delivered(
    autojump_clock: MockClock,
) -> None:
    async with talking() as talk:
        talk.bob.cut()
        await talk.bob.gone()
        late = await talk.says("late")
        await talk.says("never late", ttl=None)
        await talk.says("for hours", ttl=3600)
        await talk.says("0 is none", ttl=0)
        await trio.sleep(TTL_SECONDS)
        back = await talk.house.back("bob")
        await back.quiet()
        assert back.heard() == ["never late", "for hours", "0 is none"]
        assert await talk.expired() == [(late, 0)]
        assert talk.house.hub._deliveries.owed(talk.bob.id) == 0


async def test_it_is_delivered_up_to_its_last_moment(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.bob.cut()
        await talk.bob.gone()
        await talk.says("just in time")
        await trio.sleep(TTL_SECONDS * 0.99)
        back = await talk.house.back("bob")
        await back.hears("just in time")
        assert await talk.expired() == []


async def test_what_was_not_acked_in_time_is_not_sent_again_after_a_cut(
    autojump_clock: MockClock,
) -> None:
    async with talking() as talk:
        late = await talk.says("late")
        await talk.bob.hears("late")
        talk.bob.cut()
        await talk.bob.gone()
        await trio.sleep(TTL_SECONDS)
        back = await talk.house.back("bob")
        await back.quiet()
        assert back.heard() == []
        assert await talk.expired() == [(late, 1)]


async def test_what_is_nacked_after_its_time_is_neither_sent_again_nor_a_dead_letter(
    autojump_clock: MockClock,
) -> None:
    async with talking(delivery=DeliveryPolicy(max_attempts=2)) as talk:
        late = await talk.says("late")
        notify = await talk.bob.hears("late")
        await trio.sleep(TTL_SECONDS)
        talk.bob.nack(notify)
        await talk.bob.quiet()
        assert talk.bob.heard() == ["late"]
        assert await talk.expired() == [(late, 1)]
        assert talk.house.hub.health().dead_letters == 0


async def test_it_counts_from_when_it_was_accepted_also_after_a_restart(tmp_path: Path) -> None:
    # The disk is written by a thread, which a virtual clock does not wait for.
    def later() -> float:
        return hub_time() + TTL_SECONDS

    async with talking(DiskKnowledgeStore(tmp_path / "data")) as talk:
        talk.bob.cut()
        await talk.bob.gone()
        late = await talk.says("late")
        await talk.says("in time", ttl=1000 * TTL_SECONDS)
    store = DiskKnowledgeStore(tmp_path / "data")
    async with open_house(store, clock=later) as house:
        assert await audited(house) == []
        back = await house.back("bob")
        await back.hears("in time")
        assert back.heard() == ["in time"]
        with trio.fail_after(PATIENCE_SECONDS):
            async for record in house.hub.audit.tail(since=0):
                if record.kind == "envelope_expired":
                    break
        await back.quiet()
        assert [record] == await audited(house)
        assert (record.agent_id, record.channel_id) == (talk.bob.id, talk.channel_id)
        assert record.details == {"envelope_id": late, "position": 3, "attempts": 0}
    # Its cursor has passed it: nothing is said of it again.
    async with open_house(DiskKnowledgeStore(tmp_path / "data"), clock=later) as house:
        back = await house.back("bob")
        await back.quiet()
        assert back.heard() == []
        assert len(await audited(house)) == 1


@pytest.mark.parametrize("max_in_flight", [256, 16])
async def test_what_finds_no_room_on_a_slow_connection_in_time_is_not_sent(
    max_in_flight: int, autojump_clock: MockClock
) -> None:
    # Small marks, so that little is enough to fill the outbox of the one who does not read.
    limits = LinkLimits(outbox_low_bytes=2_000, outbox_high_bytes=4_000)
    delivery = DeliveryPolicy(max_in_flight=max_in_flight)
    async with talking(link_limits=limits, delivery=delivery) as talk:
        talk.bob.acks = True
        with talk.bob.stalls():
            sent = [await talk.says(f"{number:02}".ljust(500, ".")) for number in range(60)]
            await trio.sleep(TTL_SECONDS)
        last = await talk.says("after them", ttl=None)
        await talk.bob.quiet()
        *heard, after = talk.bob.heard()
        assert after == "after them"
        assert 0 < len(heard) < len(sent) // 2
        assert heard == [f"{number:02}".ljust(500, ".") for number in range(len(heard))]
        assert await talk.expired() == [(it, 0) for it in sent[len(heard) :]]
        assert last not in str(await talk.expired())


async def test_a_letter_that_has_expired_is_not_delivered_by_hand_either(
    autojump_clock: MockClock,
) -> None:
    async with talking(delivery=DeliveryPolicy(max_attempts=1)) as talk:
        envelope_id = await talk.says("poison")
        talk.bob.nack(await talk.bob.hears("poison"), "no")
        await talk.bob.quiet()
        await talk.house.hub.replay_dead_letter(talk.bob.id, envelope_id)
        talk.bob.nack(await talk.bob.hears("poison"), "still not")
        await talk.bob.quiet()
        await trio.sleep(TTL_SECONDS)
        await talk.house.hub.replay_dead_letter(talk.bob.id, envelope_id)
        await talk.bob.quiet()
        assert talk.bob.heard() == ["poison"] * 2
        [letter] = talk.house.hub.list_dead_letters().letters
        assert (letter.replaying, letter.reason) == (False, "expired: its TTL is over")


@pytest.mark.parametrize("event", ["ag2.packet", "shop.price"])
async def test_every_kind_of_envelope_expires(event: str, autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.bob.cut()
        await talk.bob.gone()
        late = await talk.alice.say(
            talk.channel_id, "late", ttl_seconds=TTL_SECONDS, event_type=event
        )
        await trio.sleep(TTL_SECONDS)
        back = await talk.house.back("bob")
        await back.quiet()
        assert late not in str(back.history)
        assert await talk.expired() == [(late, 0)]


async def test_its_recipient_may_say_that_it_was_not_handled_in_time(
    autojump_clock: MockClock,
) -> None:
    async with talking() as talk:
        late = await talk.says("late")
        lasting = await talk.says("lasting", ttl=None)
        for words in ("late", "lasting"):
            talk.bob.receipt(await talk.bob.hears(words), "ack", reason="expired")
        await talk.bob.quiet()
        assert await talk.expired() == [(late, 1)]
        assert lasting != late
        assert talk.house.hub._deliveries.owed(talk.bob.id) == 0
