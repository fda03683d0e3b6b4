"""
One task for everything that is to happen later: a heap of moments, and what to do then.

An idle hub sleeps until the earliest of them, however many channels and agents it has. Moments
are in Trio's clock, which does not step; a moment that comes from a date is looked at again at
least every `longest_sleep` seconds, because the wall clock does.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

import trio

from ..ids import Now
from .doorbell import Doorbell

__all__ = ["NextLook", "Timer", "Timers"]


# Below it sweeping is not worth the trouble.
_CANCELLED_MAX = 64


class Timer:
    """A call that is to come, and can be called off."""

    __slots__ = ("_timers", "action")

    def __init__(self, timers: Timers, action: Callable[[], None]) -> None:
        self._timers = timers
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Call it off; nothing happens where it has been called, or called off before."""
        if self.action is not None:
            self.action = None
            self._timers.cancelled()


class Timers:
    """
    Calls things later.

    Args:
        longest_sleep: In seconds; how late a step of the wall clock may be noticed.
        on_wake: Called whenever the task has woken, at least every `longest_sleep` seconds.
    """

    def __init__(self, longest_sleep: float, on_wake: Callable[[], None]) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._cancelled = 0
        self._ticket = itertools.count()
        self._doorbell = Doorbell()
        self._longest_sleep = longest_sleep
        self._on_wake = on_wake

    def __len__(self) -> int:
        """How much is kept, what was called off included."""
        return len(self._heap)

    def call_at(self, moment: float, action: Callable[[], None]) -> Timer:
        """Call `action` at `moment` (`trio.current_time`), soon after if that is past."""
        timer = Timer(self, action)
        heapq.heappush(self._heap, (moment, next(self._ticket), timer))
        if self._heap[0][2] is timer:
            self._doorbell.ring()
        return timer

    def call_in(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Call `action` in `seconds`."""
        return self.call_at(trio.current_time() + seconds, action)

    def cancelled(self) -> None:
        """Take note that one more was called off; it is for `Timer.cancel` to say so."""
        self._cancelled += 1
        if 2 * self._cancelled > len(self._heap) + _CANCELLED_MAX:
            self._heap = [entry for entry in self._heap if entry[2].action is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    async def run(self) -> None:
        """Call what is due, until cancelled."""
        while True:
            moment = trio.current_time() + self._longest_sleep
            if self._heap:
                moment = min(moment, self._heap[0][0])
            with trio.move_on_at(moment):
                await self._doorbell.answer()
            self._on_wake()
            now = trio.current_time()
            while self._heap and self._heap[0][0] <= now:
                self._call(heapq.heappop(self._heap)[2])

    def _call(self, timer: Timer) -> None:
        action, timer.action = timer.action, None
        if action is None:
            self._cancelled -= 1
        else:
            action()


class NextLook:
    """
    Has somebody look when the earliest of its dates has come, with one timer at a time.

    Args:
        timers: Wake it.
        clock: Seconds since 1970; it may step, and go slower than Trio's.
        look: Called then; it asks for the next look.
    """

    def __init__(self, timers: Timers, clock: Now, look: Callable[[], None]) -> None:
        self._timers = timers
        self._clock = clock
        self._look = look
        # The earliest date that was asked for and has not come, and what waits for it.
        self._date: float | None = None
        self._timer: Timer | None = None

    def at(self, date: float | None) -> None:
        """Look at `date` at the latest; None: nothing has one."""
        # One look that is set for later than this does not help, one for earlier does.
        if date is None or (self._date is not None and self._date <= date):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._date = date
        self._wait_or_look()

    def _wait_or_look(self) -> None:
        assert self._date is not None
        remaining = self._date - self._clock()
        if remaining > 0:
            self._timer = self._timers.call_in(remaining, self._wait_or_look)
        else:
            self._date = self._timer = None
            self._look()
