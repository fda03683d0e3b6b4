"""A clock on which nothing takes time but waiting, cheaper than `trio.testing.MockClock`."""

from __future__ import annotations

import math

import trio


class LeapingClock(trio.abc.Clock):
    """
    Goes straight to the next deadline whenever every task waits.

    `MockClock` first lets a whole turn of the loop find out that nothing happens; it has to,
    because threads and sockets could wake somebody up. In a simulated world there are none, so
    where Trio asks how long to sleep there is nothing to wait for but the deadline it names.
    """

    def __init__(self) -> None:
        self._now = 0.0

    def start_clock(self) -> None:
        """Begin at 0, where the clock stands already."""

    def current_time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Be there already."""
        if math.isinf(deadline):
            # Before the world begins and when it has ended, the loop wakes itself up.
            return math.inf
        self._now = max(self._now, deadline)
        return 0.0
