"""`DiskKnowledgeStore` keeps the contract, and its directory is refused or migrated rightly."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import trio

from trio_hub.errors import StoreError
from trio_hub.stores import Append, DiskKnowledgeStore, KnowledgeStore, Trim
from trio_hub.stores._checks import POSITION_MAX
from trio_hub.stores._connection import connect
from trio_hub.stores._places import LOG_RECORDS_MAX, LOGS_MAX
from trio_hub.stores._plan import document_checksum, record_checksum
from trio_hub.stores._schema import SCHEMA, Schema, prepare_tables, read_epoch
from trio_hub.stores.disk import DATABASE_NAME
from trio_hub.testing.trim_contract import TrimmingStoreContract


class TestDiskKnowledgeStore(TrimmingStoreContract):
    def make_store(self, tmp_path: Path) -> DiskKnowledgeStore:
        return DiskKnowledgeStore(tmp_path / "store")

    def reopen(self, store: KnowledgeStore) -> DiskKnowledgeStore:
        assert isinstance(store, DiskKnowledgeStore)
        return DiskKnowledgeStore(store.path)


async def test_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    async with DiskKnowledgeStore(tmp_path / "deep" / "below" / "store") as store:
        assert stat.S_IMODE(store.path.stat().st_mode) == 0o700
        assert store.health().durable


async def test_closing_folds_the_write_ahead_log_into_the_database(tmp_path: Path) -> None:
    async with DiskKnowledgeStore(tmp_path) as store:
        await store.append("/log", b"x")
        assert (tmp_path / f"{DATABASE_NAME}-wal").stat().st_size > 0
    assert not (tmp_path / f"{DATABASE_NAME}-wal").exists()
    # The main file alone holds everything now.
    (tmp_path / DATABASE_NAME).rename(tmp_path / "copy")
    rows = sqlite3.connect(tmp_path / "copy")
    try:
        assert rows.execute("SELECT record FROM records").fetchall() == [(b"x",)]
    finally:
        rows.close()


async def test_second_store_in_this_process_is_refused(tmp_path: Path) -> None:
    async with DiskKnowledgeStore(tmp_path):
        with pytest.raises(StoreError, match="in this process") as caught:
            async with DiskKnowledgeStore(tmp_path):
                pass
        assert str(tmp_path) in str(caught.value)
    async with DiskKnowledgeStore(tmp_path) as store:
        assert await store.append("/log", b"x") == 0


_OPEN_AND_WAIT = """
import sys, trio
from trio_hub.stores import DiskKnowledgeStore
async def main():
    async with DiskKnowledgeStore(sys.argv[1]):
        print("open", flush=True)
        sys.stdin.read()
trio.run(main)
"""


async def test_second_process_is_refused_with_the_first_ones_number(tmp_path: Path) -> None:
    holder = await trio.lowlevel.open_process(
        [sys.executable, "-c", _OPEN_AND_WAIT, os.fspath(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    async with holder.stdin, holder.stdout:
        try:
            assert (await holder.stdout.receive_some()).startswith(b"open")
            with pytest.raises(StoreError, match=f"process {holder.pid}: stop that") as caught:
                async with DiskKnowledgeStore(tmp_path):
                    pass
            assert str(tmp_path) in str(caught.value)
        finally:
            holder.kill()
            await holder.wait()
    # The lock died with its holder.
    async with DiskKnowledgeStore(tmp_path):
        pass


async def test_store_of_a_newer_release_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    newer = Schema(version=7, statements=SCHEMA.statements)
    async with DiskKnowledgeStore(tmp_path, _schema=newer) as store:
        await store.append("/log", b"x")
    with pytest.raises(StoreError, match=r"version 7.*newer release"):
        async with DiskKnowledgeStore(tmp_path):
            pass
    async with DiskKnowledgeStore(tmp_path, _schema=newer) as store:
        assert await store.length("/log") == 1


def _add_column(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE documents ADD COLUMN written_at REAL")


def _fill_column(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE documents SET written_at = 0.0")


def _with_tables(schema: Schema, version: int, **tables: str) -> Schema:
    """Return an older schema: one in which some tables look as they did then."""
    statements = [
        it for it in schema.statements if not any(f"TABLE {name}" in it for name in tables)
    ]
    return Schema(version, (*statements, *tables.values()))


_BY_TWO_COLUMNS = _with_tables(
    SCHEMA,
    2,
    records="""
        CREATE TABLE records (
            log_id INTEGER NOT NULL, position INTEGER NOT NULL,
            record BLOB NOT NULL, checksum INTEGER NOT NULL,
            PRIMARY KEY (log_id, position)
        ) WITHOUT ROWID
    """,
)
_OLDEST = _with_tables(
    _BY_TWO_COLUMNS,
    1,
    logs="CREATE TABLE logs (path TEXT PRIMARY KEY, log_id INTEGER NOT NULL) WITHOUT ROWID",
)
_INSERT_BY_TWO_COLUMNS = "INSERT INTO records VALUES (?, ?, ?, ?)"
_MIGRATED = Schema(
    version=SCHEMA.version + 2,
    statements=SCHEMA.statements,
    migrations={
        **SCHEMA.migrations,
        SCHEMA.version: _add_column,
        SCHEMA.version + 1: _fill_column,
    },
)


def _make_older_store(
    directory: Path, schema: Schema, logs: dict[str, list[bytes]], firsts: dict[str, int]
) -> None:
    """Make a store as the releases of `schema` have left it; it says what stands in its logs."""
    with closing(connect(directory / DATABASE_NAME)) as database, database:
        prepare_tables(database, schema)
        document = ("/d", b"x", document_checksum(b"x", "/d"))
        database.execute("INSERT INTO documents VALUES (?, ?, ?)", document)
        for log_id, (path, records) in enumerate(logs.items(), 1):
            database.execute("INSERT INTO logs (path, log_id) VALUES (?, ?)", (path, log_id))
            database.executemany(
                _INSERT_BY_TWO_COLUMNS,
                [
                    (log_id, position, record, record_checksum(record, position))
                    for position, record in enumerate(records)
                    if position >= firsts.get(path, 0)
                ],
            )
        for path, first in firsts.items():
            database.execute("UPDATE logs SET first = ? WHERE path = ?", (first, path))


async def test_older_store_is_migrated_step_by_step_and_keeps_its_content(tmp_path: Path) -> None:
    _make_older_store(tmp_path, _OLDEST, {"/log": [b"x"]}, {})
    with closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as database:
        epoch = read_epoch(database)
    async with DiskKnowledgeStore(tmp_path, _schema=_MIGRATED) as store:
        assert store.epoch == epoch
        assert await store.read("/d") == b"x"
        assert await store.read_range("/log", 0) == [b"x"]
    database = sqlite3.connect(tmp_path / DATABASE_NAME)
    try:
        query = "SELECT value FROM meta WHERE key = 'schema_version'"
        assert database.execute(query).fetchone() == (str(_MIGRATED.version),)
        assert database.execute("SELECT written_at FROM documents").fetchone() == (0.0,)
    finally:
        database.close()


async def test_log_of_the_oldest_release_can_be_trimmed(tmp_path: Path) -> None:
    _make_older_store(tmp_path, _OLDEST, {"/log": [b"0", b"1", b"2"]}, {})
    async with DiskKnowledgeStore(tmp_path) as store:
        assert await store.firsts_under("/") == {}
        await store.commit([Trim("/log", 2), Append("/log", b"3")])
        assert await store.read_range("/log", 2) == [b"2", b"3"]


async def test_records_keep_log_position_and_checksum_when_they_get_a_place(tmp_path: Path) -> None:
    logs = {
        "/long": [b"<%d>" % position * 300 for position in range(1500)],
        "/short": [b"only"],
        "/trimmed": [b"gone", b"gone too", b"kept", b"last"],
    }
    _make_older_store(tmp_path, _BY_TWO_COLUMNS, logs, {"/trimmed": 2})
    for length in (0, 1):
        async with DiskKnowledgeStore(tmp_path) as store:
            assert await store.read_range("/long", 0) == logs["/long"]
            assert await store.read_range("/short", 0) == logs["/short"]
            assert await store.read_range("/trimmed", 2) == logs["/trimmed"][2:]
            assert await store.firsts_under("/") == {"/trimmed": 2}
            assert await store.append("/new", b"x") == length
            logs["/short"].append(b"more")
            assert await store.append("/short", b"more") == length + 1


async def test_log_and_store_take_as_many_as_there_are_places_for(tmp_path: Path) -> None:
    async with DiskKnowledgeStore(tmp_path) as store:
        await store.append("/full", b"x")
        await store.append("/other", b"y")
    with closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as database, database:
        # The last places of the first log, and of the last that there can be.
        for name, log_id in (("/full", 1), ("/other", LOGS_MAX - 1)):
            database.execute("UPDATE logs SET log_id = ? WHERE path = ?", (log_id, name))
        last = LOG_RECORDS_MAX - 2
        database.execute("DELETE FROM records")
        for log_id in (1, LOGS_MAX - 1):
            database.execute(
                "INSERT INTO records VALUES (?, ?, ?)",
                ((log_id << 32) + last, b"x", record_checksum(b"x", last)),
            )
    async with DiskKnowledgeStore(tmp_path) as store:
        for path in ("/full", "/other"):
            assert await store.append(path, b"last") == LOG_RECORDS_MAX - 1
            with pytest.raises(StoreError, match=f"{path} is full"):
                await store.append(path, b"one too many")
            assert await store.length(path) == LOG_RECORDS_MAX
            assert await store.read_range(path, last) == [b"x", b"last"]
            assert await store.read_range(path, LOG_RECORDS_MAX) == []
            assert await store.read_range(path, POSITION_MAX) == []
        with pytest.raises(StoreError, match="no log can be begun at /new"):
            await store.append("/new", b"x")
        await store.delete("/other")
    # The highest one that is in use counts.
    async with DiskKnowledgeStore(tmp_path) as store:
        assert await store.append("/new", b"x") == 0
        assert await store.read_range("/full", last) == [b"x", b"last"]


async def test_migration_that_fails_leaves_the_older_store_whole(tmp_path: Path) -> None:
    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TABLE records")
        connection.execute("INSERT INTO nowhere VALUES (1)")

    async with DiskKnowledgeStore(tmp_path) as store:
        await store.append("/log", b"x")
    schema = Schema(SCHEMA.version + 1, SCHEMA.statements, {SCHEMA.version: broken})
    with pytest.raises(StoreError, match="nowhere"):
        async with DiskKnowledgeStore(tmp_path, _schema=schema):
            pass
    async with DiskKnowledgeStore(tmp_path) as store:
        assert await store.read_range("/log", 0) == [b"x"]


async def test_store_too_old_to_migrate_is_refused(tmp_path: Path) -> None:
    _make_older_store(tmp_path, _OLDEST, {}, {})
    schema = Schema(version=3, statements=SCHEMA.statements, migrations={2: _fill_column})
    with pytest.raises(StoreError, match="no way from it to version 3"):
        async with DiskKnowledgeStore(tmp_path, _schema=schema):
            pass


async def test_database_of_another_program_is_refused(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / DATABASE_NAME)
    other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()
    with pytest.raises(StoreError, match="another program"):
        async with DiskKnowledgeStore(tmp_path):
            pass


async def test_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreError, match="cannot hold a store"):
        async with DiskKnowledgeStore(tmp_path / "store"):
            pass


async def test_renewed_epoch_holds_from_then_on(tmp_path: Path) -> None:
    async with DiskKnowledgeStore(tmp_path) as store:
        first = store.epoch
        await store.commit([Append("/log", b"x")])
        second = await store.renew_epoch()
        assert second != first
        assert store.epoch == second
    async with DiskKnowledgeStore(tmp_path) as store:
        assert store.epoch == second
        assert await store.length("/log") == 1
