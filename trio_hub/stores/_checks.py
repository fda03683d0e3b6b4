"""
What a store asks of its callers, checked before anything is queued.

A batch that is wrong in itself must hurt nobody but its own caller, so it is refused here, on
the caller's own stack, long before it could share a transaction with the batches of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import attrs

from ..errors import RecordsTrimmed, TooLarge
from .base import Append, Change, Delete, Put, Trim, normalize_path

__all__ = [
    "BLOB_BYTES_MAX",
    "POSITION_MAX",
    "checked_changes",
    "checked_path",
    "checked_range",
    "child_prefix",
    "folder_path",
    "records_trimmed",
    "trims_too_far",
]

#: One document or record of a store. SQLite stops at 1 GB; half of it leaves room for the rest of the
#: row.
BLOB_BYTES_MAX = 512 * 1024 * 1024

#: Positions of a log that may be asked for, signed 64-bit integers; no log gets that long.
POSITION_MAX = 2**63 - 1


@lru_cache(maxsize=8192)
def checked_path(path: str) -> str:
    """
    Return the one form of a path that something can stand at.

    The cache is there because a busy log is appended to thousands of times a second.

    Raises:
        ValueError: It is the root, or `normalize_path` refuses it, or it is no valid Unicode.
    """
    normal = folder_path(path)
    if normal == "/":
        raise ValueError("nothing can stand at '/' itself: give a path below it")
    return normal


def folder_path(path: str) -> str:
    """Return the one form of a path that may also be the root. Raises `ValueError`."""
    try:
        path.encode()
    except UnicodeEncodeError as exc:
        raise ValueError(f"{path!r} is no path of a store: it is no valid Unicode") from exc
    return normalize_path(path)


def child_prefix(folder: str) -> str:
    """Return what every path below the (normal) `folder` begins with."""
    return folder if folder == "/" else folder + "/"


def checked_changes(changes: Sequence[Change]) -> list[Change]:
    """
    Return the batch with every path in its one form.

    Raises:
        ValueError: A path that no store takes, or a position below 0.
        TypeError: A change that is none, or data that is not `bytes`.
        TooLarge: A document or record over `BLOB_BYTES_MAX`.
    """
    checked: list[Change] = []
    for change in changes:
        match change:
            case Append(record=data, position=position):
                if position is not None and not 0 <= position < POSITION_MAX:
                    raise ValueError(f"{position} is no position in the log {change.path!r}")
                _check_data(change.path, data)
            case Put(data=data):
                _check_data(change.path, data)
            case Delete():
                pass
            case Trim(first=first):
                if not 0 <= first < POSITION_MAX:
                    raise ValueError(f"{first} is no position in the log {change.path!r}")
            case _:
                raise TypeError(f"{change!r} is no change: give Put, Append, Delete or Trim")
        path = checked_path(change.path)
        # Paths are nearly always in their one form already; then the change is used as it is.
        checked.append(change if path == change.path else attrs.evolve(change, path=path))
    return checked


def checked_range(start: int, stop: int | None) -> tuple[int, int]:
    """Return the bounds of a read, with what cannot exist cut off."""
    upper = POSITION_MAX if stop is None else min(stop, POSITION_MAX)
    return min(max(start, 0), POSITION_MAX), max(upper, 0)


def trims_too_far(path: str, first: int, length: int) -> str:
    """Return what is wrong with a `Trim` to a position that has no record."""
    return (
        f"the log {path} has {length} records, so it cannot begin at {first}: the last one stays. "
        "Nothing was kept"
    )


def records_trimmed(path: str, first: int) -> RecordsTrimmed:
    """Return the error for a read of what was trimmed."""
    return RecordsTrimmed(
        f"the log {path} begins at {first}: what stood before was trimmed. Read from there",
        path=path,
        first=first,
    )


def _check_data(path: str, data: bytes) -> None:
    if type(data) is not bytes:
        # A bytearray could change between the checksum and the disk.
        raise TypeError(f"what is kept at {path!r} must be bytes, not {type(data).__name__}")
    if len(data) > BLOB_BYTES_MAX:
        raise TooLarge(
            f"{len(data)} bytes for {path!r} are more than the {BLOB_BYTES_MAX} that a store "
            "keeps in one piece: split them"
        )
