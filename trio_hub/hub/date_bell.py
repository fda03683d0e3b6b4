"""A doorbell that rings by itself when the earliest of many dates has come."""

from __future__ import annotations

from collections.abc import Callable

from ..ids import Now
from .doorbell import Doorbell
from .timers import NextLook, Timers

__all__ = ["DateBell"]


class DateBell:
    """
    Wakes the one who answers it when there is something due.

    Args:
        timers: Have it look in time.
        clock: Seconds since 1970.
        wake_at: Returns the earliest date, or None: nothing has one.
    """

    __slots__ = ("_bell", "_clock", "_next_look", "_wake_at")

    def __init__(self, timers: Timers, clock: Now, wake_at: Callable[[], float | None]) -> None:
        self._bell = Doorbell()
        self._clock = clock
        self._next_look = NextLook(timers, clock, self.look)
        self._wake_at = wake_at

    def look(self) -> None:
        """Ring if something is due. To be called after the clock may have stepped, too."""
        date = self._wake_at()
        if date is not None and date <= self._clock():
            self._bell.ring()
        else:
            # What was due has gone meanwhile, and something later stands first.
            self._next_look.at(date)

    def dates_changed(self) -> None:
        """Ring when the date has come that is the earliest now, at once where it is past."""
        self._next_look.at(self._wake_at())

    def ring(self) -> None:
        """Ring now, whatever is due."""
        self._bell.ring()

    async def answer(self) -> None:
        """Wait for a ring. Cancellation: a ring is not lost."""
        await self._bell.answer()
