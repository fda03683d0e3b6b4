"""
What one transaction is going to do, worked out before it begins.

A batch whose expectations do not hold is refused here, alone, while the batches around it go
on: nothing of it has reached the database. Lengths and ids of logs are kept in memory, so an
append to a log that was used before asks the database nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import assert_never
from zlib import crc32

import attrs

from ..errors import StoreError
from ._checks import trims_too_far
from ._places import LOG_RECORDS_MAX, LOGS_MAX, first_place, log_id_of, log_length
from .base import Append, Change, Delete, Put, Trim

__all__ = [
    "PATHS_REMEMBERED_MAX",
    "LogTable",
    "Plan",
    "Step",
    "document_checksum",
    "record_checksum",
]

_INSERT_LOG = "INSERT INTO logs (path, log_id) VALUES (?, ?)"
_INSERT_RECORD = "INSERT INTO records (place, record, checksum) VALUES (?, ?, ?)"
_PUT_DOCUMENT = "INSERT OR REPLACE INTO documents (path, data, checksum) VALUES (?, ?, ?)"
_DELETE_DOCUMENT = "DELETE FROM documents WHERE path = ?"
_DELETE_LOG = "DELETE FROM logs WHERE path = ?"
_DELETE_RECORDS = "DELETE FROM records WHERE place >= ? AND place < ?"
_TRIM_LOG = "UPDATE logs SET first = ? WHERE path = ? AND first < ?"

# Paths remembered, some 250 bytes each. A hub with more than this many in use forgets those that
# were written longest ago, and looks them up again.
PATHS_REMEMBERED_MAX = 50_000

#: Statements with their rows, which touch different tables and so need no order among them.
Step = dict[str, list[tuple[object, ...]]]


def record_checksum(record: bytes, position: int) -> int:
    """Return the checksum of a record at its place; one that moved is as wrong as one that changed."""
    return crc32(record, position & 0xFFFFFFFF)


def document_checksum(data: bytes, path: str) -> int:
    """Return the checksum of a document at its path."""
    return crc32(data, crc32(path.encode()))


@attrs.define(eq=False)
class _Log:
    log_id: int
    length: int


class LogTable:
    """
    What is known of the committed logs: remembered, or looked up.

    What is gone is not remembered: hubs make logs and documents all their life, and delete them.

    Args:
        connection: The writer's. No other connection changes the database.
        remembered_max: For so many paths it is remembered what stands there.
    """

    def __init__(
        self, connection: sqlite3.Connection, remembered_max: int = PATHS_REMEMBERED_MAX
    ) -> None:
        self._connection = connection
        self._remembered_max = remembered_max
        # None at a path: a document. In the order of the last transaction that was about it.
        self._logs: dict[str, _Log | None] = {}
        # Every log has a record, so this one seek finds the highest id in use.
        (highest,) = connection.execute("SELECT max(place) FROM records").fetchone()
        self.next_log_id: int = log_id_of(highest or 0) + 1

    def log(self, path: str) -> _Log | None:
        """Return the log at `path`, or None. Raises `sqlite3.Error`."""
        try:
            return self._logs[path]
        except KeyError:
            row = self._connection.execute(
                "SELECT log_id FROM logs WHERE path = ?", (path,)
            ).fetchone()
            return None if row is None else _Log(row[0], log_length(self._connection, row[0]))

    def __len__(self) -> int:
        """For how many paths it is remembered what stands there."""
        return len(self._logs)

    def has_document(self, path: str) -> bool:
        """Whether a document stands at `path`. Raises `sqlite3.Error`."""
        row = self._connection.execute("SELECT 1 FROM documents WHERE path = ?", (path,))
        return row.fetchone() is not None

    def look_through(self, log_id: int, first: int) -> None:
        """Read what stands before `first` in a log. Raises `sqlite3.Error` where that is damaged."""
        query = "SELECT count(*) FROM records WHERE place >= ? AND place < ?"
        start = first_place(log_id)
        self._connection.execute(query, (start, start + first)).fetchone()

    def learn(
        self, logs: dict[str, _Log | None], documents: dict[str, bool], next_log_id: int
    ) -> None:
        """
        Take over what a transaction left; call it only after its COMMIT.

        Args:
            logs: What it touched; None where no log stands now.
            documents: Where it wrote a document (True), or knows that there is none.
            next_log_id: The id that the next new log gets.
        """
        remembered = self._logs
        for path, log in logs.items():
            remembered.pop(path, None)
            if log is not None or documents.get(path):
                remembered[path] = log
        while len(remembered) > self._remembered_max:
            del remembered[next(iter(remembered))]
        self.next_log_id = next_log_id


class Plan:
    """
    The steps of one transaction, gathered batch by batch.

    Args:
        table: What is committed.
    """

    def __init__(self, table: LogTable) -> None:
        self._table = table
        self._logs: dict[str, _Log | None] = {}
        self._documents: dict[str, bool] = {}
        self._next_log_id = table.next_log_id
        self.steps: list[Step] = [{}]

    def add(self, changes: Sequence[Change]) -> tuple[int, ...]:
        """
        Plan a batch after those that were added before it; return its positions.

        Raises:
            StoreError: It does not fit what is there. The plan stays as it was.
            sqlite3.Error: What is there cannot be read. The plan stays as it was.
        """
        batch = _Batch(self)
        for change in changes:
            match change:
                case Append():
                    batch.append(change)
                case Put():
                    batch.put(change)
                case Delete():
                    batch.delete(change.path)
                case Trim():
                    batch.trim(change)
                case _:
                    assert_never(change)
        self._logs.update(batch.logs)
        self._documents.update(batch.documents)
        self._next_log_id = batch.next_log_id
        first, *rest = batch.steps
        for statement, rows in first.items():
            self.steps[-1].setdefault(statement, []).extend(rows)
        self.steps.extend(rest)
        return tuple(batch.positions)

    def committed(self) -> None:
        """Say that the transaction is durable."""
        self._table.learn(self._logs, self._documents, self._next_log_id)

    def log(self, path: str) -> _Log | None:
        """Return the log at `path` as the batches so far leave it."""
        return self._logs[path] if path in self._logs else self._table.log(path)

    def has_document(self, path: str) -> bool:
        """Whether the batches so far leave a document at `path`."""
        known = self._documents.get(path)
        return self._table.has_document(path) if known is None else known

    def look_through(self, log_id: int, first: int) -> None:
        """Read what a log has before `first`. Raises `sqlite3.Error` where that is damaged."""
        self._table.look_through(log_id, first)

    @property
    def next_log_id(self) -> int:
        """The id that the next new log gets."""
        return self._next_log_id


class _Batch:
    """One batch on trial: its own view of logs and documents, dropped if it is refused."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.logs: dict[str, _Log | None] = {}
        self.documents: dict[str, bool] = {}
        self.next_log_id = plan.next_log_id
        self.positions: list[int] = []
        self.steps: list[Step] = [{}]

    def append(self, change: Append) -> None:
        path = change.path
        log = self._log(path)
        position = 0 if log is None else log.length
        if change.position is not None and change.position != position:
            raise StoreError(
                f"the log {path} has {position} records, so position {change.position} is not "
                "next: read its length and try again. Nothing was kept"
            )
        if log is None:
            if self._has_document(path):
                raise StoreError(f"{path} is a document; nothing can be appended to it")
            if self.next_log_id >= LOGS_MAX:
                raise StoreError(f"no log can be begun at {path}: the store has had {LOGS_MAX}")
            log = self.logs[path] = _Log(self.next_log_id, 0)
            self.next_log_id += 1
            self._add(_INSERT_LOG, path, log.log_id)
        elif position >= LOG_RECORDS_MAX:
            raise StoreError(f"the log {path} is full: it has {position} records")
        checksum = record_checksum(change.record, position)
        self._add(_INSERT_RECORD, first_place(log.log_id) + position, change.record, checksum)
        log.length = position + 1
        self.positions.append(position)

    def put(self, change: Put) -> None:
        path = change.path
        if self._log(path) is not None:
            raise StoreError(f"{path} is a log; delete it before writing a document there")
        self.documents[path] = True
        self._add(_PUT_DOCUMENT, path, change.data, document_checksum(change.data, path))

    def delete(self, path: str) -> None:
        # A step of its own: what came before must be written first, what comes after, later.
        step: Step = {_DELETE_DOCUMENT: [(path,)]}
        log = self._log(path)
        if log is not None:
            start = first_place(log.log_id)
            step[_DELETE_RECORDS] = [(start, start + LOG_RECORDS_MAX)]
            step[_DELETE_LOG] = [(path,)]
        self.steps += (step, {})
        self.logs[path] = None
        self.documents[path] = False

    def trim(self, change: Trim) -> None:
        path, first = change.path, change.first
        log = self._log(path)
        length = 0 if log is None else log.length
        if log is None or first >= length:
            raise StoreError(trims_too_far(path, first, length))
        # A damaged page must fail this batch, and not those that share its transaction.
        self._plan.look_through(log.log_id, first)
        # A step of its own, as in `delete`.
        start = first_place(log.log_id)
        step: Step = {_DELETE_RECORDS: [(start, start + first)], _TRIM_LOG: [(first, path, first)]}
        self.steps += (step, {})

    def _log(self, path: str) -> _Log | None:
        if path in self.logs:
            return self.logs[path]
        found = self._plan.log(path)
        # A copy: the batch may yet be refused.
        log = self.logs[path] = None if found is None else _Log(found.log_id, found.length)
        return log

    def _has_document(self, path: str) -> bool:
        known = self.documents.get(path)
        return self._plan.has_document(path) if known is None else known

    def _add(self, statement: str, *row: object) -> None:
        self.steps[-1].setdefault(statement, []).append(row)
