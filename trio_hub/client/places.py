"""
Taking a place without giving way to others.

`trio.Semaphore.acquire` lets every other task run, also where a place is free: a switch of tasks
for each message, of which a client on a busy connection handles thousands a second. Whoever takes
a place here waits for something else right afterwards, or counts how often it did not.
"""

from __future__ import annotations

import trio

__all__ = ["take_place"]


async def take_place(places: trio.Semaphore) -> None:
    """
    Acquire a semaphore; give way only where no place is free. Who came first, gets it first.

    Cancellation: nothing is acquired. One that is due already is raised in any case.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    try:
        places.acquire_nowait()
    except trio.WouldBlock:
        await places.acquire()
