"""
The connection that reads, so that no read waits for a commit.

Everything that comes off the disk is checked here before anybody sees it. Damage is met piece by
piece: what can still be read is read, and what cannot is named.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import attrs

from ..errors import DamagedRecord, StoreError
from ._checks import child_prefix, records_trimmed
from ._connection import Connect, explain, is_damage
from ._places import LOG_RECORDS_MAX, first_place, log_length, position_at
from ._plan import document_checksum, record_checksum

__all__ = ["Reader"]

_T = TypeVar("_T")

#: A row: the path, then what stands there.
_Row = tuple[Any, ...]

_DOCUMENT = "SELECT data, checksum FROM documents WHERE path = ?"
_LOG_ID = "SELECT log_id FROM logs WHERE path = ?"
_RECORDS = """
    SELECT place, record, checksum FROM records WHERE place >= ? AND place < ? ORDER BY place
"""
_RECORD = "SELECT record, checksum FROM records WHERE place = ?"
_FIRST = "SELECT first FROM logs WHERE path = ?"
_FIRSTS = "SELECT path, first FROM logs WHERE path > ? AND path < ? AND first > 0 ORDER BY path"
_EXISTS = "SELECT 1 FROM documents WHERE path = ? UNION ALL SELECT 1 FROM logs WHERE path = ?"


@attrs.frozen
class _Table:
    """How one table is walked by path; what lies between two paths."""

    name: str
    forwards: str
    backwards: str
    next_path: str


_DOCUMENTS = _Table(
    "documents",
    "SELECT path, data, checksum FROM documents WHERE path > ? AND path < ? ORDER BY path",
    "SELECT path, data, checksum FROM documents WHERE path > ? AND path < ? ORDER BY path DESC",
    "SELECT path FROM documents WHERE path >= ? AND path < ? ORDER BY path LIMIT 1",
)
_LOGS = _Table(
    "logs",
    "SELECT path FROM logs WHERE path > ? AND path < ? ORDER BY path",
    "SELECT path FROM logs WHERE path > ? AND path < ? ORDER BY path DESC",
    "SELECT path FROM logs WHERE path >= ? AND path < ? ORDER BY path LIMIT 1",
)


class Reader:
    """
    Reads documents and logs. Every method blocks and belongs in a thread, one call at a time.

    Args:
        path: The database file.
        connect: Opens a connection to it.
        note: Called (from the thread) with a sentence for each thing that was left out.
    """

    def __init__(self, path: Path, connect: Connect, note: Callable[[str], None]) -> None:
        self._path = path
        self._connect = connect
        self._note = note
        self._connection: sqlite3.Connection | None = connect(path)

    def run(self, ask: Callable[[sqlite3.Connection], _T]) -> _T:
        """
        Call `ask` (a method of this class without its connection) on one state of the database.

        Raises:
            DamagedRecord: As `ask` says.
            StoreError: The database could not be read; the next call tries a new connection.
        """
        try:
            if self._connection is None:
                self._connection = self._connect(self._path)
            return self._run(self._connection, ask)
        except sqlite3.Error as exc:
            self.close()
            raise StoreError(f"nothing could be read from {explain(exc, self._path)}") from exc

    def _run(self, connection: sqlite3.Connection, ask: Callable[[sqlite3.Connection], _T]) -> _T:
        connection.execute("BEGIN")
        try:
            answer = ask(connection)
        except StoreError:
            connection.execute("ROLLBACK")
            raise
        # After an error of SQLite's own the connection is closed instead.
        connection.execute("ROLLBACK")
        return answer

    def close(self) -> None:
        """Close the connection; a later `run` opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def document(self, connection: sqlite3.Connection, path: str) -> bytes | None:
        """Return the document at `path`, or None. Raises `DamagedRecord` with position -1."""
        try:
            row = connection.execute(_DOCUMENT, (path,)).fetchone()
        except sqlite3.DatabaseError as exc:
            if is_damage(exc):
                raise _damaged_document(path) from exc
            raise
        if row is None:
            return None
        return _sound_document(path, *row)

    def documents_under(self, connection: sqlite3.Connection, prefix: str) -> dict[str, bytes]:
        """Return every sound document below `prefix` and note the others."""
        found: dict[str, bytes] = {}
        for path, data, checksum in self._scan(connection, _DOCUMENTS, prefix):
            try:
                found[path] = _sound_document(path, data, checksum)
            except DamagedRecord as exc:
                self._note(f"left out: {exc}")
        return found

    def records(
        self,
        connection: sqlite3.Connection,
        path: str,
        start: int,
        stop: int,
        bytes_max: float = math.inf,
    ) -> list[bytes]:
        """
        Return the records of a log from `start` to `stop`, or up to the one that reaches `bytes_max`.

        Raises `DamagedRecord`, or `RecordsTrimmed`.
        """
        page = _Page(path, start, bytes_max)
        try:
            place = _place(connection, path)
            if place is None:
                return []
            lower, upper = min(start, LOG_RECORDS_MAX), min(stop, LOG_RECORDS_MAX)
            with closing(connection.execute(_RECORDS, (place + lower, place + upper))) as rows:
                for stands_at, record, checksum in rows:
                    position = position_at(stands_at)
                    if not page.records and position != start:
                        self._check_trimmed(connection, path, start, stop)
                    if not page.takes(position, record, checksum):
                        break
        except sqlite3.DatabaseError as exc:
            if not is_damage(exc):
                raise
            self._check_trimmed(connection, path, start, stop)
            return self._records_one_by_one(connection, stop, _Page(path, start, bytes_max))
        if not page.records:
            self._check_trimmed(connection, path, start, stop)
        return page.records

    def length(self, connection: sqlite3.Connection, path: str) -> int:
        """Return the number of records in the log at `path`. Raises `DamagedRecord`, position -1."""
        try:
            return _length(connection, path)
        except sqlite3.DatabaseError as exc:
            if is_damage(exc):
                raise _damaged_end(path) from exc
            raise

    def lengths_under(self, connection: sqlite3.Connection, prefix: str) -> dict[str, int]:
        """Return the length of every readable log below `prefix` and note the others."""
        lengths: dict[str, int] = {}
        for (path,) in self._scan(connection, _LOGS, prefix):
            try:
                lengths[path] = self.length(connection, path)
            except DamagedRecord:
                self._note(f"left out: the log {path}, whose end cannot be read")
        return lengths

    def first(self, connection: sqlite3.Connection, path: str) -> int:
        """Return where the log at `path` begins."""
        row = connection.execute(_FIRST, (path,)).fetchone()
        return 0 if row is None else int(row[0])

    def firsts_under(self, connection: sqlite3.Connection, prefix: str) -> dict[str, int]:
        """Return where the trimmed logs below `prefix` begin."""
        return dict(connection.execute(_FIRSTS, _bounds(prefix)).fetchall())

    def exists(self, connection: sqlite3.Connection, path: str) -> bool:
        """Whether a document or log is at `path`."""
        row = connection.execute(_EXISTS, (path, path)).fetchone()
        return row is not None

    def names(self, connection: sqlite3.Connection, folder: str) -> list[str]:
        """Return the names directly below `folder`, sorted."""
        found: set[str] = set()
        for table in (_DOCUMENTS, _LOGS):
            found.update(_names_in(connection, table, folder))
        return sorted(found)

    def _check_trimmed(
        self, connection: sqlite3.Connection, path: str, start: int, stop: int
    ) -> None:
        first = self.first(connection, path)
        if start < min(first, stop):
            raise records_trimmed(path, first)

    def _scan(self, connection: sqlite3.Connection, table: _Table, prefix: str) -> Iterator[_Row]:
        """
        Yield what `table` holds below `prefix`, in order of path, as far as it can be read.

        A damaged page ends the walk from the front; then the walk from the back brings what lies
        behind it, so that one page costs what stands on it and not the rest.
        """
        lower, upper = _bounds(prefix)
        reached = lower
        try:
            for row in connection.execute(table.forwards, (lower, upper)):
                reached = row[0]
                yield row
            return
        except sqlite3.DatabaseError as exc:
            if not is_damage(exc):
                raise
        after: list[_Row] = []
        until = upper
        try:
            for row in connection.execute(table.backwards, (reached, upper)):
                until = row[0]
                after.append(row)
        except sqlite3.DatabaseError as exc:
            if not is_damage(exc):
                raise
        self._note(
            f"left out: whatever the damaged table of {table.name} in {self._path} held between "
            f"{reached} and {until}"
        )
        yield from reversed(after)

    def _records_one_by_one(
        self, connection: sqlite3.Connection, stop: int, page: _Page
    ) -> list[bytes]:
        # Slow, and only for logs with damage in or near what was asked for: a walk also touches
        # the page behind its last record, so a bad page there must not spoil the good ones here.
        path = page.path
        place = _place(connection, path)
        assert place is not None, "the log was found a moment ago"
        for position in range(page.start, min(stop, LOG_RECORDS_MAX)):
            try:
                row = connection.execute(_RECORD, (place + position,)).fetchone()
                if row is None and position >= _length(connection, path):
                    break
            except sqlite3.DatabaseError as exc:
                if is_damage(exc):
                    raise _damaged_record(path, position) from exc
                raise
            if row is None:
                raise _damaged_record(path, position)
            if not page.takes(position, *row):
                break
        return page.records


class _Page:
    """Sound records of one log, one after another, up to the one that reaches `bytes_max`."""

    def __init__(self, path: str, start: int, bytes_max: float) -> None:
        self.path = path
        self.start = start
        self.records: list[bytes] = []
        self._room = bytes_max

    def takes(self, position: int, record: object, checksum: object) -> bool:
        """Take the next record. False: no more of them. Raises `DamagedRecord`."""
        # One that is missing in the middle is as bad as one that changed.
        expected = self.start + len(self.records)
        if position != expected:
            raise _damaged_record(self.path, expected)
        sound = _sound_record(self.path, position, record, checksum)
        self.records.append(sound)
        self._room -= len(sound)
        return self._room > 0


def _log_id(connection: sqlite3.Connection, path: str) -> int | None:
    row = connection.execute(_LOG_ID, (path,)).fetchone()
    return None if row is None else int(row[0])


def _place(connection: sqlite3.Connection, path: str) -> int | None:
    """Return where the log at `path` begins among all records."""
    log_id = _log_id(connection, path)
    return None if log_id is None else first_place(log_id)


def _length(connection: sqlite3.Connection, path: str) -> int:
    log_id = _log_id(connection, path)
    return 0 if log_id is None else log_length(connection, log_id)


def _bounds(prefix: str) -> tuple[str, str]:
    """Return what every path below `prefix` lies between ("0" is what follows "/" in order)."""
    below = child_prefix(prefix)
    return below, below[:-1] + "0"


def _names_in(connection: sqlite3.Connection, table: _Table, folder: str) -> Iterator[str]:
    # One seek for each name, however much lies below it.
    below, upper = _bounds(folder)
    seek = below
    while (row := connection.execute(table.next_path, (seek, upper)).fetchone()) is not None:
        name, slash, _ = row[0][len(below) :].partition("/")
        yield name + slash
        # Behind the exact path, or behind all that is below the folder.
        seek = f"{below}{name}0" if slash else f"{row[0]}\x01"


def _sound_document(path: str, data: object, checksum: object) -> bytes:
    if not isinstance(data, bytes) or document_checksum(data, path) != checksum:
        raise _damaged_document(path)
    return data


def _sound_record(path: str, position: int, record: object, checksum: object) -> bytes:
    if not isinstance(record, bytes) or record_checksum(record, position) != checksum:
        raise _damaged_record(path, position)
    return record


def _damaged_document(path: str) -> DamagedRecord:
    return DamagedRecord(
        f"the document {path} is damaged: its bytes are not those that were written. Write it "
        "anew or delete it",
        path=path,
        position=-1,
    )


def _damaged_end(path: str) -> DamagedRecord:
    return DamagedRecord(
        f"the end of the log {path} is damaged: how long it was cannot be told, and nothing can be "
        "appended to it. The records before can still be read; restore a backup for the others",
        path=path,
        position=-1,
    )


def _damaged_record(path: str, position: int) -> DamagedRecord:
    return DamagedRecord(
        f"record {position} of the log {path} is damaged: its bytes are not those that were "
        "written. The records around it can still be read",
        path=path,
        position=position,
    )
