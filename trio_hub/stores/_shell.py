"""
What both of our stores share: being entered again while open, and batches of one.

A store says how it opens, closes and commits; the rest of `KnowledgeStore`'s writing side
follows from that here, so that there is one way in for every change.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

import trio

from ._change_feed import ChangeFeed
from ._checks import checked_path, folder_path
from .base import Append, Change, Delete, Put

__all__ = ["PROBLEMS_MAX", "StoreShell"]

#: Sentences that `health().problems` of a store keeps; the newest are the ones worth reading.
PROBLEMS_MAX = 100


class StoreShell(ABC):
    """The lifetime of a store, its listeners, and the verbs that are batches of one."""

    def __init__(self) -> None:
        self._feed = ChangeFeed()
        self._depth = 0
        self._opening = trio.Lock()
        self._problems: deque[str] = deque(maxlen=PROBLEMS_MAX)

    @abstractmethod
    async def commit(self, changes: Sequence[Change]) -> tuple[int, ...]:
        """Make all of `changes` durable, or none of them; see `KnowledgeStore.commit`."""

    @abstractmethod
    async def _open(self) -> None:
        """Called by the outermost entry."""

    @abstractmethod
    async def _close(self) -> None:
        """Called by the outermost exit, shielded; no call comes in after it has begun."""

    async def write(self, path: str, data: bytes) -> None:
        """
        Replace the document at `path`.

        Durability: on disk when it returns. Errors and cancellation: as `commit`.
        """
        await self.commit((Put(path, data),))

    async def append(self, path: str, record: bytes) -> int:
        """
        Add one record to the log at `path` and return its position.

        Durability: on disk when it returns. Errors and cancellation: as `commit`.
        """
        (position,) = await self.commit((Append(path, record),))
        return position

    async def delete(self, path: str) -> None:
        """
        Remove the document or log at `path`; nothing happens where there is none.

        Durability: gone from disk when it returns. Errors and cancellation: as `commit`.
        """
        await self.commit((Delete(path),))

    def on_change(self, prefix: str) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[str]]:
        """
        Hear of changes at or below `prefix`, once they are durable.

        Use it as ``async with store.on_change("/channels") as paths``. The channel is bounded:
        a listener that falls behind misses paths in the middle, never the newest. It ends when
        the store closes.
        """
        self._require_open()
        return self._feed.listen(prefix)

    async def __aenter__(self) -> Self:
        async with self._opening:
            if self._depth == 0:
                await self._open()
            self._depth += 1
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A store that is left half open would hold its lock and its files for ever.
        with trio.CancelScope(shield=True):
            async with self._opening:
                self._depth -= 1
                if self._depth == 0:
                    await self._close()
                    self._feed.close()

    def _require_open(self) -> None:
        if self._depth == 0:
            raise RuntimeError(
                f"{self!r} is not open: use it inside `async with store:` (a hub that is given "
                "a store enters it itself)"
            )

    def _place(self, path: str) -> str:
        """Check that the store is open and return the one form of `path`."""
        self._require_open()
        return checked_path(path)

    def _folder(self, path: str) -> str:
        """Check that the store is open and return the one form of a path that may be the root."""
        self._require_open()
        return folder_path(path)

    def _note_problem(self, sentence: str) -> None:
        # The same damaged document is met at every read; it is one problem.
        if sentence not in self._problems:
            self._problems.append(sentence)
