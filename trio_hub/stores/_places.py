"""
Where a record stands in the database: log and position in one number, the rowid of its row.

SQLite adds to the end of a table that is sorted by its rowid without touching the pages before,
keeps nothing but numbers in the pages above the records, and lets a record of up to 4 kB stand
beside others. Sorted by two columns, the same records took twice the writes, and those of more than
a kilobyte twice the disk.
"""

from __future__ import annotations

import sqlite3
from typing import Final

__all__ = ["LOGS_MAX", "LOG_RECORDS_MAX", "first_place", "log_id_of", "log_length", "position_at"]

_POSITION_BITS: Final = 32

#: Records that one log can ever have. At ten thousand a second they last for five days, so nobody
#: gets there with a channel; who does is refused.
LOG_RECORDS_MAX: Final = 1 << _POSITION_BITS

#: Logs that a store can ever have: a rowid has 63 bits, and so has the one behind the last.
LOGS_MAX: Final = (1 << (63 - _POSITION_BITS)) - 1


def first_place(log_id: int) -> int:
    """Return the place of a log's position 0; the others count on from there."""
    return log_id << _POSITION_BITS


def log_id_of(place: int) -> int:
    """Return which log a place belongs to."""
    return place >> _POSITION_BITS


def position_at(place: int) -> int:
    """Return the position within its log."""
    return place & (LOG_RECORDS_MAX - 1)


def log_length(connection: sqlite3.Connection, log_id: int) -> int:
    """Return how long a log is, 0 where it has no record. Raises `sqlite3.Error`."""
    start = first_place(log_id)
    (last,) = connection.execute(
        "SELECT max(place) FROM records WHERE place >= ? AND place < ?",
        (start, start + LOG_RECORDS_MAX),
    ).fetchone()
    return 0 if last is None else position_at(last) + 1
