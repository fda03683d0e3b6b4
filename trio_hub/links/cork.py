"""
A cork: keeps what is pushed until it is pulled, and then has all of it written at once.

Without one, whoever pushes a frame wakes the connection's writer, which is a task: a turn of the
scheduler later it writes what has gathered. Someone who pushes to many connections in one go, and
knows when that is done, can have the same gathering without a task for each::

    cork.put_in()
    ...  # push to this one and that one; nothing here waits
    cork.pull()

It is for stretches of work without a checkpoint: what others push meanwhile would be kept, too.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Cork"]


class Cork:
    """
    Shared by the connections of one hub.

    Attributes:
        is_in: Whether what is pushed is kept.
    """

    __slots__ = ("_kept", "is_in")

    def __init__(self) -> None:
        self.is_in = False
        self._kept: list[Callable[[], None]] = []

    def __len__(self) -> int:
        """How many connections have something to write."""
        return len(self._kept)

    def put_in(self) -> None:
        """Keep what is pushed from now on."""
        self.is_in = True

    def keep(self, write: Callable[[], None]) -> None:
        """Have `write` called when the cork is pulled."""
        assert self.is_in, "nobody would pull it"
        self._kept.append(write)

    def write_out(self) -> None:
        """Have written what was kept so far. The cork stays in."""
        kept, self._kept = self._kept, []
        for write in kept:
            write()

    def pull(self) -> None:
        """Have everything written that was kept."""
        self.is_in = False
        self.write_out()
