"""
How a connection to the database is set up, and what its errors mean.

Everything that must be true of a connection for a commit to be durable stands in `connect`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from ..errors import StoreError

__all__ = ["Connect", "connect", "explain", "is_damage"]

#: Opens the database at a path. Tests pass their own, to count commits or to make them fail.
Connect = Callable[[Path], sqlite3.Connection]

# After a checkpoint the write-ahead log is cut back to this, so that one burst does not hold
# disk space for ever.
_WAL_BYTES_KEPT = 64 * 1024 * 1024


def connect(
    path: Path, factory: type[sqlite3.Connection] = sqlite3.Connection
) -> sqlite3.Connection:
    """
    Open the database at `path` so that a COMMIT that returned has survived a power cut.

    Raises:
        StoreError: The file system cannot do what a write-ahead log needs.
        sqlite3.Error: The file cannot be opened, or is no database.
    """
    connection = sqlite3.connect(
        path,
        timeout=5.0,
        # Transactions are begun and ended by name, never behind our back.
        isolation_level=None,
        # Each connection is used by one thread at a time, but not always by the same one.
        check_same_thread=False,
        factory=factory,
    )
    try:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreError(
                f"the file system of {path} cannot hold a write-ahead log (SQLite answered "
                f"{mode!r}): put the store on a local disk"
            )
        # NORMAL would sync only at checkpoints, and lose acknowledged commits with the power.
        connection.execute("PRAGMA synchronous = FULL")
        # On macOS a plain fsync stops at the drive's cache; elsewhere these two do nothing.
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def is_damage(error: BaseException) -> bool:
    """
    Whether an error says that the bytes on disk are wrong, rather than that a disk failed.

    Text that is no UTF-8 is reported without any code of SQLite's: it was met by Python.
    """
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def explain(error: BaseException, path: Path) -> str:
    """Say in one sentence what failed and what an operator can do about it."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    match code:
        case sqlite3.SQLITE_FULL:
            advice = "the disk is full: make room"
        case sqlite3.SQLITE_IOERR:
            advice = "the disk or its file system reported an error: look at the system's log"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            advice = "check that the file and its directory exist and can be written"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            advice = "another program holds a lock on the file: close it"
        case sqlite3.SQLITE_NOTADB:
            advice = (
                "the file is no SQLite database; nothing was changed in it. Restore the whole "
                "directory from backup, or move it away to start with an empty store"
            )
        case sqlite3.SQLITE_CORRUPT:
            advice = (
                "the database is damaged; nothing was changed in it. Restore the whole directory "
                "from backup, or stop the hub and salvage it with `sqlite3 FILE .recover`"
            )
        case _:
            advice = "see the cause below"
    return f"{path}: {error} ({advice})"
