"""
`MemoryKnowledgeStore`: everything in dictionaries, nothing on disk.

For tests, demos and hubs that may forget. It keeps every promise of `KnowledgeStore` but
durability: what it holds outlives leaving and entering the same object again (so a test can
restart a hub on it), and ends with the process.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import assert_never

import attrs
import trio

from ..errors import StoreError
from ._checks import (
    checked_changes,
    checked_range,
    child_prefix,
    records_trimmed,
    trims_too_far,
)
from ._shell import StoreShell
from .base import Append, Change, Delete, Put, StoreHealth, Trim

__all__ = ["MemoryKnowledgeStore", "MemoryLog"]


@attrs.define(eq=False)
class MemoryLog:
    """
    A log.

    Attributes:
        first: The position of the first record that is there.
        records: It and those behind it.
    """

    first: int = 0
    records: list[bytes] = attrs.field(factory=list)

    def __len__(self) -> int:
        return self.first + len(self.records)

    def trim(self, first: int) -> None:
        """Begin at `first`, or where it begins already."""
        del self.records[: max(first - self.first, 0)]
        self.first = max(first, self.first)


class MemoryKnowledgeStore(StoreShell):
    """A `KnowledgeStore` that lives and dies with the process."""

    def __init__(self) -> None:
        super().__init__()
        self._epoch = secrets.token_hex(16)
        self._documents: dict[str, bytes] = {}
        self._logs: dict[str, MemoryLog] = {}

    def __repr__(self) -> str:
        return f"<MemoryKnowledgeStore of {len(self._documents)} documents, {len(self._logs)} logs>"

    @property
    def epoch(self) -> str:
        """The identity of this object's content, 32 hex digits."""
        self._require_open()
        return self._epoch

    async def commit(self, changes: Sequence[Change]) -> tuple[int, ...]:
        """
        Keep all of `changes`, or nothing of them; return the positions of the appended records.

        Raises:
            StoreError: A record's position is not the end of its log, or a path is used both
                for a document and a log. Nothing was kept.

        Cancellation: happens before anything was kept, or not at all.
        """
        self._require_open()
        checked = checked_changes(changes)
        await trio.lowlevel.checkpoint_if_cancelled()
        # From here to the end of `_apply` nothing else runs, which is what makes it one batch
        # and keeps batches in the order in which commit was called.
        positions = self._plan(checked)
        self._apply(checked)
        self._feed.tell(checked)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return positions

    def _plan(self, changes: Iterable[Change]) -> tuple[int, ...]:
        lengths: dict[str, int | None] = {}
        documents: dict[str, bool] = {}
        positions: list[int] = []
        for change in changes:
            path = change.path
            if path not in lengths:
                log = self._logs.get(path)
                lengths[path] = None if log is None else len(log)
                documents[path] = path in self._documents
            match change:
                case Append(position=expected):
                    if documents[path]:
                        raise StoreError(f"{path} is a document; nothing can be appended to it")
                    position = lengths[path] or 0
                    if expected is not None and expected != position:
                        raise StoreError(
                            f"the log {path} has {position} records, so position {expected} is "
                            "not next: read its length and try again. Nothing was kept"
                        )
                    positions.append(position)
                    lengths[path] = position + 1
                case Put():
                    if lengths[path] is not None:
                        raise StoreError(f"{path} is a log; delete it before writing a document")
                    documents[path] = True
                case Delete():
                    lengths[path], documents[path] = None, False
                case Trim(first=first):
                    length = lengths[path] or 0
                    if first >= length:
                        raise StoreError(trims_too_far(path, first, length))
                case _:
                    assert_never(change)
        return tuple(positions)

    def _apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            match change:
                case Append(path, record):
                    self._logs.setdefault(path, MemoryLog()).records.append(record)
                case Put(path, data):
                    self._documents[path] = data
                case Delete(path):
                    self._documents.pop(path, None)
                    self._logs.pop(path, None)
                case Trim(path, first):
                    self._logs[path].trim(first)
                case _:
                    assert_never(change)

    async def read(self, path: str) -> bytes | None:
        """Return the document at `path`, or None. Cancellation: changes nothing."""
        place = self._place(path)
        await trio.lowlevel.checkpoint()
        return self._documents.get(place)

    async def read_under(self, prefix: str) -> dict[str, bytes]:
        """Return every document below `prefix`, in order of path. Cancellation: changes nothing."""
        below = child_prefix(self._folder(prefix))
        await trio.lowlevel.checkpoint()
        return {p: d for p, d in sorted(self._documents.items()) if p.startswith(below)}

    async def read_range(self, path: str, start: int, stop: int | None = None) -> list[bytes]:
        """
        Return the records of a log at positions `start` to `stop` (exclusive; None is the end).

        Raises:
            RecordsTrimmed: Some of them were trimmed.

        Cancellation: changes nothing.
        """
        place = self._place(path)
        lower, upper = checked_range(start, stop)
        await trio.lowlevel.checkpoint()
        log = self._logs.get(place)
        if log is None:
            return []
        if lower < min(log.first, upper):
            raise records_trimmed(place, log.first)
        return log.records[max(lower - log.first, 0) : max(upper - log.first, 0)]

    async def read_page(self, path: str, start: int, stop: int, bytes_max: int) -> list[bytes]:
        """
        Return records as `read_range` does, but none behind the one that reaches `bytes_max`.

        Raises and cancellation: as there.
        """
        records = await self.read_range(path, start, stop)
        size = 0
        for count, record in enumerate(records, 1):
            size += len(record)
            if size >= bytes_max:
                return records[:count]
        return records

    async def length(self, path: str) -> int:
        """Return the number of records in the log at `path`. Cancellation: changes nothing."""
        place = self._place(path)
        await trio.lowlevel.checkpoint()
        return len(self._logs.get(place, ()))

    async def lengths_under(self, prefix: str) -> dict[str, int]:
        """Return the length of every log below `prefix`. Cancellation: changes nothing."""
        below = child_prefix(self._folder(prefix))
        await trio.lowlevel.checkpoint()
        return {p: len(log) for p, log in sorted(self._logs.items()) if p.startswith(below)}

    async def first(self, path: str) -> int:
        """Return where the log at `path` begins. Cancellation: changes nothing."""
        place = self._place(path)
        await trio.lowlevel.checkpoint()
        log = self._logs.get(place)
        return 0 if log is None else log.first

    async def firsts_under(self, prefix: str) -> dict[str, int]:
        """Return where the trimmed logs below `prefix` begin. Cancellation: changes nothing."""
        below = child_prefix(self._folder(prefix))
        await trio.lowlevel.checkpoint()
        logs = sorted(self._logs.items())
        return {p: log.first for p, log in logs if log.first and p.startswith(below)}

    async def exists(self, path: str) -> bool:
        """Whether a document or log is at `path`. Cancellation: changes nothing."""
        place = self._place(path)
        await trio.lowlevel.checkpoint()
        return place in self._documents or place in self._logs

    async def list(self, path: str = "/") -> list[str]:
        """Return the names directly below `path`, sorted. Cancellation: changes nothing."""
        below = child_prefix(self._folder(path))
        await trio.lowlevel.checkpoint()
        names: set[str] = set()
        for place in (*self._documents, *self._logs):
            if place.startswith(below):
                name, slash, _ = place[len(below) :].partition("/")
                names.add(name + slash)
        return sorted(names)

    def health(self) -> StoreHealth:
        """Say how the store is doing: always well, never durable."""
        return StoreHealth(ok=True, durable=False, problems=tuple(self._problems))

    async def _open(self) -> None:
        await trio.lowlevel.checkpoint()

    async def _close(self) -> None:
        await trio.lowlevel.checkpoint()
