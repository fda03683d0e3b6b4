"""
Counts of measurements in fixed buckets: cheap enough to take one with every commit.

A histogram of a metrics library takes a lock and looks up labels for each measurement. Here one
is a bisection and two additions; whoever wants to show it reads the numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

__all__ = ["SECONDS", "SIZES", "Histogram"]

#: Bounds for what a disk takes: from a cache that takes it at once to one that hangs.
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

#: Bounds for how many share something.
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


class Histogram:
    """
    How often a measurement was how large.

    One thread measures; any may read. What is read while it measures may be off by that one.

    Args:
        bounds: The largest value of each bucket, ascending; above the last there is one more.

    Attributes:
        total: The sum of all measurements.
    """

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Take one measurement."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many measurements there were."""
        return sum(self._counts)

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Yield each bound, infinity last, with how many measurements are not above it."""
        return zip((*self._bounds, float("inf")), accumulate(self._counts), strict=True)
