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

__all__ = ["NextLook", "Timers"]


class Timers:
    """
    Calls things later.

    Args:
        longest_sleep: In seconds; how late a step of the wall clock may be noticed.
        on_wake: Called whenever the task has woken, at least every `longest_sleep` seconds.
    """

    def __init__(self, longest_sleep: float, on_wake: Callable[[], None]) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._ticket = itertools.count()
        self._doorbell = Doorbell()
        self._longest_sleep = longest_sleep
        self._on_wake = on_wake

    def call_at(self, moment: float, action: Callable[[], None]) -> None:
        """
        Call `action` at `moment` (`trio.current_time`), soon after if that is past.

        There is no cancelling: an action looks whether there is still something to do.
        """
        heapq.heappush(self._heap, (moment, next(self._ticket), action))
        if self._heap[0][2] is action:
            self._doorbell.ring()

    def call_in(self, seconds: float, action: Callable[[], None]) -> None:
        """Call `action` in `seconds`."""
        self.call_at(trio.current_time() + seconds, action)

    def call_at_date(self, date: float, clock: Now, action: Callable[[], None]) -> None:
        """Call `action` when `date` has come by `clock`, which may go slower than Trio's."""
        remaining = date - clock()
        if remaining > 0:
            self.call_in(remaining, lambda: self.call_at_date(date, clock, action))
        else:
            action()

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
                heapq.heappop(self._heap)[2]()


class NextLook:
    """
    Has somebody look when the earliest of its dates has come, with as few timers as that takes.

    Args:
        timers: Wake it.
        clock: Seconds since 1970.
        look: Called then; it asks for the next look.
    """

    def __init__(self, timers: Timers, clock: Now, look: Callable[[], None]) -> None:
        self._timers = timers
        self._clock = clock
        self._look = look
        # The earliest date for which a timer is set that has not called yet.
        self._looks_at: float | None = None

    def at(self, date: float | None) -> None:
        """Look at `date` at the latest; None: nothing has one."""
        # One look that is set for later than this does not help, one for earlier does.
        if date is None or (self._looks_at is not None and self._looks_at <= date):
            return
        self._looks_at = date
        self._timers.call_at_date(date, self._clock, lambda: self._come(date))

    def _come(self, date: float) -> None:
        # A timer that an earlier one has overtaken: there was a look, and it asked for the next.
        if date == self._looks_at:
            self._looks_at = None
            self._look()
