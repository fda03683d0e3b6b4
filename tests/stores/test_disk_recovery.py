"""
What a disk store makes of files that are not as it left them.

The power cuts are simulated on copies: the database as it was, and the write-ahead log cut off
where a disk might have stopped. That is harsher than a killed process (tests/crash has those),
because the operating system's cache is lost too.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from trio_hub.errors import DamagedRecord, RecordsTrimmed, StoreError
from trio_hub.stores import Append, DiskKnowledgeStore, Put, Trim
from trio_hub.stores._connection import connect
from trio_hub.stores.disk import DATABASE_NAME


def _overwrite(path: Path, old: bytes, new: bytes) -> None:
    """Change bytes of a closed database in place; they must stand there exactly once."""
    content = path.read_bytes()
    assert content.count(old) == 1, f"{old!r} stands there {content.count(old)} times"
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new))


async def test_record_whose_bytes_changed_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    async with DiskKnowledgeStore(tmp_path) as store:
        await store.commit([Append("/log", b"record number %d" % n) for n in range(10)])
        await store.append("/other", b"elsewhere")
    _overwrite(tmp_path / DATABASE_NAME, b"record number 4", b"recorD number 4")
    async with DiskKnowledgeStore(tmp_path) as store:
        with pytest.raises(DamagedRecord, match="record 4 of the log /log") as caught:
            await store.read_range("/log", 0)
        assert (caught.value.path, caught.value.position) == ("/log", 4)
        assert not caught.value.retryable
        assert await store.read_range("/log", 0, 4) == [b"record number %d" % n for n in range(4)]
        assert await store.read_range("/log", 5) == [b"record number %d" % n for n in range(5, 10)]
        # A page that ends before it has not met it.
        assert len(await store.read_page("/log", 2, 10, 30)) == 2
        with pytest.raises(DamagedRecord) as caught:
            await store.read_page("/log", 2, 10, 31)
        assert caught.value.position == 4
        assert await store.length("/log") == 10
        assert await store.append("/log", b"goes on") == 10
        assert await store.read_range("/other", 0) == [b"elsewhere"]


async def test_record_that_stands_in_the_place_of_another_is_damage(tmp_path: Path) -> None:
    async with DiskKnowledgeStore(tmp_path) as store:
        await store.commit([Append("/log", b"%d" % n) for n in range(3)])
    database = sqlite3.connect(tmp_path / DATABASE_NAME)
    database.execute("UPDATE records SET place = place + 10 WHERE place % 8 = 2")
    database.execute("UPDATE records SET place = place + 1 WHERE place % 8 = 1")
    database.commit()
    database.close()
    async with DiskKnowledgeStore(tmp_path) as store:
        with pytest.raises(DamagedRecord) as missing:
            await store.read_range("/log", 0)
        assert missing.value.position == 1
        with pytest.raises(DamagedRecord) as moved:
            await store.read_range("/log", 2, 3)
        assert moved.value.position == 2


async def test_damaged_document_is_named_and_never_keeps_the_others_back(tmp_path: Path) -> None:
    async with DiskKnowledgeStore(tmp_path) as store:
        await store.commit([Put(f"/agents/{n}", b"passport of %d" % n) for n in range(5)])
    _overwrite(tmp_path / DATABASE_NAME, b"passport of 2", b"passport 0f 2")
    async with DiskKnowledgeStore(tmp_path) as store:
        for _ in range(2):
            under = await store.read_under("/agents")
            assert list(under) == ["/agents/0", "/agents/1", "/agents/3", "/agents/4"]
            (problem,) = store.health().problems
            assert "/agents/2" in problem
        assert store.health().ok
        with pytest.raises(DamagedRecord, match="/agents/2") as caught:
            await store.read("/agents/2")
        assert caught.value.position == -1
        await store.write("/agents/2", b"anew")
        assert len(await store.read_under("/agents")) == 5


def _spoil_page_of(path: Path, needle: bytes) -> None:
    """Overwrite the whole 4096-byte page in which `needle` stands."""
    content = bytearray(path.read_bytes())
    page = content.index(needle) // 4096
    content[page * 4096 : (page + 1) * 4096] = b"\xff" * 4096
    path.write_bytes(bytes(content))


async def test_spoilt_page_of_documents_costs_what_stood_on_it(tmp_path: Path) -> None:
    async with DiskKnowledgeStore(tmp_path) as store:
        await store.commit([Put(f"/d/{n:04}", b"<%04d>" % n * 50) for n in range(500)])
    _spoil_page_of(tmp_path / DATABASE_NAME, b"<0250>")
    async with DiskKnowledgeStore(tmp_path) as store:
        under = await store.read_under("/d")
        assert 450 < len(under) < 500
        assert {"/d/0000", "/d/0499"} < set(under)
        assert "/d/0250" not in under
        assert all(data == b"<%s>" % path[3:].encode() * 50 for path, data in under.items())
        assert "documents" in store.health().problems[-1]
        with pytest.raises(DamagedRecord):
            await store.read("/d/0250")


async def test_spoilt_page_of_records_costs_what_stood_on_it(tmp_path: Path) -> None:
    async with DiskKnowledgeStore(tmp_path) as store:
        for log in ("/a", "/b", "/c"):
            await store.commit([Append(log, b"<%04d%s>" % (n, log.encode())) for n in range(2000)])
    _spoil_page_of(tmp_path / DATABASE_NAME, b"<1000/b>")
    async with DiskKnowledgeStore(tmp_path) as store:
        assert await store.lengths_under("/") == {"/a": 2000, "/b": 2000, "/c": 2000}
        assert len(await store.read_range("/a", 0)) == len(await store.read_range("/c", 0)) == 2000
        with pytest.raises(DamagedRecord) as caught:
            await store.read_range("/b", 0)
        first = caught.value.position
        assert 800 < first <= 1000
        assert len(await store.read_range("/b", 0, first)) == first
        assert len(await store.read_page("/b", first - 3, 2000, 16)) == 2
        with pytest.raises(DamagedRecord) as caught:
            await store.read_page("/b", first - 3, 2000, 100)
        assert caught.value.position == first
        with pytest.raises(DamagedRecord) as caught:
            await store.read_range("/b", 1000, 1001)
        assert caught.value.position == 1000
        assert await store.append("/b", b"goes on") == 2000


async def test_spoilt_page_in_what_is_to_be_trimmed_fails_that_batch_and_no_other(
    tmp_path: Path,
) -> None:
    async with DiskKnowledgeStore(tmp_path) as store:
        for log in ("/a", "/b"):
            await store.commit([Append(log, b"<%04d%s>" % (n, log.encode())) for n in range(2000)])
    _spoil_page_of(tmp_path / DATABASE_NAME, b"<1000/b>")
    async with DiskKnowledgeStore(tmp_path) as store, trio.open_nursery() as nursery:
        # Both wait together, and so share a transaction.
        nursery.start_soon(store.commit, [Trim("/a", 1500), Append("/a", b"goes on")])
        with pytest.raises(StoreError, match="nothing was kept"):
            await store.commit([Trim("/b", 1500)])
        await store.commit([Trim("/b", 500)])
    async with DiskKnowledgeStore(tmp_path) as store:
        assert await store.firsts_under("/") == {"/a": 1500, "/b": 500}
        assert await store.lengths_under("/") == {"/a": 2001, "/b": 2000}
        assert len(await store.read_range("/a", 1500)) == 501
        with pytest.raises(DamagedRecord) as caught:
            await store.read_range("/b", 500)
        assert 800 < caught.value.position <= 1000
        # Also where records have to be read one by one.
        with pytest.raises(RecordsTrimmed, match="begins at 500"):
            await store.read_range("/b", 499, 1001)


async def test_record_that_is_missing_where_a_trimmed_log_begins_is_damage(tmp_path: Path) -> None:
    async with DiskKnowledgeStore(tmp_path) as store:
        await store.commit([Append("/log", b"%d" % n) for n in range(5)])
        await store.commit([Trim("/log", 2)])
    database = sqlite3.connect(tmp_path / DATABASE_NAME)
    database.execute("DELETE FROM records WHERE place % 8 = 2")
    database.commit()
    database.close()
    async with DiskKnowledgeStore(tmp_path) as store:
        with pytest.raises(DamagedRecord) as caught:
            await store.read_range("/log", 2)
        assert caught.value.position == 2
        assert await store.read_range("/log", 3) == [b"3", b"4"]


async def test_log_whose_end_is_spoilt_is_left_out_and_refuses_to_go_on(tmp_path: Path) -> None:
    async with DiskKnowledgeStore(tmp_path) as store:
        for log in ("/a", "/b"):
            await store.commit([Append(log, b"<%04d%s>" % (n, log.encode())) for n in range(2000)])
        await store.append("/c", b"x")
        await store.commit([Append("/c", b"%d" % n) for n in range(2000)])
    _spoil_page_of(tmp_path / DATABASE_NAME, b"<1999/b>")
    async with DiskKnowledgeStore(tmp_path) as store:
        lengths = await store.lengths_under("/")
        assert lengths["/a"] == 2000
        assert "/b" not in lengths
        assert "/b" in store.health().problems[0]
        with pytest.raises(StoreError, match="damaged"):
            await store.append("/b", b"over what is there")
        assert await store.append("/a", b"goes on") == 2000
        assert store.health().ok


@pytest.mark.parametrize("seed", range(12))
async def test_flipped_bytes_anywhere_never_give_wrong_content(tmp_path: Path, seed: int) -> None:
    # Whatever is hit: the store answers rightly, or with StoreError; never anything else.
    written = {f"/log/{k}": [b"%d of %d" % (n, k) * 20 for n in range(40)] for k in range(5)}
    async with DiskKnowledgeStore(tmp_path) as store:
        for path, records in written.items():
            await store.commit([Append(path, record) for record in records])
    rng = random.Random(seed)
    content = bytearray((tmp_path / DATABASE_NAME).read_bytes())
    for _ in range(3):
        content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
    (tmp_path / DATABASE_NAME).write_bytes(bytes(content))
    try:
        async with DiskKnowledgeStore(tmp_path) as store:
            for path, records in written.items():
                for position, record in enumerate(records):
                    try:
                        found = await store.read_range(path, position, position + 1)
                    except StoreError:
                        continue
                    assert found in ([record], [])
    except StoreError as exc:
        assert str(tmp_path) in str(exc)  # noqa: PT017 - opening it need not fail


@pytest.mark.parametrize(
    ("spoil", "advice"),
    [
        (lambda file: file.write_bytes(b"this is no database at all" * 400), "no SQLite database"),
        (lambda file: file.write_bytes(b""), "missing or empty"),
        (lambda file: file.unlink(), "missing or empty"),
    ],
)
async def test_database_that_cannot_be_read_is_refused_never_replaced(
    tmp_path: Path, spoil: Callable[[Path], object], advice: str
) -> None:
    async with DiskKnowledgeStore(tmp_path) as store:
        await store.append("/log", b"a promise")
    file = tmp_path / DATABASE_NAME
    spoil(file)
    before = file.read_bytes() if file.exists() else b""
    for _ in range(2):
        with pytest.raises(StoreError, match=advice) as caught:
            async with DiskKnowledgeStore(tmp_path):
                pass
        assert "backup" in str(caught.value)
        assert (file.read_bytes() if file.exists() else b"") == before


def _connect_without_checkpoints(path: Path) -> sqlite3.Connection:
    connection = connect(path)
    # The log only grows then, so that a place in it says which commits lie before it.
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


@pytest.mark.slow
async def test_power_cut_keeps_every_commit_that_was_synced_and_no_part_of_another(
    tmp_path: Path,
) -> None:
    live, cut = tmp_path / "live", tmp_path / "cut"
    wal = live / f"{DATABASE_NAME}-wal"
    synced: list[tuple[int, int]] = []
    async with DiskKnowledgeStore(live, _connect=_connect_without_checkpoints) as store:
        for batch in range(12):
            await store.commit(
                [Append("/log", b"%d" % (batch * 3 + k) * 40) for k in range(3)]
                + [Put("/last", b"%d" % batch)]
            )
            synced.append((wal.stat().st_size, batch))
        shutil.copytree(live, tmp_path / "image")
    whole = (tmp_path / "image" / wal.name).read_bytes()
    rng = random.Random(1)
    ends = [end for end, _ in synced]
    offsets = {0, 31, 32, *ends, *(end - 1 for end in ends), *(end + 1 for end in ends[:-1])}
    offsets |= {rng.randrange(len(whole)) for _ in range(12)}
    for offset in sorted(offsets):
        shutil.copytree(tmp_path / "image", cut)
        (cut / wal.name).write_bytes(whole[:offset])
        (cut / f"{DATABASE_NAME}-shm").unlink()
        expected = sum(1 for end, _ in synced if end <= offset)
        async with DiskKnowledgeStore(cut) as store:
            records = await store.read_range("/log", 0)
            assert records == [b"%d" % n * 40 for n in range(expected * 3)]
            last = await store.read("/last")
            assert last == (b"%d" % (expected - 1) if expected else None)
            assert await store.append("/log", b"goes on") == expected * 3
        shutil.rmtree(cut)


@pytest.mark.slow
async def test_power_cut_leaves_a_trim_whole_or_undone(tmp_path: Path) -> None:
    live, cut = tmp_path / "live", tmp_path / "cut"
    wal = live / f"{DATABASE_NAME}-wal"
    ends: list[int] = []
    async with DiskKnowledgeStore(live, _connect=_connect_without_checkpoints) as store:
        # Some hundred pages, so that trimming them changes the tree.
        await store.commit([Append("/log", b"%04d" % n * 100) for n in range(600)])
        ends.append(wal.stat().st_size)
        await store.commit([Trim("/log", 500), Put("/trimmed", b"yes"), Append("/log", b"600")])
        ends.append(wal.stat().st_size)
        shutil.copytree(live, tmp_path / "image")
    whole = (tmp_path / "image" / wal.name).read_bytes()
    rng = random.Random(1)
    offsets = {ends[0], ends[1] - 1, ends[1], *(rng.randrange(*ends) for _ in range(12))}
    for offset in sorted(offsets):
        shutil.copytree(tmp_path / "image", cut)
        (cut / wal.name).write_bytes(whole[:offset])
        (cut / f"{DATABASE_NAME}-shm").unlink()
        is_kept = offset >= ends[1]
        async with DiskKnowledgeStore(cut) as store:
            first = await store.first("/log")
            assert first == (500 if is_kept else 0)
            assert await store.read("/trimmed") == (b"yes" if is_kept else None)
            records = await store.read_range("/log", first)
            assert records[:100] == [b"%04d" % n * 100 for n in range(first, first + 100)]
            assert len(records) == (101 if is_kept else 600)
            assert await store.append("/log", b"goes on") == (601 if is_kept else 600)
        shutil.rmtree(cut)


async def test_torn_page_in_the_write_ahead_log_ends_it_there(tmp_path: Path) -> None:
    live = tmp_path / "live"
    wal = live / f"{DATABASE_NAME}-wal"
    async with DiskKnowledgeStore(live, _connect=_connect_without_checkpoints) as store:
        await store.append("/log", b"0")
        first = wal.stat().st_size
        await store.append("/log", b"1")
        shutil.copytree(live, tmp_path / "cut")
    # The second commit's pages were written in part: the size is right, the bytes are not.
    torn = bytearray((tmp_path / "cut" / wal.name).read_bytes())
    torn[first + 2000 : first + 2512] = bytes(512)
    (tmp_path / "cut" / wal.name).write_bytes(bytes(torn))
    (tmp_path / "cut" / f"{DATABASE_NAME}-shm").unlink()
    async with DiskKnowledgeStore(tmp_path / "cut") as store:
        records = await store.read_range("/log", 0)
        assert records in ([b"0"], [b"0", b"1"])
        assert await store.append("/log", b"next") == len(records)
