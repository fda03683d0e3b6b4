"""The end of a log for one who may see little of it: the right envelopes, and looked for once."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from trio_hub import HubLimits, LinkLimits, MemoryKnowledgeStore
from trio_hub.hub.log_record import LogRecord

from .peer import Peer, open_house


class CountedStore(MemoryKnowledgeStore):
    """Counts the records that are read from it."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    async def read_page(self, path: str, start: int, stop: int, bytes_max: int) -> list[bytes]:
        records = await super().read_page(path, start, stop, bytes_max)
        self.counts["reads"] += 1
        self.counts["records"] += len(records)
        self.counts["bytes"] += sum(map(len, records))
        return records


async def texts(peer: Peer, channel_id: str, *, limit: int, said: bool = True) -> list[str]:
    tail = await peer.request("read_tail", channel_id=channel_id, limit=limit, said=said)
    return [it["event_data"].get("text", "-") for it in tail["envelopes"]]


async def test_one_who_sees_little_of_a_long_channel_costs_what_has_come_since() -> None:
    store = CountedStore()
    async with open_house(store) as house:
        alice, bob, carol = [await house.join(it) for it in ("alice", "bob", "carol")]
        channel_id = await alice.open("discussion", bob, carol)

        async def say(text: str, to: Peer, times: int = 1) -> None:
            for _ in range(times):
                await alice.say(channel_id, text, audience=[to.id], event_type="app.x")

        async def look() -> Counter[str]:
            store.counts.clear()
            assert await texts(bob, channel_id, limit=3) == ["1", "2", "3"]
            return store.counts.copy()

        for text in "123":
            await say(text, bob)
        await say("-", carol, times=300)
        first, second = await look(), await look()
        assert first["records"] >= 300
        await say("-", carol, times=10)
        third = await look()
        # A page from the end, and the three.
        assert second["records"] <= 9
        assert third["records"] <= 9 + 10
        assert third["reads"] <= 5
        # Bob's memory is not carol's.
        assert await texts(carol, channel_id, limit=2) == ["-", "-"]


@pytest.mark.parametrize("seed", range(4))
async def test_a_tail_is_what_a_look_at_the_whole_log_shows(seed: int) -> None:
    rng = random.Random(seed)
    async with open_house(limits=HubLimits(page_records_max=rng.choice([3, 50]))) as house:
        alice, bob, carol = [await house.join(it) for it in ("alice", "bob", "carol")]
        channel_id = await alice.open("discussion", bob, carol)
        for _ in range(25):
            for _ in range(rng.choice([0, 1, 40])):
                audience = rng.choice([None, [carol.id], [carol.id], [carol.id], [bob.id]])
                event_type = rng.choice(["app.x", "ag2.task.progress"])
                await alice.say(channel_id, "hi", audience=audience, event_type=event_type)
            log = await bob.request("read_wal", channel_id=channel_id)
            said = rng.random() < 0.5
            seen = [
                it["envelope_id"]
                for it in log
                if not (said and it["event_type"].startswith(("ag2.channel.", "ag2.task.")))
            ]
            limit, before, shown = rng.choice([1, 3, 20]), None, list[str]()
            while before != 0 and len(shown) < 60:
                tail = await bob.request(
                    "read_tail", channel_id=channel_id, limit=limit, before=before, said=said
                )
                page = [it["envelope_id"] for it in tail["envelopes"]]
                assert len(page) <= limit
                shown[:0] = page
                before = tail["start"]
            assert shown == seen[len(seen) - len(shown) :]
            assert before == 0 or len(shown) >= 60
            if before == 0:
                assert shown == seen


async def test_of_large_envelopes_an_answer_holds_what_fits_and_little_more_is_read() -> None:
    store = CountedStore()
    links = LinkLimits(message_bytes_max=1_000_000)
    async with open_house(store, link_limits=links) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        said = [f"{number:02}{'x' * 50_000}" for number in range(60)]
        for text in said:
            await alice.say(channel_id, text)
        seen: list[str] = []
        before, answers = None, 0
        while before != 0:
            store.counts.clear()
            tail = await bob.request("read_tail", channel_id=channel_id, limit=100, before=before)
            before, answers = tail["start"], answers + 1
            seen[:0] = [it["event_data"].get("text", "") for it in tail["envelopes"]]
            assert tail["envelopes"]
            assert store.counts["bytes"] <= links.hub_message_bytes_max + 1024 * 1024
        assert [it for it in seen if it] == said
        assert answers == 3


@pytest.mark.parametrize("reader", [None, "bob"])
async def test_a_tail_holds_so_many_bytes_and_one_record_at_least(reader: str | None) -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        for number in range(40):
            await alice.say(channel_id, str(number))
        records = await house.hub.read_records(channel_id, 0, None)
        room = sum(len(it.raw) for it in records[-3:])
        # The second time some of it is known.
        for _ in range(2):
            for bytes_max, shown in ((room, 3), (room - 1, 2), (1, 1), (10**9, 30)):
                start, tail = await house.hub.read_tail_records(
                    channel_id, 30, reader=reader, bytes_max=bytes_max
                )
                assert tail == records[-shown:]
                assert start == tail[0].position


@pytest.mark.parametrize("seed", range(4))
async def test_pages_of_so_many_bytes_are_the_whole_log(seed: int) -> None:
    rng = random.Random(seed)
    async with open_house(limits=HubLimits(page_records_max=rng.choice([3, 50]))) as house:
        alice, bob, carol = [await house.join(it) for it in ("alice", "bob", "carol")]
        channel_id = await alice.open("discussion", bob, carol)

        def is_bobs(record: LogRecord) -> bool:
            assert record.envelope is not None
            return record.envelope.audience != (carol.id,)

        for _ in range(15):
            for _ in range(rng.choice([0, 1, 30])):
                await alice.say(
                    channel_id,
                    "x" * rng.choice([1, 100, 3000]),
                    audience=rng.choice([None, [carol.id], [carol.id]]),
                    event_type="app.x",
                )
            log = await house.hub.read_records(channel_id, 0, None)
            bytes_max, limit = rng.choice([1, 2000, 10_000]), rng.choice([1, 5, 20])
            seen: list[LogRecord] = []
            before: int | None = None
            while before != 0:
                before, page = await house.hub.read_tail_records(
                    channel_id,
                    limit,
                    before=before,
                    wanted=is_bobs,
                    reader="bob",
                    bytes_max=bytes_max,
                )
                assert len(page) <= limit
                assert len(page) <= 1 or sum(len(it.raw) for it in page) <= bytes_max
                seen[:0] = page
            assert seen == [it for it in log if is_bobs(it)]
