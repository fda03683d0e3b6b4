"""
`SimulatedDisk`: a disk in memory with a power switch.

What a store has answered for is on the disk; what it was still writing when the power went is
there or it is not. `SimulatedDisk.store` gives one process its store; after `cut_power` that
store is dead and nothing that its process still tries is kept, and the next process opens a new
one on what is left::

    disk = SimulatedDisk(random.Random(seed))
    async with Hub.open(disk.store()) as hub:
        ...
        disk.cut_power()                # whatever is not durable is gone, the hub with it
    async with Hub.open(disk.store()) as hub:
        ...

A backup is a `copy`, and `restore` puts it in the place of what is there, as an operator would who
renews the epoch as the documentation says.

Each commit takes a moment of Trio's clock, so that the power can go while it is under way. Batches
are whole or absent, which is the contract of every `KnowledgeStore`; whether a store keeps it on
real files is what ``tests/crash`` asks.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import trio

from ..errors import StoreError
from ..stores.base import Change
from ..stores.memory import MemoryKnowledgeStore, MemoryLog
from .faulty_store import FaultyStore

__all__ = ["DiskCopy", "MachineStore", "SimulatedDisk"]


class SimulatedDisk:
    """
    What survives a power cut.

    Args:
        rng: Decides how long a commit takes, and whether the one under way survives.
        commit_seconds: Shortest and longest time of a commit.
        on_durable: Told of the changes of every batch when it is on the disk.
    """

    def __init__(
        self,
        rng: random.Random,
        *,
        commit_seconds: tuple[float, float] = (0.0005, 0.02),
        on_durable: Callable[[Sequence[Change]], None] | None = None,
    ) -> None:
        self._rng = rng
        self._commit_seconds = commit_seconds
        self._platter = _Platter(on_durable)
        self._machines: list[MachineStore] = []
        # Written by a machine whose power is gone, and found on the disk by the next one.
        self._leftover: list[Sequence[Change]] = []

    def store(self) -> MachineStore:
        """Return the store of a process, not open yet."""
        store = MachineStore(self, self._platter)
        self._machines.append(store)
        return store

    def cut_power(self) -> None:
        """
        Nothing that is not on the disk by now will ever be.

        A commit that is under way survives as a whole or not at all; its caller never hears. All
        stores so far fail from now on: cancel whatever works with them.
        """
        machines, self._machines = self._machines, []
        for machine in machines:
            under_way = machine.die()
            if under_way is not None and self._rng.random() < 0.5:
                self._leftover.append(under_way)

    def copy(self) -> DiskCopy:
        """Return what is on the disk now, for `restore`."""
        return DiskCopy(self._platter)

    def restore(self, copy: DiskCopy) -> dict[str, list[bytes]]:
        """
        Let the next store begin with what `copy` has, under an epoch of its own.

        Returns:
            The records of each log that are lost by it.

        Raises:
            RuntimeError: A process still works on this disk: `cut_power` first.
        """
        if self._machines:
            raise RuntimeError("a process still works on this disk: cut its power first")
        replaced, self._platter = self._platter, copy.platter()
        self._leftover.clear()
        # A process that has lost its power may still be about to write: on what nobody reads.
        replaced.forget_listener()
        return self._platter.missing_from(replaced)

    def commit_takes(self) -> float:
        """Draw how long the next commit takes, in seconds."""
        return self._rng.uniform(*self._commit_seconds)

    async def settle(self) -> None:
        """Put on the disk what survived the last cut. Stores do it when they open."""
        while self._leftover:
            try:
                await self._platter.commit(self._leftover.pop(0))
            except StoreError:
                # It breaks a rule, and would have been refused as a whole.
                continue


class MachineStore(FaultyStore):
    """
    The store of one process; `SimulatedDisk.store` makes them.

    It is a `FaultyStore` too: what else should go wrong can be asked for there.
    """

    def __init__(self, disk: SimulatedDisk, platter: MemoryKnowledgeStore) -> None:
        super().__init__(platter)
        self._disk = disk
        self._turn = trio.Lock()
        self._under_way: Sequence[Change] | None = None
        self._dead = False

    def die(self) -> Sequence[Change] | None:
        """The power is gone. Return the batch that was being written."""
        self._dead = True
        return self._under_way

    async def commit(self, changes: Sequence[Change]) -> tuple[int, ...]:
        """
        Make `changes` durable, which takes a moment.

        Raises:
            StoreError: The power is gone; or as `FaultyStore.commit`.

        Cancellation: while it waits for its turn, nothing has happened; then it is carried
        through.
        """
        async with self._turn:
            self._check_power()
            with trio.CancelScope(shield=True):
                self._under_way = changes
                try:
                    await trio.sleep(self._disk.commit_takes())
                    self._check_power()
                    positions = await super().commit(changes)
                finally:
                    self._under_way = None
        return positions

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self._disk.settle()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # What was accepted is written first.
        with trio.CancelScope(shield=True):
            async with self._turn:
                await super().__aexit__(exc_type, exc, traceback)

    def _check_power(self) -> None:
        if self._dead:
            raise StoreError("the power is gone, and nothing more is kept")


class DiskCopy:
    """A backup; `SimulatedDisk.copy` makes them."""

    def __init__(self, platter: _Platter) -> None:
        self._platter = platter.twin()

    def platter(self) -> _Platter:
        """Return the content, for a disk to write on."""
        return self._platter.twin()


class _Platter(MemoryKnowledgeStore):
    """The content, and somebody who is told when it changes."""

    def __init__(self, on_durable: Callable[[Sequence[Change]], None] | None) -> None:
        super().__init__()
        self._on_durable = on_durable

    async def commit(self, changes: Sequence[Change]) -> tuple[int, ...]:
        positions = await super().commit(changes)
        if self._on_durable is not None:
            self._on_durable(changes)
        return positions

    def twin(self) -> _Platter:
        """Return the same content once more. Its epoch is another one."""
        twin = _Platter(self._on_durable)
        twin._documents = dict(self._documents)
        twin._logs = {
            path: MemoryLog(log.first, list(log.records)) for path, log in self._logs.items()
        }
        return twin

    def forget_listener(self) -> None:
        """Tell nobody of changes any more."""
        self._on_durable = None

    def missing_from(self, newer: _Platter) -> dict[str, list[bytes]]:
        """Return what the logs of `newer` have and these have not; what was trimmed is not."""
        return {
            path: log.records[max(len(self._logs.get(path, ())) - log.first, 0) :]
            for path, log in newer._logs.items()
            if len(log) > len(self._logs.get(path, ()))
        }
