"""
The whole of a disk store at once: backups, taken while the hub serves, the way back, and compaction.

A backup is SQLite's own online copy: one moment of the store, without a pause for whoever writes.
It is checked, synced and only then given its name, so a file of that name is a whole backup.

A backup has an identity of its own, and so has every store that is restored from one. Clients that
come back with positions in what the backup does not hold are then told so (`position_lost`),
whoever forgot what.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import attrs

from ..errors import StoreError
from ._connection import explain
from ._directory import DirectoryLock, make_directory, sync_directory
from ._schema import APPLICATION_ID, read_epoch

__all__ = ["DATABASE_NAME", "Backup", "back_up", "compact", "restore"]

#: The database inside a store's directory. SQLite puts a ``-wal`` and a ``-shm`` file beside it.
DATABASE_NAME: Final = "store.sqlite3"

_PARTIAL: Final = ".partial"
_EVERYTHING: Final = -1


@attrs.frozen(kw_only=True)
class Backup:
    """
    What was copied.

    Attributes:
        path: The file, or the directory of the restored store.
        size_bytes: Of the database.
        epoch: The identity of the copy.
    """

    path: Path
    size_bytes: int
    epoch: str


def back_up(directory: Path, target: Path) -> Backup:
    """
    Copy the store in `directory` into the new file `target`. A hub may be using it.

    Blocks; call it in a thread. Writers go on meanwhile. Until it is done the store's write-ahead
    log is not cut, so it grows by what they write.

    Raises:
        StoreError: There is no store, the target exists, or something cannot be read or
            written. Nothing stands at `target` then.

    Durability: the file and its name are on disk when it returns.
    """
    source = directory / DATABASE_NAME
    if not source.is_file():
        raise StoreError(f"{directory} holds no store: there is no {DATABASE_NAME}")
    if target.exists():
        raise StoreError(f"{target} exists: give the backup a name of its own")
    return _copy(source, target, target)


def restore(backup: Path, directory: Path) -> Backup:
    """
    Make a store in `directory` out of a backup. The backup stays as it is.

    Blocks; call it in a thread.

    Raises:
        StoreError: The file is no backup or is damaged, or the directory holds a store already.
            The directory holds none then.

    Durability: the store is on disk when it returns.
    """
    if not backup.is_file():
        raise StoreError(f"{backup} is no file")
    target = directory / DATABASE_NAME
    try:
        make_directory(directory)
        lock = DirectoryLock(directory)
    except OSError as error:
        raise StoreError(f"{directory} cannot hold a store: {error}") from error
    try:
        if target.exists():
            raise StoreError(
                f"{directory} holds a store already: restore into another directory, or move "
                "this one away"
            )
        return attrs.evolve(_copy(backup, target, directory), path=directory)
    finally:
        lock.release()


def _copy(source: Path, target: Path, named: Path) -> Backup:
    partial = target.with_name(target.name + _PARTIAL)
    try:
        partial.unlink(missing_ok=True)
        epoch = _copy_database(source, partial)
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        size = partial.stat().st_size
        partial.rename(target)
        sync_directory(target.parent)
    except sqlite3.Error as error:
        partial.unlink(missing_ok=True)
        raise StoreError(f"{named} was not written: {explain(error, source)}") from error
    except OSError as error:
        raise StoreError(f"{named} was not written: {error}") from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return Backup(path=target, size_bytes=size, epoch=epoch)


def _copy_database(source: Path, target: Path) -> str:
    # For the owner's eyes only, from the first byte on.
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with _opened(source) as old, _opened(target) as new:
        (application_id,) = old.execute("PRAGMA application_id").fetchone()
        if application_id != APPLICATION_ID:
            raise StoreError(f"{source} is no store of a hub, nor a backup of one")
        # In one step: between steps a writer's commit would send it back to the first page.
        old.backup(new, pages=_EVERYTHING)
        # A file by itself, without a write-ahead log beside it.
        new.execute("PRAGMA journal_mode = DELETE").fetchall()
        problems = [row[0] for row in new.execute("PRAGMA quick_check").fetchall()]
        if problems != ["ok"]:
            raise StoreError(
                f"{source} is damaged, so no copy of it was kept: {problems[0]}; salvage it with "
                "`sqlite3 FILE .recover`"
            )
        read_epoch(new)
        epoch = secrets.token_hex(16)
        new.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", (epoch,))
    return epoch


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    # "rw" so that nothing is made where nothing is, and so that a store whose hub was killed can
    # be read: SQLite wants to bring its write-ahead log in order.
    uri = f"{path.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        yield connection


def compact(directory: Path) -> tuple[int, int]:
    """
    Give the disk back what deleted records have left; return the size before and after, in bytes.

    Blocks; call it in a thread. No hub may be using the store. It needs as much free disk as the
    store will have, and a crash at any moment leaves the store as it was.

    Raises:
        StoreError: There is no store, it is in use, or it cannot be rewritten.
    """
    database = directory / DATABASE_NAME
    if not database.is_file():
        raise StoreError(f"{directory} holds no store: there is no {DATABASE_NAME}")
    lock = DirectoryLock(directory)
    try:
        before = database.stat().st_size
        with _opened(database) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return before, database.stat().st_size
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"nothing was compacted: {explain(error, database)}") from error
    finally:
        lock.release()
