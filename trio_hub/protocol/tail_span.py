"""
What is known of a stretch of a log: at which positions stands what somebody wants to see.

A log only grows and who may see an envelope never changes, so what was found out once holds for
good. A span remembers so much that whoever asks again looks only at what has come since.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

import attrs

__all__ = ["POSITIONS_MAX", "TailSpan"]

#: Positions that one span remembers: as many as a wide window shows.
POSITIONS_MAX: Final = 256


@attrs.frozen
class TailSpan:
    """
    A stretch of a log that was looked through.

    Attributes:
        low: The first position of it.
        high: The position behind its last.
        positions: Where in it stands what is wanted, ascending.
    """

    low: int
    high: int
    positions: tuple[int, ...] = ()

    def covers(self, end: int) -> bool:
        """Whether what stands just before `end` is in it."""
        return self.low < end <= self.high

    def last_before(self, end: int, limit: int) -> tuple[int, ...]:
        """Return the last `limit` positions below `end`, ascending."""
        index = bisect_left(self.positions, end)
        return self.positions[max(0, index - limit) : index]

    def join(self, other: TailSpan) -> TailSpan:
        """
        Return what both know, where they meet; otherwise the one that is nearer to the log's end.

        Beyond `POSITIONS_MAX` it begins later.
        """
        if self.high < other.low or other.high < self.low:
            return self if self.high > other.high else other
        low, high = min(self.low, other.low), max(self.high, other.high)
        positions = tuple(sorted({*self.positions, *other.positions}))
        if len(positions) > POSITIONS_MAX:
            low = positions[-POSITIONS_MAX - 1] + 1
            positions = positions[-POSITIONS_MAX:]
        return TailSpan(low, high, positions)
