"""Logs of open channels are trimmed where it was wished, and never before nobody needs it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_hub import (
    DeliveryPolicy,
    Envelope,
    Hub,
    HubLimits,
    HubListener,
    KnowledgeStore,
    MemoryKnowledgeStore,
    Passport,
    Retention,
    StoreError,
)
from trio_hub.client import AgentClient, HubClient
from trio_hub.errors import ProtocolError
from trio_hub.hub import paths
from trio_hub.links import LocalLink
from trio_hub.protocol import posted
from trio_hub.records import EV_TEXT
from trio_hub.stores import Change, Trim
from trio_hub.testing import FaultyStore

LIMITS = HubLimits(snapshot_records=20, cursor_flush_seconds=0.1)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posted, "PAGE_ENTRIES", 16)


@pytest.fixture
def clock(autojump_clock: MockClock) -> MockClock:
    return autojump_clock


def by_trio_clock() -> float:
    return 1_800_000_000.0 + trio.current_time()


def trimming_hub(store: KnowledgeStore, **options: Any) -> AbstractAsyncContextManager[Hub]:
    return Hub.open(
        store,
        **{"limits": LIMITS, "clock": by_trio_clock, "ttl_sweep_interval": 3600.0, **options},
    )


class Talk:
    """Alice tells bob something, who is there or not."""

    def __init__(self) -> None:
        self.alice = self.bob = self.channel_id = ""
        self.ids: list[str] = []

    async def begin(self, hub: Hub, **options: Any) -> None:
        self.alice, self.bob = [
            (await hub.register(Passport(name=name))).agent_id or "" for name in ("alice", "bob")
        ]
        metadata = await hub.create_channel(
            creator_id=self.alice,
            manifest_type="conversation",
            participants=[self.bob],
            required_acks=0,
            ttl=0,
            **options,
        )
        self.channel_id = metadata.channel_id

    def post(self, number: int, words: str = "") -> Envelope:
        return Envelope(
            channel_id=self.channel_id,
            sender_id=self.alice,
            event_type=EV_TEXT,
            event_data={"text": words or str(number)},
            idempotency_key=str(number),
        )

    async def say(self, hub: Hub, count: int) -> None:
        for number in range(len(self.ids), len(self.ids) + count):
            self.ids.append(await hub.post_envelope(self.post(number)))

    def first(self, hub: Hub) -> int:
        return hub.channels.get(self.channel_id).first

    def length(self, hub: Hub) -> int:
        return hub.channels.get(self.channel_id).length

    async def knows_all_keys(self, hub: Hub) -> None:
        for number, envelope_id in enumerate(self.ids):
            assert await hub.post_envelope(self.post(number)) == envelope_id
        with pytest.raises(ProtocolError, match="other content"):
            await hub.post_envelope(self.post(0, "something else"))


async def _never(_turn: object) -> None:
    """Never speak."""


@asynccontextmanager
async def listening(
    hub: Hub,
    hear: Callable[[Envelope, AgentClient, int], Awaitable[None]] | None = None,
) -> AsyncIterator[None]:
    async def settle(_envelope: Envelope, _client: AgentClient, _attempt: int) -> None:
        """Settle whatever comes."""

    async with HubClient(LocalLink(hub)) as client:
        # She has the answer to her invite to hear of.
        await client.attach(_never, "alice", handler=settle)
        await client.attach(_never, "bob", handler=hear or settle)
        yield


async def until(is_so: Callable[[], bool]) -> None:
    """Let time go by. The archive is written in a thread, which virtual time does not wait for."""
    for _ in range(300_000):
        if is_so():
            return
        await trio.sleep(30)
    raise AssertionError("it never comes")


class Trims(HubListener):
    def __init__(self) -> None:
        self.channel_ids: list[str] = []

    async def on_channel_event(
        self, channel_id: str, kind: str, payload: Mapping[str, Any]
    ) -> None:
        if kind == "trimmed":
            self.channel_ids.append(channel_id)


async def test_by_default_nothing_is_trimmed(clock: MockClock) -> None:
    talk = Talk()
    async with trimming_hub(MemoryKnowledgeStore()) as hub:
        await talk.begin(hub)
        async with listening(hub):
            await talk.say(hub, 100)
            await trio.sleep(10_000)
        assert await hub.trim_due() == 0
        assert talk.first(hub) == 0
        assert len(await hub.read_wal(talk.channel_id)) == talk.length(hub)


async def test_log_that_grows_keeps_so_many_records(clock: MockClock, tmp_path: Path) -> None:
    talk, store, trims = Talk(), MemoryKnowledgeStore(), Trims()
    retention = Retention(records_max=30)
    async with trimming_hub(store, retention=retention, archive=tmp_path, listeners=[trims]) as hub:
        await talk.begin(hub)
        async with listening(hub):
            for _ in range(30):
                await talk.say(hub, 10)
                await trio.sleep(1)
            # So much may come between two snapshots.
            await until(lambda: talk.first(hub) >= talk.length(hub) - 30 - 2 * 20)
            # What is under way comes to its end, too.
            await hub.trim_due()
        first, length = talk.first(hub), talk.length(hub)
        assert first <= length - 30
        records = await hub.read_records(talk.channel_id, 0, None)
        assert [record.position for record in records] == list(range(first, length))
        await talk.knows_all_keys(hub)
        assert hub.health().records_trimmed == first
        page = await hub.audit.query(kind="log_trimmed")
        assert page.records[-1].details["first"] == first
        assert sum(record.details["records"] for record in page.records) == first
        assert set(trims.channel_ids) == {talk.channel_id}
        assert hub.health().problems == ()
    lines = (tmp_path / f"{talk.channel_id}.trimmed.jsonl").read_text().splitlines()
    archived = [json.loads(line) for line in lines]
    assert [it["position"] for it in archived] == list(range(first))
    keys = [it["envelope"].get("idempotency_key") for it in archived]
    assert [key for key in keys if key is not None] == [str(n) for n in range(first - 2)]
    async with trimming_hub(store, retention=retention) as hub:
        assert talk.first(hub) >= first
        await talk.knows_all_keys(hub)
        await talk.say(hub, 1)
        assert hub.health().problems == ()


async def test_log_keeps_records_of_so_long(clock: MockClock) -> None:
    talk = Talk()
    async with trimming_hub(MemoryKnowledgeStore(), retention=Retention(records_for="1h")) as hub:
        await talk.begin(hub)
        async with listening(hub):
            await talk.say(hub, 5)
            await trio.sleep(1800)
            await talk.say(hub, 5)
            await trio.sleep(1700)
            assert talk.first(hub) == 0
            # Some are an hour old, and are let go together, soon.
            await trio.sleep(300)
            assert talk.first(hub) == 7
            await trio.sleep(1800)
            # The last one stays, so that the next has its place.
            assert talk.first(hub) == talk.length(hub) - 1
            await talk.say(hub, 1)
            assert talk.length(hub) == 13
        await talk.knows_all_keys(hub)


async def test_log_keeps_so_many_bytes(clock: MockClock) -> None:
    talk, store = Talk(), MemoryKnowledgeStore()
    async with trimming_hub(store, retention=Retention(records_bytes_max=10_000)) as hub:
        await talk.begin(hub)
        async with listening(hub):
            await talk.say(hub, 100)
            await trio.sleep(1)
        first = talk.first(hub)
        kept = await hub.read_records(talk.channel_id, 0, None)
        sizes = [len(record.raw) for record in kept]
        assert first > 0
        assert sum(sizes[20:]) <= 10_000 < sum(sizes) + max(sizes)
    async with trimming_hub(store, retention=Retention(records_bytes_max=3_000)) as hub:
        assert await hub.trim_due() > 0
        kept = await hub.read_records(talk.channel_id, 0, None)
        sizes = [len(record.raw) for record in kept]
        assert sum(sizes) <= 3_000 < sum(sizes) + max(sizes)


async def test_types_have_wishes_of_their_own(clock: MockClock) -> None:
    retention = Retention(records_max=5, by_type={"conversation": Retention(records_max=60)})
    talk = Talk()
    async with trimming_hub(MemoryKnowledgeStore(), retention=retention) as hub:
        await talk.begin(hub)
        async with listening(hub):
            await talk.say(hub, 50)
            await trio.sleep(1)
            assert talk.first(hub) == 0
            await talk.say(hub, 50)
            await trio.sleep(1)
            assert 0 < talk.first(hub) <= talk.length(hub) - 60


async def test_what_somebody_has_not_settled_stays(clock: MockClock) -> None:
    talk, heard = Talk(), []

    async def hear(envelope: Envelope, _client: AgentClient, _attempt: int) -> None:
        heard.append(envelope.idempotency_key)

    async with trimming_hub(MemoryKnowledgeStore(), retention=Retention(records_max=5)) as hub:
        await talk.begin(hub)
        async with listening(hub):
            await talk.say(hub, 10)
            await trio.sleep(1)
        await talk.say(hub, 90)
        await trio.sleep(80_000)
        assert talk.first(hub) <= 12
        async with listening(hub, hear):
            await trio.sleep(1000)
        assert heard == [str(number) for number in range(10, 100)]
        assert talk.first(hub) == talk.length(hub) - 5


async def test_what_a_dead_letter_is_about_stays_until_that_is_gone(clock: MockClock) -> None:
    talk = Talk()

    async def hear(envelope: Envelope, _client: AgentClient, _attempt: int) -> None:
        if envelope.idempotency_key == "7":
            raise ValueError("not this one")

    async with trimming_hub(
        MemoryKnowledgeStore(),
        retention=Retention(records_max=5),
        delivery=DeliveryPolicy(max_attempts=1),
    ) as hub:
        await talk.begin(hub)
        async with listening(hub, hear):
            await talk.say(hub, 100)
            await trio.sleep(10_000)
            assert talk.first(hub) == 9
            envelope = await hub.read_dead_letter(talk.bob, talk.ids[7])
            assert envelope.idempotency_key == "7"
            await hub.discard_dead_letter(talk.bob, talk.ids[7])
            await trio.sleep(10_000)
        assert talk.first(hub) == talk.length(hub) - 5


async def test_nothing_goes_while_a_task_of_the_channel_runs(clock: MockClock) -> None:
    talk = Talk()
    async with trimming_hub(MemoryKnowledgeStore(), retention=Retention(records_max=5)) as hub:
        await talk.begin(hub)
        async with HubClient(LocalLink(hub)) as client:
            await client.attach(_never, "alice")
            bob = await client.attach(_never, "bob")
            async with bob.task("long work", channel_id=talk.channel_id):
                await talk.say(hub, 100)
                await trio.sleep(10_000)
                assert talk.first(hub) == 0
            await trio.sleep(10_000)
            assert talk.first(hub) == talk.length(hub) - 5


async def test_trim_that_failed_is_made_up_for_and_archived_once(
    clock: MockClock, tmp_path: Path
) -> None:
    class FailsTrims(MemoryKnowledgeStore):
        failures = 0

        async def commit(self, changes: Any) -> tuple[int, ...]:
            if any(isinstance(it, Trim) for it in changes) and self.failures < 2:
                self.failures += 1
                if self.failures == 1:
                    # As if the hub had been killed while it wrote the next line.
                    (file,) = tmp_path.iterdir()  # noqa: ASYNC240
                    file.write_bytes(file.read_bytes() + b'{"position":')
                if self.failures == 2:
                    # It was kept all the same, and nobody knows.
                    await super().commit(changes)
                raise StoreError("no trim today")
            return await super().commit(changes)

    talk, store = Talk(), FailsTrims()
    async with trimming_hub(store) as hub:
        await talk.begin(hub)
        async with listening(hub):
            await talk.say(hub, 100)
            await trio.sleep(1)
    retention = Retention(records_max=5)
    async with trimming_hub(store, retention=retention, archive=tmp_path) as hub:
        await until(lambda: talk.first(hub) == talk.length(hub) - 5)
        await hub.trim_due()
        assert store.failures == 2
        assert len(await hub.read_records(talk.channel_id, 0, None)) == 5
        first = talk.first(hub)
    lines = (tmp_path / f"{talk.channel_id}.trimmed.jsonl").read_text().splitlines()
    assert [json.loads(line)["position"] for line in lines] == list(range(first))


async def test_archive_that_cannot_be_written_keeps_everything(
    clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "archive").write_text("no directory")
    talk = Talk()
    async with trimming_hub(
        MemoryKnowledgeStore(), retention=Retention(records_max=5), archive=tmp_path / "archive"
    ) as hub:
        await talk.begin(hub)
        async with listening(hub):
            await talk.say(hub, 100)
            await until(lambda: "was not archived" in caplog.text)
            assert talk.first(hub) == 0
            (tmp_path / "archive").unlink()
            await until(lambda: talk.first(hub) == talk.length(hub) - 5)


async def _trimmed_talk(store: KnowledgeStore) -> Talk:
    talk = Talk()
    async with trimming_hub(store, retention=Retention(records_max=25)) as hub:
        await talk.begin(hub)
        async with listening(hub):
            for _ in range(10):
                await talk.say(hub, 10)
                await trio.sleep(1)
            assert talk.first(hub) > 50
    return talk


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("wish", [Retention(records_max=25), Retention()])
async def test_one_snapshot_of_a_trimmed_channel_is_enough(
    clock: MockClock, slot: int, wish: Retention
) -> None:
    store = MemoryKnowledgeStore()
    talk = await _trimmed_talk(store)
    async with store:
        await store.write(paths.snapshot(talk.channel_id, slot), b"no snapshot")
    for _ in range(2):
        async with trimming_hub(store, retention=wish) as hub, listening(hub):
            await talk.knows_all_keys(hub)
            await talk.say(hub, 70)
            await trio.sleep(1)
            assert hub.health().problems == ()
    # Another one is in its place by now.
    async with store:
        await store.write(paths.snapshot(talk.channel_id, 1 - slot), b"no snapshot")
    async with trimming_hub(store, retention=wish) as hub:
        await talk.knows_all_keys(hub)
        assert hub.health().problems == ()


async def test_without_snapshots_a_trimmed_channel_is_set_aside(clock: MockClock) -> None:
    store = MemoryKnowledgeStore()
    talk = await _trimmed_talk(store)
    async with store:
        for slot in (0, 1):
            await store.write(paths.snapshot(talk.channel_id, slot), b"no snapshot")
    async with trimming_hub(store, retention=Retention(records_max=5)) as hub:
        with pytest.raises(ProtocolError, match="no snapshot of what stood before can be used"):
            await talk.say(hub, 1)
        first = talk.first(hub)
        assert await hub.trim_due() == 0
        await trio.sleep(10_000)
        # Nothing more of what cannot be made whole goes.
        assert talk.first(hub) == first
        assert len(hub.health().problems) == 1


async def test_snapshot_that_cannot_be_read_now_is_read_later(clock: MockClock) -> None:
    inner = MemoryKnowledgeStore()
    talk = await _trimmed_talk(inner)
    store = FaultyStore(inner)
    async with trimming_hub(store) as hub:
        store.fail("read")
        with pytest.raises(StoreError) as caught:
            await hub.post_envelope(talk.post(0))
        assert caught.value.retryable
        await talk.knows_all_keys(hub)
        assert hub.health().problems == ()


async def test_store_that_cannot_trim_is_refused_where_that_is_wished(clock: MockClock) -> None:
    class Plain(MemoryKnowledgeStore):
        first = None  # type: ignore[assignment]

    with pytest.raises(ValueError, match="it is no TrimmingStore"):
        async with trimming_hub(Plain(), retention=Retention(records_max=5)):
            pass
    async with trimming_hub(Plain(), retention=Retention(ended_max=5)):
        pass


async def test_a_hundred_records_more_than_a_page_go_in_pieces(clock: MockClock) -> None:
    pieces: list[int] = []

    class Watched(MemoryKnowledgeStore):
        async def commit(self, changes: Any) -> tuple[int, ...]:
            batch: list[Change] = list(changes)
            pieces.extend(it.first for it in batch if isinstance(it, Trim))
            return await super().commit(batch)

    talk, store = Talk(), Watched()
    async with trimming_hub(store) as hub:
        await talk.begin(hub)
        async with listening(hub):
            await talk.say(hub, 700)
            await trio.sleep(1)
    async with trimming_hub(store, retention=Retention(records_max=10)) as hub:
        await hub.trim_due()
        assert talk.first(hub) == talk.length(hub) - 10
        await talk.knows_all_keys(hub)
    assert pieces == [250, 500, 692]
