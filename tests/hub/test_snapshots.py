"""A hub that opens again folds only what came after the latest snapshot, and is as right without."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from trio_hub import (
    DiskKnowledgeStore,
    Envelope,
    Hub,
    HubLimits,
    KnowledgeStore,
    LocalLink,
    MemoryKnowledgeStore,
    Passport,
    Retention,
)
from trio_hub.client import AgentClient, HubClient
from trio_hub.errors import ProtocolError, StoreError
from trio_hub.hub import paths, snapshots
from trio_hub.protocol import posted
from trio_hub.protocol.adapters import ConversationAdapter
from trio_hub.records import EV_TEXT
from trio_hub.stores import Append, Change, Delete, _checks
from trio_hub.testing import FaultyStore

EVERY = 20
LIMITS = HubLimits(snapshot_records=EVERY, cursor_flush_seconds=0.1)
POSTS = 130


class WatchedStore(MemoryKnowledgeStore):
    """Counts the records of channels' logs that are read."""

    records_read = 0

    async def read_range(self, path: str, start: int, stop: int | None = None) -> list[bytes]:
        records = await super().read_range(path, start, stop)
        if path.startswith(paths.CHANNELS):
            self.records_read += len(records)
        return records


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posted, "PAGE_ENTRIES", 16)


@attrs.frozen
class Talk:
    """A conversation that a hub has seen, by its ids."""

    channel_id: str
    alice: str
    bob: str

    def post(self, number: int, words: str = "") -> Envelope:
        """Say something under a key."""
        return Envelope(
            channel_id=self.channel_id,
            sender_id=self.alice,
            event_type=EV_TEXT,
            event_data={"text": words or str(number)},
            idempotency_key=str(number),
        )


async def begin(hub: Hub, **options: Any) -> Talk:
    ids = [(await hub.register(Passport(name=name))).agent_id or "" for name in ("alice", "bob")]
    metadata = await hub.create_channel(
        creator_id=ids[0],
        manifest_type="conversation",
        participants=[ids[1]],
        required_acks=0,
        ttl=0,
        **options,
    )
    return Talk(metadata.channel_id, *ids)


async def say(hub: Hub, talk: Talk, start: int, stop: int) -> dict[int, str]:
    return {it: await hub.post_envelope(talk.post(it)) for it in range(start, stop)}


async def settle_all(hub: Hub, talk: Talk, count: int) -> None:
    """Let the other one hear it all."""
    heard, heard_all = set(), trio.Event()

    async def hear(envelope: Envelope, _client: AgentClient, _attempt: int) -> None:
        heard.add(envelope.idempotency_key)
        if len(heard - {None}) == count:
            heard_all.set()

    async with HubClient(LocalLink(hub)) as client:
        await client.attach(_ask, "bob", handler=hear)
        await heard_all.wait()
        # The receipt of the last one is on its way, and its cursor is to be written.
        await trio.sleep(1)
        assert hub.owed_to(talk.bob) == 0


async def _ask(_turn: object) -> None:
    """Never speak."""


async def _note(_envelope: Envelope, _client: AgentClient, _attempt: int) -> None:
    """Settle whatever comes."""


async def check(hub: Hub, talk: Talk, ids: dict[int, str]) -> None:
    """See that the channel goes on as if the hub had never closed."""
    for number, envelope_id in ids.items():
        assert await hub.post_envelope(talk.post(number)) == envelope_id
    with pytest.raises(ProtocolError, match="other content"):
        await hub.post_envelope(talk.post(0, "something else"))
    new = await hub.post_envelope(talk.post(9999))
    log = await hub.read_wal(talk.channel_id)
    assert log[-1].envelope_id == new
    keys = [it.idempotency_key for it in log if it.idempotency_key is not None]
    assert sorted(keys) == sorted({str(it) for it in (*ids, 9999)})
    machine = hub.channels.get(talk.channel_id).machine
    assert machine is not None
    assert machine.state.turn_count == len(ids) + 1
    assert machine.length == len(log)
    assert hub.health().problems == ()


async def told(store: KnowledgeStore) -> tuple[Talk, dict[int, str]]:
    """Have a hub with a long conversation, everything of which was heard; it is closed."""
    async with Hub.open(store, limits=LIMITS) as hub:
        talk = await begin(hub)
        ids = await say(hub, talk, 0, POSTS)
        await settle_all(hub, talk, POSTS)
    return talk, ids


async def test_the_first_post_after_a_restart_reads_no_log(autojump_clock: MockClock) -> None:
    store = WatchedStore()
    talk, ids = await told(store)
    store.records_read = 0
    async with Hub.open(store, limits=LIMITS) as hub:
        await hub.post_envelope(talk.post(1))
        # Where it stands, and nothing of what came before.
        assert store.records_read == 1
        await check(hub, talk, ids)


async def test_what_came_after_the_snapshot_is_folded(autojump_clock: MockClock) -> None:
    store = WatchedStore()
    talk, ids = await told(store)
    async with Hub.open(store, limits=HubLimits(snapshot_records=10_000)) as hub:
        # Too few for a snapshot at the end.
        ids |= await say(hub, talk, POSTS, POSTS + 30)
        await settle_all(hub, talk, 30)
    store.records_read = 0
    async with Hub.open(store, limits=LIMITS) as hub:
        await hub.post_envelope(talk.post(1))
        assert store.records_read == 1 + 30
        await check(hub, talk, ids)


async def test_a_snapshot_is_kept_while_the_hub_is_open(autojump_clock: MockClock) -> None:
    store = MemoryKnowledgeStore()
    async with store, Hub.open(store, limits=LIMITS) as hub:
        talk = await begin(hub)
        assert await store.read(paths.snapshot(talk.channel_id)) is None
        await say(hub, talk, 0, 2 * EVERY)
        await trio.sleep(LIMITS.cursor_flush_seconds * 2)
        await hub.probe()
        assert await store.read(paths.snapshot(talk.channel_id))
        assert await store.length(paths.snapshot_pages(talk.channel_id)) == 2
        await say(hub, talk, 2 * EVERY, 4 * EVERY)
        await trio.sleep(LIMITS.cursor_flush_seconds * 2)
        await hub.probe()
        assert await store.length(paths.snapshot_pages(talk.channel_id)) == 4 * EVERY // 16


async def test_what_somebody_is_owed_is_counted_all_the_same(autojump_clock: MockClock) -> None:
    store = WatchedStore()
    async with Hub.open(store, limits=LIMITS) as hub:
        talk = await begin(hub)
        ids = await say(hub, talk, 0, POSTS)
        owed = hub.owed_to(talk.bob)
    async with Hub.open(store, limits=LIMITS) as hub:
        await hub.post_envelope(talk.post(1))
        assert hub.owed_to(talk.bob) == owed
        await settle_all(hub, talk, POSTS)
        await check(hub, talk, ids)


Damage = Callable[[KnowledgeStore, str], Awaitable[None]]


async def _cut(store: KnowledgeStore, channel_id: str) -> None:
    data = await store.read(paths.snapshot(channel_id))
    assert data is not None
    await store.write(paths.snapshot(channel_id), data[:-5])


async def _no_snapshot(store: KnowledgeStore, channel_id: str) -> None:
    await store.write(paths.snapshot(channel_id), b"{}")


async def _no_pages(store: KnowledgeStore, channel_id: str) -> None:
    await store.delete(paths.snapshot_pages(channel_id))


async def _another_page(store: KnowledgeStore, channel_id: str) -> None:
    await store.append(paths.snapshot_pages(channel_id), b"a page")


async def _pages_of_others(store: KnowledgeStore, channel_id: str) -> None:
    path = paths.snapshot_pages(channel_id)
    pages = await store.read_range(path, 0)
    swapped: list[Change] = [Append(path, page) for page in reversed(pages)]
    await store.commit([Delete(path), *swapped])


async def _another_log(store: KnowledgeStore, channel_id: str) -> None:
    """The log lost its end, as by a restored file; the snapshot did not."""
    path = paths.channel_log(channel_id)
    records = await store.read_range(path, 0)
    shorter: list[Change] = [Append(path, record) for record in records[:-1]]
    await store.commit([Delete(path), *shorter])


async def _other_log_of_that_length(store: KnowledgeStore, channel_id: str) -> None:
    path = paths.channel_log(channel_id)
    records = await store.read_range(path, 0)
    records[-1] = records[-2]
    other: list[Change] = [Append(path, record) for record in records]
    await store.commit([Delete(path), *other])


@pytest.mark.parametrize("damage", [_cut, _no_snapshot, _no_pages, _another_page, _pages_of_others])
async def test_a_snapshot_that_is_damaged_costs_only_time(
    autojump_clock: MockClock, damage: Damage
) -> None:
    store = WatchedStore()
    talk, ids = await told(store)
    async with store:
        await damage(store, talk.channel_id)
    store.records_read = 0
    async with Hub.open(store, limits=LIMITS) as hub:
        await hub.post_envelope(talk.post(1))
        assert store.records_read >= POSTS
        await check(hub, talk, ids)
    # What was kept by now is whole again.
    store.records_read = 0
    async with Hub.open(store, limits=LIMITS) as hub:
        await hub.post_envelope(talk.post(2))
        assert store.records_read < EVERY


@pytest.mark.parametrize("damage", [_another_log, _other_log_of_that_length])
async def test_a_snapshot_of_another_log_is_not_believed(
    autojump_clock: MockClock, damage: Damage
) -> None:
    store = WatchedStore()
    talk, ids = await told(store)
    async with store:
        await damage(store, talk.channel_id)
    async with Hub.open(store, limits=LIMITS) as hub:
        # The last one is not there any more, and so can be posted again.
        assert await hub.post_envelope(talk.post(POSTS - 1)) != ids[POSTS - 1]


@pytest.mark.parametrize("what", ["read", "read_range"])
async def test_a_snapshot_that_cannot_be_read_costs_only_time(tmp_path: Path, what: str) -> None:
    talk, ids = await told(DiskKnowledgeStore(tmp_path))

    class Blind(DiskKnowledgeStore):
        async def read(self, path: str) -> bytes | None:
            if what == "read" and path.startswith(paths.SNAPSHOTS):
                raise StoreError("the medium has a hole there")
            return await super().read(path)

        async def read_range(self, path: str, start: int, stop: int | None = None) -> list[bytes]:
            if path.startswith(paths.SNAPSHOTS):
                raise StoreError("the medium has a hole there")
            return await super().read_range(path, start, stop)

    async with Hub.open(Blind(tmp_path), limits=LIMITS) as hub:
        await check(hub, talk, ids)


async def test_a_snapshot_that_could_not_be_written_is_written_anew(
    autojump_clock: MockClock,
) -> None:
    memory = WatchedStore()
    store = FaultyStore(memory)
    async with Hub.open(store, limits=LIMITS) as hub:
        talk = await begin(hub)
        ids = await say(hub, talk, 0, EVERY)
        store.fail_commits()
        # This is when it would have been written.
        await trio.sleep(LIMITS.cursor_flush_seconds * 2)
        store.heal()
        await trio.sleep(5)
        ids |= await say(hub, talk, EVERY, POSTS)
        await settle_all(hub, talk, POSTS)
    memory.records_read = 0
    async with Hub.open(memory, limits=LIMITS) as hub:
        await hub.post_envelope(talk.post(1))
        assert memory.records_read == 1
        await check(hub, talk, ids)


async def test_a_channel_whose_commit_failed_goes_on_from_its_snapshot(
    autojump_clock: MockClock,
) -> None:
    memory = WatchedStore()
    store = FaultyStore(memory)
    async with Hub.open(store, limits=LIMITS) as hub:
        talk = await begin(hub)
        ids = await say(hub, talk, 0, POSTS)
        await trio.sleep(LIMITS.cursor_flush_seconds * 2)
        store.fail_commits()
        with pytest.raises(StoreError):
            await hub.post_envelope(talk.post(POSTS))
        store.heal()
        memory.records_read = 0
        ids |= await say(hub, talk, POSTS, POSTS + 1)
        assert memory.records_read < EVERY
        await check(hub, talk, ids)


async def test_nothing_is_left_of_a_channel_that_is_retired(autojump_clock: MockClock) -> None:
    store = MemoryKnowledgeStore()
    async with (
        store,
        Hub.open(
            store,
            limits=LIMITS,
            retention=Retention(ended_for=1),
            clock=lambda: 1e9 + trio.current_time(),
        ) as hub,
    ):
        talk = await begin(hub)
        await say(hub, talk, 0, POSTS)
        await trio.sleep(LIMITS.cursor_flush_seconds * 2)
        assert await store.list(paths.SNAPSHOTS)
        await settle_all(hub, talk, POSTS)
        await hub.close_channel(talk.channel_id)
        async with HubClient(LocalLink(hub)) as client:
            for name in ("alice", "bob"):
                await client.attach(_ask, name, handler=_note)
            # Until they have heard of its end.
            await trio.sleep(5)
        assert talk.channel_id not in {it.channel_id for it in hub.list_channels()}
    async with store:
        assert await store.list(paths.SNAPSHOTS) == []


async def test_an_adapter_that_cannot_be_kept_is_folded_from_the_log(
    autojump_clock: MockClock,
) -> None:
    class Own(ConversationAdapter):
        def fold(self, envelope: Envelope, state: Any) -> Any:
            return super().fold(envelope, state)

    store = WatchedStore()
    async with Hub.open(store, limits=LIMITS, adapters=[Own()]) as hub:
        talk = await begin(hub)
        ids = await say(hub, talk, 0, POSTS)
    async with store:
        assert await store.list(paths.SNAPSHOTS) == []
    async with Hub.open(store, limits=LIMITS, adapters=[Own()]) as hub:
        await check(hub, talk, ids)


async def test_many_channels_that_grow_together_take_turns(autojump_clock: MockClock) -> None:
    store = MemoryKnowledgeStore()
    async with store, Hub.open(store, limits=LIMITS) as hub:
        talks = [await begin(hub)]
        for _ in range(9):
            metadata = await hub.create_channel(
                creator_id=talks[0].alice,
                manifest_type="conversation",
                participants=[talks[0].bob],
                required_acks=0,
                ttl=0,
            )
            talks.append(attrs.evolve(talks[0], channel_id=metadata.channel_id))
        for talk in talks:
            await say(hub, talk, 0, EVERY)
        await trio.sleep(1)
        for talk in talks:
            assert await store.read(paths.snapshot(talk.channel_id)), talk.channel_id


SMALL = 20_000


class Padded(ConversationAdapter):
    """Keeps more with its state than folding makes of the log, and no word of it is needed."""

    padding = 2 * SMALL

    def freeze(self, state: Any) -> Any:
        return {"padding": "x" * self.padding, "state": super().freeze(state)}

    def thaw(self, frozen: Any, metadata: Any) -> Any:
        return super().thaw(frozen["state"], metadata)


@pytest.fixture
def small_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SNAPSHOT_BYTES_MAX", SMALL)
    # What a store takes is not much more, and what it does not take ends the hub.
    monkeypatch.setattr(_checks, "BLOB_BYTES_MAX", 2 * SMALL)


def complaints(caplog: pytest.LogCaptureFixture) -> int:
    """How often the log says that a snapshot was too large."""
    return sum("snapshot not kept" in it.getMessage() for it in caplog.records)


@pytest.mark.usefixtures("small_snapshots")
async def test_a_hub_lives_on_whose_channel_is_too_large_for_a_snapshot(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryKnowledgeStore()
    ids: dict[int, str] = {}
    talk: Talk | None = None
    for number in range(3):
        caplog.clear()
        async with Hub.open(store, limits=LIMITS, adapters=[Padded()]) as hub:
            talk = talk or await begin(hub)
            # Often enough for more than one snapshot, before and after a restart.
            for start in range(len(ids), (number + 1) * 4 * EVERY, EVERY):
                ids |= await say(hub, talk, start, start + EVERY)
                await trio.sleep(LIMITS.cursor_flush_seconds * 2)
            assert complaints(caplog) == 1
            assert await store.read(paths.snapshot(talk.channel_id)) is None
            if number == 2:
                await check(hub, talk, ids)


@pytest.mark.usefixtures("small_snapshots")
async def test_a_snapshot_that_was_kept_goes_on_to_count_while_the_next_is_too_large(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    store, adapter = WatchedStore(), Padded()

    async def says(hub: Hub, stop: int, padding: int) -> None:
        adapter.padding = padding
        ids.update(await say(hub, talk, len(ids), stop))
        await trio.sleep(LIMITS.cursor_flush_seconds * 2)

    ids: dict[int, str] = {}
    async with Hub.open(store, limits=LIMITS, adapters=[adapter]) as hub:
        talk = await begin(hub)
        await says(hub, 2 * EVERY, 0)
        kept = await store.read(paths.snapshot(talk.channel_id))
        assert kept is not None
        await says(hub, 4 * EVERY, SMALL)
        await says(hub, 6 * EVERY, SMALL)
        assert await store.read(paths.snapshot(talk.channel_id)) == kept
    store.records_read = 0
    async with Hub.open(store, limits=LIMITS, adapters=[adapter]) as hub:
        await hub.post_envelope(talk.post(1))
        assert 4 * EVERY <= store.records_read < 5 * EVERY
        assert complaints(caplog) == 1
        await says(hub, 8 * EVERY, 0)
        assert await store.read(paths.snapshot(talk.channel_id)) != kept
        # It is told of again, for it had fitted in between.
        await says(hub, 10 * EVERY, SMALL)
        assert complaints(caplog) == 2
    store.records_read = 0
    adapter.padding = 0
    async with Hub.open(store, limits=LIMITS, adapters=[adapter]) as hub:
        await hub.post_envelope(talk.post(1))
        assert store.records_read < 3 * EVERY
        await check(hub, talk, ids)
