"""A backup is one moment of the store, whole or not there, and never mistaken for the original."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest
import trio

from trio_hub.errors import StoreError
from trio_hub.stores import DiskKnowledgeStore, Put, Trim, back_up, compact, restore
from trio_hub.stores.backup import DATABASE_NAME


async def fill(path: Path, count: int = 10) -> str:
    async with DiskKnowledgeStore(path) as store:
        for number in range(count):
            await store.append("/log", b"%d" % number)
        return store.epoch


async def test_what_was_kept_before_the_backup_is_in_the_restored_store(tmp_path: Path) -> None:
    async with DiskKnowledgeStore(tmp_path / "data") as store:
        await store.commit([Put("/a/document", b"x")])
        await store.append("/log", b"0")
        made = await store.back_up(tmp_path / "backup")
        await store.append("/log", b"1")
    assert made.size_bytes == (tmp_path / "backup").stat().st_size
    await DiskKnowledgeStore.restore(tmp_path / "backup", tmp_path / "again")
    async with DiskKnowledgeStore(tmp_path / "again") as restored:
        assert await restored.read("/a/document") == b"x"
        assert await restored.read_range("/log", 0) == [b"0"]
        assert await restored.append("/log", b"another one") == 1


async def test_trimmed_log_keeps_its_positions_in_copies_and_gives_its_space_back(
    tmp_path: Path,
) -> None:
    await fill(tmp_path / "data", 500)
    async with DiskKnowledgeStore(tmp_path / "data") as store:
        await store.commit([Trim("/log", 498)])
        await store.back_up(tmp_path / "backup")
    before, after = compact(tmp_path / "data")
    assert after < before
    restore(tmp_path / "backup", tmp_path / "again")
    for path in ("data", "again"):
        async with DiskKnowledgeStore(tmp_path / path) as store:
            assert await store.first("/log") == 498
            assert await store.read_range("/log", 498) == [b"498", b"499"]
            assert await store.append("/log", b"500") == 500


async def test_backup_is_one_moment_while_writers_go_on(tmp_path: Path) -> None:
    """Two logs grow together, in one batch each time: no copy may have more of one."""
    async with DiskKnowledgeStore(tmp_path / "data") as store, trio.open_nursery() as nursery:

        async def write() -> None:
            number = 0
            while True:
                await store.commit([Put("/one", b"%d" % number), Put("/two", b"%d" % number)])
                number += 1

        nursery.start_soon(write)
        for number in range(5):
            await store.back_up(tmp_path / f"backup-{number}")
        nursery.cancel_scope.cancel()
    seen = []
    for number in range(5):
        await DiskKnowledgeStore.restore(tmp_path / f"backup-{number}", tmp_path / f"{number}")
        async with DiskKnowledgeStore(tmp_path / f"{number}") as restored:
            one, two = await restored.read("/one"), await restored.read("/two")
            assert one == two
            seen.append(int(one or b"-1"))
    assert seen == sorted(seen)
    assert seen[-1] > 0


async def test_every_copy_has_an_identity_of_its_own(tmp_path: Path) -> None:
    epoch = await fill(tmp_path / "data")
    made = back_up(tmp_path / "data", tmp_path / "backup")
    twice = [restore(tmp_path / "backup", tmp_path / name) for name in ("one", "two")]
    epochs = {epoch, made.epoch, *(one.epoch for one in twice)}
    assert len(epochs) == 4
    async with DiskKnowledgeStore(tmp_path / "one") as restored:
        assert restored.epoch == twice[0].epoch


async def test_backup_is_for_its_owner_only_and_a_file_by_itself(tmp_path: Path) -> None:
    await fill(tmp_path / "data")
    back_up(tmp_path / "data", tmp_path / "backup")
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["backup", "data"]


async def test_store_of_a_hub_that_was_killed_can_be_backed_up(tmp_path: Path) -> None:
    """What is only in the write-ahead log is in the backup."""
    async with DiskKnowledgeStore(tmp_path / "data") as store:
        await store.append("/log", b"0")
        left = tmp_path / "left"
        left.mkdir()
        for file in (tmp_path / "data").iterdir():
            (left / file.name).write_bytes(file.read_bytes())
    assert (left / f"{DATABASE_NAME}-wal").stat().st_size > 0
    back_up(left, tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "again")
    async with DiskKnowledgeStore(tmp_path / "again") as restored:
        assert await restored.read_range("/log", 0) == [b"0"]


async def test_backup_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(tmp_path / "data")

    def fail(_: int) -> None:
        raise OSError("no such luck")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match=r"backup was not written: .*no such luck"):
        back_up(tmp_path / "data", tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


async def test_leftover_of_a_backup_that_was_killed_is_no_backup_and_in_nobodys_way(
    tmp_path: Path,
) -> None:
    await fill(tmp_path / "data")
    (tmp_path / "backup.partial").write_bytes(b"half a ba")
    back_up(tmp_path / "data", tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "again")
    assert not (tmp_path / "backup.partial").exists()


async def test_damaged_store_gives_no_backup(tmp_path: Path) -> None:
    await fill(tmp_path / "data", 2000)
    database = tmp_path / "data" / DATABASE_NAME
    content = bytearray(database.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 3000] = b"\xff" * 3000
    database.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        back_up(tmp_path / "data", tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


async def test_what_exists_is_never_written_over(tmp_path: Path) -> None:
    await fill(tmp_path / "data")
    back_up(tmp_path / "data", tmp_path / "backup")
    with pytest.raises(StoreError, match="exists"):
        back_up(tmp_path / "data", tmp_path / "backup")
    with pytest.raises(StoreError, match="holds a store already"):
        restore(tmp_path / "backup", tmp_path / "data")
    async with DiskKnowledgeStore(tmp_path / "data"):
        with pytest.raises(StoreError, match="already open"):
            restore(tmp_path / "backup", tmp_path / "data")


def test_what_is_no_store_and_no_backup_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no store"):
        back_up(tmp_path / "nothing", tmp_path / "backup")
    with pytest.raises(StoreError, match="is no file"):
        restore(tmp_path / "nothing", tmp_path / "data")
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(StoreError, match="is no store of a hub, nor a backup"):
        restore(tmp_path / "other", tmp_path / "data")
    (tmp_path / "text").write_text("hello" * 1000)
    with pytest.raises(StoreError, match="not a database"):
        restore(tmp_path / "text", tmp_path / "data")
    assert not (tmp_path / "data" / DATABASE_NAME).exists()
