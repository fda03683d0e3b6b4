"""
The `KnowledgeStore` protocol: what the hub asks of whatever keeps its state.

A store is a tree of paths (``/channels/<id>/metadata``). Under a path stands either a *document*
(bytes that are replaced whole) or a *log* (records that are only ever appended, numbered from 0
by their *position*). Path shapes follow AG2's store; the log is made of records rather than of
text, because a hub reads pages of envelopes and a torn tail must cost one record, not a parse.

Changes come in *batches*: `commit` keeps all of a batch or nothing of it, and returns when it is
durable. `write`, `append` and `delete` are batches of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import attrs
import trio

from .._histogram import Histogram
from ..errors import StoreError

__all__ = [
    "Append",
    "Change",
    "Delete",
    "KnowledgeStore",
    "MeasuredStore",
    "Outcome",
    "PagingStore",
    "Put",
    "StoreHealth",
    "SubmittingStore",
    "Trim",
    "TrimmingStore",
    "WriteFigures",
    "normalize_path",
]


@attrs.frozen
class Put:
    """Replace the document at `path`."""

    path: str
    data: bytes


@attrs.frozen
class Append:
    """
    Add one record to the log at `path`.

    `position` is where the caller expects it to land; a store refuses the whole batch when the
    log is not exactly that long, so two writers that believe different things cannot both win.
    ``None`` takes whatever position is next.
    """

    path: str
    record: bytes
    position: int | None = None


@attrs.frozen
class Delete:
    """Remove the document or log at `path`; nothing happens where there is none."""

    path: str


@attrs.frozen
class Trim:
    """
    Remove the records of the log at `path` that stand before `first`. Only for a `TrimmingStore`.

    The others keep their positions. The last record always stays, so that the log stays as long
    as it was: a store refuses the whole batch where there is no record at `first`. Nothing happens
    where the log begins there already, or later.
    """

    path: str
    first: int


Change = Put | Append | Delete | Trim

#: What came of a batch: the positions of its records, or why it was not (or may not be) kept.
Outcome = tuple[int, ...] | StoreError


@attrs.frozen
class StoreHealth:
    """
    What an operator should know of a store.

    Attributes:
        ok: False once a commit failed and nothing has been committed since.
        durable: Whether what `commit` returned for survives a power cut.
        problems: One sentence for each thing that was set aside or failed, newest last.
    """

    ok: bool
    durable: bool
    problems: tuple[str, ...] = ()


@runtime_checkable
class KnowledgeStore(Protocol):
    """
    Keeps documents and logs under paths.

    A store is an async context manager: it opens when entered; calling anything outside is a
    `RuntimeError`. It may be entered again while open (a hub enters the store it is given);
    the outermost exit closes it. Every failure of the medium is a `StoreError`. All methods may
    be called from many tasks at once.
    """

    @property
    def epoch(self) -> str:
        """
        The identity of this store's content, 32 hex digits, made when it was first created.

        A position or cursor means something only together with the epoch it was given in:
        restoring an older backup makes a new one.
        """
        ...

    async def commit(self, changes: Sequence[Change]) -> tuple[int, ...]:
        """
        Make all of `changes` durable, or none of them.

        Returns the positions of the appended records, in order. Batches take effect in the
        order in which `commit` was called; those that wait together may share one sync.

        Raises:
            StoreError: Either this batch breaks a rule (a position that is not next, a log
                where a document is): nothing of it is kept, and no other batch is concerned.
                Or the medium failed: the outcome is unknown, batches that were already
                waiting fail with it, and whoever builds on any of them must read back first.

        Cancellation: before its turn came, nothing has happened; after that the batch is
        carried through and its result returned, and the cancellation comes at the next
        checkpoint.
        """
        ...

    async def read(self, path: str) -> bytes | None:
        """
        Return the document at `path`, or None.

        A document whose checksum is wrong raises `DamagedRecord` with position -1.
        """
        ...

    async def read_under(self, prefix: str) -> dict[str, bytes]:
        """
        Return every document below `prefix`, in the order of their paths. For opening a hub.

        Damaged documents are left out and named in `health`.
        """
        ...

    async def read_range(self, path: str, start: int, stop: int | None = None) -> list[bytes]:
        """
        Return the records of a log at positions `start` to `stop` (exclusive; None is the end).

        Positions that do not exist are simply not in the answer. A record whose checksum is
        wrong raises `DamagedRecord`, which names it.
        """
        ...

    async def length(self, path: str) -> int:
        """
        Return the number of records in the log at `path` (0 where there is none).

        Where its end cannot be read any more, raises `DamagedRecord` with position -1.
        """
        ...

    async def lengths_under(self, prefix: str) -> dict[str, int]:
        """
        Return the length of every log below `prefix`, by path.

        A log whose end cannot be read is left out and named in `health`.
        """
        ...

    async def write(self, path: str, data: bytes) -> None:
        """Replace the document at `path`; durable when it returns."""
        ...

    async def append(self, path: str, record: bytes) -> int:
        """Add one record to the log at `path`; durable when it returns its position."""
        ...

    async def delete(self, path: str) -> None:
        """Remove what is at `path`; durable when it returns."""
        ...

    async def exists(self, path: str) -> bool:
        """Whether a document or log is at `path`."""
        ...

    async def list(self, path: str = "/") -> list[str]:
        """
        Return the names directly below `path`, sorted; those with something below end in "/".

        A name that is both a document and a folder is listed twice, once in each form.
        """
        ...

    def on_change(self, prefix: str) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[str]]:
        """
        Hear of changes: yields a channel of the paths at or below `prefix` that changed, once durable.

        The channel is bounded. A listener that falls behind misses paths in the middle, never
        the newest: read what you care about again after each wake-up.
        """
        ...

    def health(self) -> StoreHealth:
        """Say how the store is doing. Never blocks."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


@runtime_checkable
class SubmittingStore(Protocol):
    """
    What a `KnowledgeStore` may offer besides: to commit without a task that waits.

    A hub writes through it where it is there, and through `KnowledgeStore.commit` where it is
    not. It saves two task switches for each commit.
    """

    def submit(
        self,
        changes: Sequence[Change],
        settled: Callable[[Outcome], None],
        *,
        after: Callable[[], None],
    ) -> None:
        """
        Queue `changes`, in one order with the batches of `commit`. Never blocks.

        Args:
            settled: Called once, later, on Trio's thread and in order of submission: with the
                positions of the appended records once they are durable, or with the
                `StoreError` that `commit` would have raised. It must not raise.
            after: Called after it, with no checkpoint in between: once for all batches that are
                settled in one go and were given an equal one. It must not raise either.
        """
        ...


@runtime_checkable
class TrimmingStore(Protocol):
    """
    What a `KnowledgeStore` may offer besides: logs that do not begin at 0 any more (`Trim`).

    Its `read_range` raises `RecordsTrimmed` where it is asked for a position that was trimmed, so
    that nobody takes the first record that is left for the first that there was.
    """

    async def first(self, path: str) -> int:
        """Return the position of the first record of the log at `path` (0 where there is none)."""
        ...

    async def firsts_under(self, prefix: str) -> dict[str, int]:
        """Return where each log below `prefix` begins that was trimmed, by path."""
        ...


@runtime_checkable
class PagingStore(Protocol):
    """
    What a `KnowledgeStore` may offer besides: reads that end by size.

    A hub reads logs by a hundred records and more. Large ones would all be in memory at once, for
    whoever asks; of a `PagingStore` it takes a page and then the next.
    """

    async def read_page(self, path: str, start: int, stop: int, bytes_max: int) -> list[bytes]:
        """
        Return records as `read_range` does, but none behind the one that reaches `bytes_max`.

        So there is one in any case, where there is one at `start`. It raises what `read_range`
        raises, as far as it comes.
        """
        ...


@attrs.frozen
class WriteFigures:
    """
    How a store writes.

    Attributes:
        sizes: How many batches shared a transaction, and so a sync.
        seconds: How long writing one took, sync included.
    """

    sizes: Histogram
    seconds: Histogram


@runtime_checkable
class MeasuredStore(Protocol):
    """What a `KnowledgeStore` may offer besides: to say how it writes."""

    def write_figures(self) -> WriteFigures:
        """Return what was measured since the store was opened."""
        ...


def normalize_path(path: str) -> str:
    """
    Return `path` in its one form: a leading slash, none at the end, none doubled.

    Raises:
        ValueError: It has a part that is ``.`` or ``..``, or a NUL or other control character.
    """
    parts = [part for part in path.split("/") if part]
    for part in parts:
        if part in (".", "..") or any(ord(char) < 0x20 for char in part):
            raise ValueError(f"{path!r} is no path of a store: the part {part!r} is not allowed")
    normal = "/" + "/".join(parts)
    # Nearly always; then there is one text and not two, in whatever remembers both.
    return path if path == normal else normal
