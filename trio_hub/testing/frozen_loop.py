"""
`FrozenLoop`: a Trio loop on a virtual clock that stands still whenever you are not looking.

A Hypothesis state machine is synchronous code that thinks between its rules; a hub is a crowd of
tasks with timers. This is where they meet. The loop runs in a thread of its own, and between two
calls of `run` its main task *blocks the whole thread*: no task moves, no timer fires, the clock
does not go on. So rules stay ordinary ``@rule`` methods, and a run is the same each time::

    class Counter(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.loop = FrozenLoop()
            self.hub = self.loop.enter(Hub.open(MemoryKnowledgeStore())).value

        @rule(name=st.text(min_size=1, max_size=5))
        def register(self, name):
            self.loop.run(self.hub.register, Passport(name=name))

        @rule(seconds=st.floats(0, 3600))
        def time_passes(self, seconds):
            self.loop.sleep(seconds)                # takes no time at all

        def teardown(self):
            self.loop.close()

Before `run` returns, everything that was set off has come to rest (`wait_all_tasks_blocked`), so
an ``@invariant`` looks at a world in which nothing is half-way. Time passes only inside of a rule
that waits for it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, TypeVarTuple, Unpack

import attrs
import trio
import trio.testing

__all__ = ["FrozenLoop", "Held", "LoopCrashed"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# Real seconds that closing may take; only code that blocks the thread can need more.
_CLOSE_SECONDS_MAX = 30.0


class LoopCrashed(RuntimeError):
    """A background task of a `FrozenLoop` raised (``__cause__`` says what), and the loop ended."""


@attrs.define(eq=False)
class _Job:
    """Something to be done inside; `error` or `result` say how it ended."""

    work: Callable[[], Awaitable[Any]]
    seconds_max: float | None
    result: Any = None
    error: BaseException | None = None


class Held(Generic[T]):
    """
    A context manager that is entered in the background; `FrozenLoop.enter` makes them.

    Attributes:
        value: What ``async with ... as value`` gives.
    """

    def __init__(self, loop: FrozenLoop, manager: AbstractAsyncContextManager[T]) -> None:
        self.value: T
        self._loop = loop
        self._manager = manager
        self._scope = trio.CancelScope()
        self._leave: trio.Event
        self._left: trio.Event
        self._error: BaseException | None = None

    def exit(self) -> None:
        """
        Leave the block as if its end was reached, and return when it has been left. Idempotent.

        What leaving raises is raised here.
        """
        self._loop.run(self._exit)

    def cancel(self) -> None:
        """Leave the block because it is cancelled, as a crash would: nothing is said goodbye to."""
        self._loop.run(self._cancel)

    async def _exit(self) -> None:
        self._leave.set()
        await self._left.wait()
        error, self._error = self._error, None
        if error is not None:
            raise error

    async def _cancel(self) -> None:
        self._scope.cancel()
        await self._exit()

    async def _hold(self, task_status: trio.TaskStatus[None]) -> None:
        self._leave, self._left = trio.Event(), trio.Event()
        started = False
        try:
            with self._scope:
                async with self._manager as self.value:
                    task_status.started()
                    started = True
                    await self._leave.wait()
        except Exception as error:
            # Whoever asked for the end is told. If nobody has, it is a crash.
            if not started or not (self._leave.is_set() or self._scope.cancel_called):
                raise
            self._error = error
        finally:
            self._left.set()


class FrozenLoop:
    """
    A running Trio loop that moves only inside `run`.

    Args:
        virtual_time: Whether time is a `trio.testing.MockClock` that jumps ahead whenever all
            tasks wait for it, so that nothing ever really sleeps. Off for what works in threads
            or on sockets: nobody jumps over those.
        rule_seconds_max: How much virtual time one `run` may take. One that waits for something
            that never happens raises `trio.TooSlowError` at once instead of hanging; None is
            for ever.

    Use it as a context manager, or call `close`. One thread at a time may use it.

    A strategy cannot draw inside of the loop: draw first, then run.
    """

    def __init__(
        self, *, virtual_time: bool = True, rule_seconds_max: float | None = 24 * 3600.0
    ) -> None:
        self._clock = trio.testing.MockClock(autojump_threshold=0) if virtual_time else None
        self._rule_seconds_max = rule_seconds_max
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        # A job comes back when it is done; None says that the loop is over.
        self._done: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._crash: BaseException | None = None
        self._over = False
        self._nursery: trio.Nursery
        self._token: trio.lowlevel.TrioToken
        self._thread = threading.Thread(target=self._live, name="frozen loop", daemon=True)
        self._thread.start()
        self._wait_for(None)

    def __repr__(self) -> str:
        return f"<FrozenLoop {'closed' if self._over else 'open'}>"

    # Doing something

    def run(self, async_fn: Callable[[Unpack[Ts]], Awaitable[T]], *args: *Ts) -> T:
        """
        Await ``async_fn(*args)`` inside the loop, let everything come to rest, return the result.

        Raises:
            trio.TooSlowError: It took more than `rule_seconds_max` of virtual time.
            LoopCrashed: A background task has raised; the loop is over.
            RuntimeError: The loop is closed.

        What `async_fn` raises is raised here as it is.
        """
        result: T = self._do(_Job(partial(async_fn, *args), self._rule_seconds_max))
        return result

    def call(self, function: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        """
        Call a plain function inside the loop, let everything come to rest, return the result.

        For what wakes tasks (an event, a memory channel) and so belongs there.
        """

        async def call() -> T:
            await trio.lowlevel.checkpoint()
            return function(*args)

        return self.run(call)

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass, and everything happen that is due in it."""
        # Not bounded by `rule_seconds_max`: it ends for sure.
        self._do(_Job(partial(trio.sleep, seconds), None))

    def settle(self) -> None:
        """Let everything come to rest that can without time passing."""
        self.run(trio.lowlevel.checkpoint)

    @property
    def now(self) -> float:
        """The loop's time, as `trio.current_time` says inside."""
        time: float = self._do(_Job(_current_time, None))
        return time

    # Keeping something going

    def start_soon(self, async_fn: Callable[[Unpack[Ts]], Awaitable[Any]], *args: *Ts) -> None:
        """Start a background task. Should it raise, the loop ends (`LoopCrashed`)."""

        async def start() -> None:
            self._nursery.start_soon(async_fn, *args)

        self.run(start)

    def enter(self, manager: AbstractAsyncContextManager[T]) -> Held[T]:
        """
        Enter an async context manager and keep it open until its `Held.exit`, or until `close`.

        Each has a background task of its own, so they may be left in any order.
        """
        held = Held(self, manager)

        async def start() -> None:
            await self._nursery.start(held._hold)  # noqa: SLF001  (of this very module)

        self.run(start)
        return held

    # Its end

    def close(self) -> None:
        """
        Cancel all background tasks and end the loop. Idempotent.

        Raises:
            LoopCrashed: A background task had raised, or raised now.
        """
        already = self._over
        if not already:
            self._over = True
            # Whatever is running is cancelled too: after Ctrl-C, a rule may not have come back.
            self._token.run_sync_soon(self._cancel_all)
            self._jobs.put(None)
        self._thread.join(_CLOSE_SECONDS_MAX)
        if self._thread.is_alive():
            raise RuntimeError("the loop did not end: something inside blocks its thread")
        if self._crash is not None and not already:
            raise LoopCrashed(f"a background task raised {self._crash!r}") from self._crash

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except LoopCrashed:
            # What the block raised says more, and mostly it is this very crash.
            if exc is None:
                raise

    # In the caller's thread

    def _do(self, job: _Job) -> Any:
        if self._over:
            raise self._why_over()
        self._jobs.put(job)
        self._wait_for(job)
        if job.error is None:
            return job.result
        try:
            raise job.error
        finally:
            # The traceback holds this frame, and the job would hold the traceback.
            job.error = None

    def _wait_for(self, job: _Job | None) -> None:
        done = self._done.get()
        if done is job and not self._over:
            return
        self._over = True
        self._thread.join(_CLOSE_SECONDS_MAX)
        raise self._why_over()

    def _why_over(self) -> RuntimeError:
        if self._crash is None:
            return RuntimeError("this FrozenLoop is closed")
        error = LoopCrashed(f"a background task raised {self._crash!r}, and the loop is over")
        error.__cause__ = self._crash
        return error

    # In the loop's thread

    def _live(self) -> None:
        try:
            trio.run(self._main, clock=self._clock)
        except BaseException as error:
            self._crash = _bare(error)
        self._over = True
        self._done.put(None)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as self._nursery:
            self._done.put(None)
            # Blocking the thread is the point: while this waits, nothing in the loop moves.
            while (job := self._jobs.get()) is not None:
                try:
                    with trio.CancelScope() as scope:
                        if job.seconds_max is not None:
                            scope.deadline = trio.current_time() + job.seconds_max
                        job.result = await job.work()
                    if scope.cancelled_caught:
                        job.error = trio.TooSlowError(
                            f"waited for {job.seconds_max:g} s, and what it waits for did not "
                            "happen"
                        )
                except Exception as error:  # it is raised again in the caller's thread
                    job.error = error
                await trio.testing.wait_all_tasks_blocked()
                self._done.put(job)
            self._nursery.cancel_scope.cancel()

    def _cancel_all(self) -> None:
        self._nursery.cancel_scope.cancel()


async def _current_time() -> float:
    await trio.lowlevel.checkpoint()
    return trio.current_time()


def _bare(error: BaseException) -> BaseException:
    """Take an exception out of the groups of one that nurseries put around it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
