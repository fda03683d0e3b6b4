"""
What a disk may hold after the power was cut while SQLite was committing.

A commit in WAL mode writes frames to the ``-wal`` file and syncs it; then, now and then, it
copies pages into the main file and syncs that. Whatever was synced before is on the disk. Of
what is written between two syncs, any part may be: sectors arrive in any order, in part, or not
at all. `PowerMeter` sits in the connection that writes, keeps the files as they were before a
COMMIT and after it, and `files_after_cut` puts together a state in between that the disk is
allowed to be in. The ``-shm`` file is shared memory and means nothing after a cut.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import attrs

from trio_hub.stores._connection import connect
from trio_hub.stores.disk import DATABASE_NAME

__all__ = ["Cut", "PowerMeter", "files_after_cut"]

_SECTOR_BYTES = 512
# A write-ahead log that is copied back and begun anew every few commits, not every thousand pages.
_AUTOCHECKPOINT_PAGES = 60


@attrs.frozen
class _Files:
    database: bytes
    wal: bytes


@attrs.frozen
class Cut:
    """
    One COMMIT, before and after, and what the world had been told by then.

    Attributes:
        known: Whatever `PowerMeter` was to ask when the COMMIT began. What it tells of was
            acknowledged earlier, so earlier commits hold it.
    """

    before: _Files
    after: _Files
    known: object


@attrs.define(eq=False)
class PowerMeter:
    """
    Watches commits; its `connect` goes into a `DiskKnowledgeStore`.

    Attributes:
        ask: Called in the writer's thread when the COMMIT begins at which the power fails.
        tell: Called in the writer's thread with the cut.
    """

    ask: Callable[[], object]
    tell: Callable[[Cut], None]
    _commits_left: int | None = None

    def arm(self, commits: int) -> None:
        """Cut the power at the COMMIT that comes after `commits` others."""
        self._commits_left = commits

    def connect(self, path: Path) -> sqlite3.Connection:
        """Open a connection as the store would, and watch it."""
        meter = self

        class Watched(sqlite3.Connection):
            def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:  # type: ignore[override]
                # A change outside of a transaction is one by itself.
                commits = sql == "COMMIT" or (not self.in_transaction and sql.startswith("INSERT"))
                if not commits or not meter.is_due():
                    return super().execute(sql, *parameters)  # type: ignore[arg-type]
                known = meter.ask()
                before = _read(path)
                cursor = super().execute(sql, *parameters)  # type: ignore[arg-type]
                meter.tell(Cut(before, _read(path), known))
                return cursor

        connection = connect(path, Watched)
        (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
        assert synchronous == 2, "only with FULL is a COMMIT that returned on the disk"
        connection.execute(f"PRAGMA wal_autocheckpoint = {_AUTOCHECKPOINT_PAGES}").fetchall()
        return connection

    def is_due(self) -> bool:
        """Count a COMMIT; True where the power fails at it."""
        if self._commits_left is None:
            return False
        if self._commits_left:
            self._commits_left -= 1
            return False
        self._commits_left = None
        return True


def files_after_cut(cut: Cut, directory: Path, rng: random.Random) -> None:
    """Write into `directory` what a disk may hold after `cut`."""
    directory.mkdir()
    if rng.random() < 0.75:
        # Before the frames were synced: nothing of the main file had been touched yet.
        database, wal = cut.before.database, _torn(cut.before.wal, cut.after.wal, rng)
    else:
        # After that: they are there, and pages were on their way into the main file.
        database, wal = _torn(cut.before.database, cut.after.database, rng), cut.after.wal
    (directory / DATABASE_NAME).write_bytes(database)
    (directory / f"{DATABASE_NAME}-wal").write_bytes(wal)
    (directory / "created").write_text("A store was made here.\n")
    if rng.random() < 0.3:
        (directory / f"{DATABASE_NAME}-shm").write_bytes(rng.randbytes(32768))


def _read(path: Path) -> _Files:
    wal = path.with_name(f"{DATABASE_NAME}-wal")
    return _Files(path.read_bytes(), wal.read_bytes() if wal.exists() else b"")


def _torn(before: bytes, after: bytes, rng: random.Random) -> bytes:
    """Return a file in which only some of what was written has arrived."""
    size = max(len(before), rng.choice((0, len(after), rng.randrange(len(after) + 1))))
    result = bytearray(before.ljust(size, b"\0"))
    arrives, garbled = rng.choice(((0.0, 0.0), (0.5, 0.0), (0.9, 0.0), (1.0, 0.0), (0.7, 0.2)))
    for start in range(0, min(size, len(after)), _SECTOR_BYTES):
        stop = min(start + _SECTOR_BYTES, size, len(after))
        changed = [at for at in range(start, stop) if result[at] != after[at]]
        # Bytes that were not written are never touched: what disks call powersafe overwrite.
        if changed and rng.random() < arrives:
            low, high = changed[0], changed[-1] + 1
            is_garbled = rng.random() < garbled
            result[low:high] = rng.randbytes(high - low) if is_garbled else after[low:high]
    return bytes(result)
