"""
A bell that a thread rings and a task hears.

`run_sync_soon` does the same for everybody and costs more: two sockets with a buffer for each
byte, a lock, and a read that fails. Where the system has event counters (Linux), ringing one and
hearing it is a system call each, and the whole way from the thread to the task a third.
"""

from __future__ import annotations

import os
import sys
from typing import Protocol

import trio

__all__ = ["ThreadBell", "open_bell"]


class ThreadBell(Protocol):
    """Rung by any thread, heard by one task."""

    def ring(self) -> None:
        """Wake the task that hears, now or as soon as it does. Never blocks."""
        ...

    async def heard(self) -> None:
        """
        Wait for a ring; any number of them since the last time are one.

        Raises:
            trio.ClosedResourceError: The bell was closed.

        Cancellation: a ring is not lost.
        """
        ...

    def close(self) -> None:
        """Take it down, on Trio's thread; nobody must ring it any more."""
        ...


if sys.platform == "linux":

    class _EventBell:
        """A `ThreadBell` that is an event counter of Linux."""

        def __init__(self) -> None:
            self._counter = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

        def ring(self) -> None:
            os.eventfd_write(self._counter, 1)

        async def heard(self) -> None:
            await trio.lowlevel.wait_readable(self._counter)
            os.eventfd_read(self._counter)

        def close(self) -> None:
            trio.lowlevel.notify_closing(self._counter)
            os.close(self._counter)

    def open_bell() -> ThreadBell | None:
        """Return a bell, or None where the system has nothing that is cheaper than Trio's way."""
        return _EventBell()

else:

    def open_bell() -> ThreadBell | None:
        """Return a bell, or None where the system has nothing that is cheaper than Trio's way."""
        return None
