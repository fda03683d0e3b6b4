"""
The tables of a disk store, their version, and the way from an older version to this one.

To change the tables: raise `version`, change `statements` (what a new store gets), and add one
entry to `migrations` under the version that it starts from. Each step runs in a transaction of
its own together with the new number, so a crash in the middle leaves the older version whole.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import attrs

from ..errors import StoreError
from ._places import first_place

__all__ = ["APPLICATION_ID", "SCHEMA", "Schema", "is_empty", "prepare_tables", "read_epoch"]

#: Stands in the file's header ("thub"), so that no other program's database is taken for ours.
APPLICATION_ID = 0x74687562

Migration = Callable[[sqlite3.Connection], None]


@attrs.frozen
class Schema:
    """
    One version of the tables.

    Attributes:
        version: Counts up from 1.
        statements: What makes the tables of a new store.
        migrations: Version -> the step from it to the next one. Called inside a transaction.
    """

    version: int
    statements: tuple[str, ...]
    migrations: Mapping[int, Migration] = attrs.Factory(dict)


def _let_logs_be_trimmed(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE logs ADD COLUMN first INTEGER NOT NULL DEFAULT 0")


def _sort_records_by_place(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE records RENAME TO older")
    connection.execute(_RECORDS)
    rows = connection.execute(
        "SELECT log_id, position, record, checksum FROM older ORDER BY log_id, position"
    )
    connection.executemany(
        "INSERT INTO records (place, record, checksum) VALUES (?, ?, ?)",
        ((first_place(log_id) + position, *row) for log_id, position, *row in rows),
    )
    connection.execute("DROP TABLE older")


# `place` is the rowid (see `_places`): the records of one log lie side by side.
_RECORDS = """
    CREATE TABLE records (
        place INTEGER PRIMARY KEY, record BLOB NOT NULL, checksum INTEGER NOT NULL
    )
"""

SCHEMA = Schema(
    version=3,
    statements=(
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        """
        CREATE TABLE documents (
            path TEXT PRIMARY KEY, data BLOB NOT NULL, checksum INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE logs (
            path TEXT PRIMARY KEY, log_id INTEGER NOT NULL, first INTEGER NOT NULL DEFAULT 0
        ) WITHOUT ROWID
        """,
        _RECORDS,
    ),
    migrations={1: _let_logs_be_trimmed, 2: _sort_records_by_place},
)


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether the database has no table at all: a new file."""
    return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None


def prepare_tables(connection: sqlite3.Connection, schema: Schema = SCHEMA) -> None:
    """
    Make the tables of a new database, or bring those of an older one up to `schema`.

    Raises:
        StoreError: The file belongs to another program, or to a newer version of this one.
        sqlite3.Error: The database cannot be read or written.
    """
    if is_empty(connection):
        _create(connection, schema)
        return
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID:
        raise StoreError(
            "the database there was made by another program (its application id is "
            f"{application_id:#x}): give the hub a directory of its own"
        )
    version = _read_version(connection)
    if version > schema.version:
        raise StoreError(
            f"the store has schema version {version}, and this trio_hub knows versions up to "
            f"{schema.version}: it was written by a newer release, so run that one"
        )
    while version < schema.version:
        migrate = schema.migrations.get(version)
        if migrate is None:
            raise StoreError(
                f"the store has schema version {version}, and this trio_hub has no way from it "
                f"to version {schema.version}: open it with an intermediate release first"
            )
        with _transaction(connection):
            migrate(connection)
            version += 1
            connection.execute(
                "UPDATE meta SET value = ? WHERE key = 'schema_version'", (str(version),)
            )


def read_epoch(connection: sqlite3.Connection) -> str:
    """Return the identity of the content. Raises `StoreError` where it is not there."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
    if row is None:
        raise StoreError("the store's table `meta` has no epoch: restore the directory from backup")
    return str(row[0])


def _create(connection: sqlite3.Connection, schema: Schema) -> None:
    with _transaction(connection):
        for statement in schema.statements:
            connection.execute(statement)
        connection.executemany(
            "INSERT INTO meta VALUES (?, ?)",
            (("schema_version", str(schema.version)), ("epoch", secrets.token_hex(16))),
        )
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    # The first tables go straight into the main file, which then is a database by itself.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _read_version(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    if row is None or not str(row[0]).isdecimal():
        raise StoreError(
            "the store's table `meta` has no schema version: restore the directory from backup"
        )
    return int(row[0])


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
