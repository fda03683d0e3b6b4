"""
Many callers, one transaction: batches that wait together share one sync.

One thread writes, for as long as the store is open. It takes everything that waits, has it
written, and hands the outcomes to Trio's thread in one piece, where a task hears of them. It is
woken when Trio's thread has nothing more to do. So a lone batch costs two wake-ups and nothing
else, what comes in one turn of the loop shares a sync, and so does what comes during one: there
is no delay to tune.

A batch is in one of two states that matter for cancellation. While it *waits* it can be
withdrawn, and nothing has happened. Once it is *taken* it is carried through, and its caller
stays for the result, cancelled or not. Both sides take from one deque, whose operations are
atomic, so a batch is either withdrawn or taken and never both.

After a transaction that failed the thread takes nothing more until Trio's thread has heard of
it and has failed all that waits: those may build on what was just lost.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import attrs
import trio

from .._histogram import SECONDS, SIZES, Histogram
from ..errors import StoreError
from ._thread_bell import ThreadBell, open_bell
from .base import Change, Outcome

__all__ = ["GROUP_CHANGES_MAX", "GroupCommit"]

#: Changes in one transaction, unless a single batch has more. It bounds how long those who come
#: next wait, and how much one failure takes with it.
GROUP_CHANGES_MAX = 8192

_Settled = Callable[[Outcome], None]


@attrs.define(eq=False)
class _Ticket:
    changes: Sequence[Change]
    settled: _Settled
    after: Callable[[], None] | None = None


class _Waker(trio.abc.Instrument):
    """
    Wakes the thread when Trio's has nothing more to do, and not before.

    Woken at once, the thread would stand in line for the interpreter's lock, take it in the
    middle of whatever Trio's thread does next, and begin with a group of one.
    """

    def __init__(self, wake: queue.SimpleQueue[bool]) -> None:
        self._wake = wake
        self.is_due = False

    def before_io_wait(self, timeout: float) -> None:
        """Called by Trio, each time before it looks for what has happened outside."""
        if self.is_due:
            self.is_due = False
            self._wake.put(True)


class GroupCommit:
    """
    The queue in front of a writer, and the thread that it works in.

    Everything but the writing happens on Trio's thread. Call `stop` when nothing more comes.

    Args:
        write: Runs in the thread, never twice at once. Given batches in order, it answers for
            each with its positions or with the `StoreError` that concerns it alone; it raises
            `StoreError` where the whole transaction failed, or was never begun.
        on_kept: Called on Trio's thread with the batches that are now durable.
        on_failed: Called on Trio's thread when a whole transaction failed.
        new_bell: Makes what the thread calls Trio's with; where that is None, Trio's own way is taken.

    Attributes:
        sizes: How many batches shared a transaction.
        seconds: How long writing one took, sync included.
    """

    def __init__(
        self,
        write: Callable[[list[Sequence[Change]]], list[Outcome]],
        *,
        on_kept: Callable[[Sequence[Sequence[Change]]], None],
        on_failed: Callable[[StoreError], None],
        new_bell: Callable[[], ThreadBell | None] = open_bell,
    ) -> None:
        self._write = write
        self._on_kept = on_kept
        self._on_failed = on_failed
        self.sizes = Histogram(SIZES)
        self.seconds = Histogram(SECONDS)
        self._waiting: deque[_Ticket] = deque()
        self._unsettled = 0
        # Made by who waits for it.
        self._idle: trio.Event | None = None
        # True wakes the thread, False ends it.
        self._wake: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._heard: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._writing = threading.Lock()
        # What the thread is through with, and whether all of it was written.
        self._written: deque[tuple[list[_Ticket], list[Outcome] | StoreError]] = deque()
        self._trio = trio.lowlevel.current_trio_token()
        self._bell = bell = new_bell()
        # None as soon as nobody hears it.
        self._heard_bell = bell
        if bell is not None:
            # A system task, as the one behind `run_sync_soon` is: a store may be entered by one
            # task and left by another, so it can live in neither.
            trio.lowlevel.spawn_system_task(self._hear, bell, name="trio_hub store")
        # Should Trio itself have crashed, nobody says `stop`, and the process must end all the
        # same; what it had acknowledged is on disk.
        self._thread = threading.Thread(target=self._work, name="trio_hub store", daemon=True)
        self._thread.start()
        self._waker = _Waker(self._wake)
        trio.lowlevel.add_instrument(self._waker)

    async def commit(self, changes: Sequence[Change]) -> tuple[int, ...]:
        """
        Have `changes` written in their turn; return the positions of the appended records.

        Raises:
            StoreError: This batch was refused, or the transaction it was part of failed, or one
                failed that it had waited behind.

        Cancellation: raises `trio.Cancelled` only where nothing has happened. A batch that was
        already taken is carried through, and this returns (or raises) its result.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        task = trio.lowlevel.current_task()
        results: list[Outcome] = []

        def settled(result: Outcome) -> None:
            results.append(result)
            trio.lowlevel.reschedule(task)

        ticket = _Ticket(changes, settled)
        self._submit(ticket)

        def withdraw(_raise_cancel: object) -> trio.lowlevel.Abort:
            try:
                self._waiting.remove(ticket)
            except ValueError:
                return trio.lowlevel.Abort.FAILED
            self._count_settled(1)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(withdraw)
        (result,) = results
        if isinstance(result, StoreError):
            raise result
        return result

    def submit(
        self, changes: Sequence[Change], settled: _Settled, after: Callable[[], None]
    ) -> None:
        """
        Have `changes` written in their turn, and `settled` called with what came of it.

        Both are called later, on Trio's thread: `settled` in the order of submission, with what
        `commit` would return or raise, and `after` once for all that are settled in one go.
        Neither must raise.
        """
        self._submit(_Ticket(changes, settled, after))

    async def wait_idle(self) -> None:
        """Wait until every batch that was submitted is settled."""
        while self._unsettled:
            if self._idle is None:
                self._idle = trio.Event()
            await self._idle.wait()

    async def alone(self, work: Callable[[], None]) -> None:
        """Run `work` in a thread while no group is being written. Cancellation: as `to_thread`."""

        def between_groups() -> None:
            with self._writing:
                work()

        await trio.to_thread.run_sync(between_groups)

    async def stop(self) -> None:
        """Wait until all is settled, and end the thread. Shield it."""
        await self.wait_idle()
        trio.lowlevel.remove_instrument(self._waker)
        self._wake.put(False)
        await trio.to_thread.run_sync(self._thread.join)
        if self._bell is not None:
            self._bell.close()

    def _submit(self, ticket: _Ticket) -> None:
        self._unsettled += 1
        self._waiting.append(ticket)
        self._waker.is_due = True

    def _count_settled(self, count: int) -> None:
        self._unsettled -= count
        if self._idle is not None and not self._unsettled:
            self._idle.set()
            self._idle = None

    # In the thread

    def _work(self) -> None:
        try:
            while self._wake.get():
                while group := self._take():
                    self._write_group(group)
        except trio.RunFinishedError:
            return  # Nobody is left to be told.

    def _take(self) -> list[_Ticket]:
        group: list[_Ticket] = []
        changes = 0
        while self._waiting:
            try:
                ticket = self._waiting.popleft()
            except IndexError:
                break  # It was withdrawn just now.
            changes += len(ticket.changes)
            if group and changes > GROUP_CHANGES_MAX:
                self._waiting.appendleft(ticket)
                return group
            group.append(ticket)
        return group

    def _write_group(self, group: list[_Ticket]) -> None:
        try:
            with self._writing:
                began = time.perf_counter()
                outcomes = self._write([ticket.changes for ticket in group])
                self.seconds.observe(time.perf_counter() - began)
            self.sizes.observe(len(group))
            assert len(outcomes) == len(group), "one outcome for each batch"
        except BaseException as exc:
            if isinstance(exc, StoreError):
                error = exc
            else:
                error = StoreError(f"the commit was broken off by {exc!r}")
                error.__cause__ = exc
            self._tell(group, error)
            self._heard.get()
        else:
            self._tell(group, outcomes)

    def _tell(self, group: list[_Ticket], outcomes: list[Outcome] | StoreError) -> None:
        self._written.append((group, outcomes))
        bell = self._heard_bell
        if bell is not None:
            bell.ring()
        else:
            self._trio.run_sync_soon(self._settle_written)

    # Back on Trio's thread

    async def _hear(self, bell: ThreadBell) -> None:
        try:
            while True:
                try:
                    await bell.heard()
                except trio.ClosedResourceError:
                    return  # All is settled, and the thread has ended.
                self._settle_written()
        finally:
            # Trio may be on its way to a crash, and whoever closes the store still waits for what
            # is under way. Before the look at what is there: what comes after it is told otherwise.
            self._heard_bell = None
            self._settle_written()

    def _settle_written(self) -> None:
        # No more than there is now: what comes after it is told of anew.
        for _ in range(len(self._written)):
            group, outcomes = self._written.popleft()
            if isinstance(outcomes, StoreError):
                self._fail(group, outcomes)
            else:
                self._settle(group, outcomes)

    def _settle(self, group: list[_Ticket], outcomes: list[Outcome]) -> None:
        self._on_kept(
            [
                ticket.changes
                for ticket, result in zip(group, outcomes, strict=True)
                if not isinstance(result, StoreError)
            ]
        )
        for ticket, result in zip(group, outcomes, strict=True):
            ticket.settled(result)
        self._finish(group)

    def _fail(self, group: list[_Ticket], cause: StoreError) -> None:
        # Those who already wait may build on what was just lost, so they fail with it. Each gets
        # an exception of its own: one that is raised in many tasks would collect their tracebacks.
        behind = list(self._waiting)
        self._waiting.clear()
        self._heard.put(None)
        self._on_failed(cause)
        for ticket in group:
            ticket.settled(_copy(cause, cause.message))
        for ticket in behind:
            ticket.settled(
                _copy(cause, f"a commit before this one failed, so it was not tried: {cause}")
            )
        self._finish(group + behind)

    def _finish(self, tickets: list[_Ticket]) -> None:
        self._count_settled(len(tickets))
        for after in dict.fromkeys(ticket.after for ticket in tickets):
            if after is not None:
                after()


def _copy(cause: StoreError, message: str) -> StoreError:
    error = StoreError(message)
    error.__cause__ = cause.__cause__
    return error
