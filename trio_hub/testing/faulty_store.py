"""
`FaultyStore`: any store, made to fail when you say so.

Wrap the store that you give to a hub, then tell the wrapper what goes wrong::

    store = FaultyStore(MemoryKnowledgeStore())
    async with Hub.open(store) as hub:
        store.fail("commit")                    # the next commit fails, nothing is kept
        store.fail("commit", after=True)        # ... is kept, but its caller is told it failed
        store.fail("read_range", nth=3)         # the third from now
        store.fail_commits("the disk is full")  # all of them, until
        store.heal()

        with store.hold_commits():              # none gets through inside this block
            ...
        assert store.operations["commit"] == 7

`write`, `append` and `delete` are batches of one: they count, fail and wait as commits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from types import TracebackType
from typing import Literal, Self, TypeVar, get_args

import attrs
import trio

from ..errors import StoreError
from ..stores.base import (
    Append,
    Change,
    Delete,
    KnowledgeStore,
    PagingStore,
    Put,
    StoreHealth,
    TrimmingStore,
)

__all__ = ["FaultyStore", "Operation"]

_T = TypeVar("_T")

#: What can be counted and made to fail.
Operation = Literal[
    "commit",
    "read",
    "read_under",
    "read_range",
    "length",
    "lengths_under",
    "first",
    "firsts_under",
    "exists",
    "list",
]


@attrs.define(eq=False)
class _Fault:
    operation: Operation
    calls_left: int
    after: bool
    message: str


class FaultyStore:
    """
    A `KnowledgeStore` that passes everything on to another one, except what you forbid.

    Args:
        inner: The store that does the work. It is opened and closed with this one.

    Attributes:
        operations: How often each operation was tried, whether or not it succeeded; a commit that
            is held counts when it goes on.
    """

    def __init__(self, inner: KnowledgeStore) -> None:
        self._inner = inner
        self._faults: list[_Fault] = []
        self._broken: str | None = None
        self._released: trio.Event | None = None
        # Held commits go on one by one in the order in which they came, as any store keeps it.
        self._line = trio.Lock()
        self._held = 0
        self.operations: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<FaultyStore around {self._inner!r}>"

    # What goes wrong.

    def fail(
        self,
        operation: Operation,
        *,
        nth: int = 1,
        after: bool = False,
        message: str = "this operation was made to fail",
    ) -> None:
        """
        Make the `nth` call of `operation` from now on raise `StoreError`, once.

        Args:
            operation: Which one; `write`, `append` and `delete` are "commit".
            nth: 1 is the next call. Several faults may wait at once, each counts for itself.
            after: Do the work first, then fail: the outcome that callers must treat as unknown.
            message: What the error says.

        Raises:
            ValueError: There is no such operation, or `nth` is below 1.
        """
        if operation not in get_args(Operation):
            raise ValueError(f"{operation!r} is none of {', '.join(get_args(Operation))}")
        if nth < 1:
            raise ValueError(f"nth={nth}: the next call is number 1")
        self._faults.append(_Fault(operation, nth, after, message))

    def fail_commits(self, message: str = "the disk is full") -> None:
        """Make every commit fail, and `health` say so, until `heal`. Reading goes on."""
        self._broken = message

    def heal(self) -> None:
        """End `fail_commits` and forget every fault that is still waiting."""
        self._broken = None
        self._faults.clear()

    @contextmanager
    def hold_commits(self) -> Iterator[None]:
        """
        Let no commit through inside the block; those that came go on in order when it ends.

        A held commit whose caller is cancelled has not happened.

        Raises:
            RuntimeError: Commits are being held already.
        """
        if self._released is not None:
            raise RuntimeError("commits are being held already: leave that block first")
        released = self._released = trio.Event()
        try:
            yield
        finally:
            self._released = None
            released.set()

    @property
    def commits_held(self) -> int:
        """How many commits are waiting because of `hold_commits`."""
        return self._held

    # What a store does.

    @property
    def epoch(self) -> str:
        """The inner store's."""
        return self._inner.epoch

    async def commit(self, changes: Sequence[Change]) -> tuple[int, ...]:
        """As the inner store's, unless it is held or made to fail. Cancellation: as there."""
        if self._released is None and not self._line.locked():
            return await self._commit(changes)
        self._held += 1
        try:
            async with self._line:
                while self._released is not None:
                    await self._released.wait()
                return await self._commit(changes)
        finally:
            self._held -= 1

    async def _commit(self, changes: Sequence[Change]) -> tuple[int, ...]:
        async def work() -> tuple[int, ...]:
            if self._broken is not None:
                await trio.lowlevel.checkpoint()
                raise StoreError(self._broken)
            return await self._inner.commit(changes)

        return await self._do("commit", work)

    async def write(self, path: str, data: bytes) -> None:
        """A commit of one change."""
        await self.commit((Put(path, data),))

    async def append(self, path: str, record: bytes) -> int:
        """A commit of one change; returns its position."""
        (position,) = await self.commit((Append(path, record),))
        return position

    async def delete(self, path: str) -> None:
        """A commit of one change."""
        await self.commit((Delete(path),))

    async def read(self, path: str) -> bytes | None:
        """As the inner store's, unless it is made to fail."""
        return await self._do("read", lambda: self._inner.read(path))

    async def read_under(self, prefix: str) -> dict[str, bytes]:
        """As the inner store's, unless it is made to fail."""
        return await self._do("read_under", lambda: self._inner.read_under(prefix))

    async def read_range(self, path: str, start: int, stop: int | None = None) -> list[bytes]:
        """As the inner store's, unless it is made to fail."""
        return await self._do("read_range", lambda: self._inner.read_range(path, start, stop))

    async def read_page(self, path: str, start: int, stop: int, bytes_max: int) -> list[bytes]:
        """A "read_range" that ends by size, where the inner store knows how."""

        async def work() -> list[bytes]:
            inner: object = self._inner
            if isinstance(inner, PagingStore):
                return await inner.read_page(path, start, stop, bytes_max)
            return await self._inner.read_range(path, start, stop)

        return await self._do("read_range", work)

    async def length(self, path: str) -> int:
        """As the inner store's, unless it is made to fail."""
        return await self._do("length", lambda: self._inner.length(path))

    async def lengths_under(self, prefix: str) -> dict[str, int]:
        """As the inner store's, unless it is made to fail."""
        return await self._do("lengths_under", lambda: self._inner.lengths_under(prefix))

    async def first(self, path: str) -> int:
        """As the inner store's, unless it is made to fail; 0 where that knows of no `Trim`."""

        async def work() -> int:
            inner: object = self._inner
            return await inner.first(path) if isinstance(inner, TrimmingStore) else 0

        return await self._do("first", work)

    async def firsts_under(self, prefix: str) -> dict[str, int]:
        """As the inner store's, unless it is made to fail; none where that knows of no `Trim`."""

        async def work() -> dict[str, int]:
            inner: object = self._inner
            return await inner.firsts_under(prefix) if isinstance(inner, TrimmingStore) else {}

        return await self._do("firsts_under", work)

    async def exists(self, path: str) -> bool:
        """As the inner store's, unless it is made to fail."""
        return await self._do("exists", lambda: self._inner.exists(path))

    async def list(self, path: str = "/") -> list[str]:
        """As the inner store's, unless it is made to fail."""
        return await self._do("list", lambda: self._inner.list(path))

    def on_change(self, prefix: str) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[str]]:
        """The inner store's."""
        return self._inner.on_change(prefix)

    def health(self) -> StoreHealth:
        """The inner store's, or that every commit fails."""
        health = self._inner.health()
        if self._broken is None:
            return health
        return attrs.evolve(health, ok=False, problems=(*health.problems, self._broken))

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._inner.__aexit__(exc_type, exc, traceback)

    async def _do(self, operation: Operation, work: Callable[[], Awaitable[_T]]) -> _T:
        self.operations[operation] += 1
        fault = self._due(operation)
        if fault is not None and not fault.after:
            await trio.lowlevel.checkpoint()
            raise StoreError(fault.message)
        answer = await work()
        if fault is not None:
            raise StoreError(fault.message)
        return answer

    def _due(self, operation: Operation) -> _Fault | None:
        """Count this call against every fault that waits for it; return the first now due."""
        due = None
        for fault in [fault for fault in self._faults if fault.operation == operation]:
            fault.calls_left -= 1
            if fault.calls_left <= 0 and due is None:
                self._faults.remove(fault)
                due = fault
        return due
