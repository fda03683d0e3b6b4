"""
How long things took, by when they happened, in as much memory as the run is long.

Durations go into buckets, each a tenth wider than the one before, so a percentile is right to
within that tenth, and what several processes have seen can be added up.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

__all__ = ["WINDOW_SECONDS", "Timings"]

WINDOW_SECONDS = 5.0
_SMALLEST_SECONDS = 1e-4
_STEP = math.log(1.1)


class Timings:
    """Durations, by windows of `WINDOW_SECONDS`."""

    def __init__(self) -> None:
        self._windows: dict[int, Counter[int]] = {}

    def add(self, at: float, seconds: float) -> None:
        """
        Add one.

        Args:
            at: When, by the monotonic clock of the machine.
            seconds: How long.
        """
        bucket = 0
        if seconds > _SMALLEST_SECONDS:
            bucket = math.ceil(math.log(seconds / _SMALLEST_SECONDS) / _STEP)
        self._windows.setdefault(int(at // WINDOW_SECONDS), Counter())[bucket] += 1

    def as_json(self) -> dict[str, dict[str, int]]:
        """Return what `merge` takes."""
        return {
            str(window): {str(bucket): count for bucket, count in counts.items()}
            for window, counts in self._windows.items()
        }

    def merge(self, other: Mapping[str, Mapping[str, int]]) -> None:
        """Add what another process has seen."""
        for window, counts in other.items():
            mine = self._windows.setdefault(int(window), Counter())
            mine.update({int(bucket): count for bucket, count in counts.items()})

    def percentiles(self, fractions: Iterable[float]) -> list[float] | None:
        """Return durations, in seconds, below which these fractions of all lie; None of none."""
        return _percentiles(sum(self._windows.values(), Counter()), fractions)

    def by_window(self, fractions: Iterable[float]) -> dict[float, list[float]]:
        """Return the same for each window, by when it ended."""
        wanted = tuple(fractions)
        return {
            (window + 1) * WINDOW_SECONDS: found
            for window, counts in sorted(self._windows.items())
            if (found := _percentiles(counts, wanted)) is not None
        }


def _percentiles(counts: Counter[int], fractions: Iterable[float]) -> list[float] | None:
    total = counts.total()
    if not total:
        return None
    found = []
    for fraction in fractions:
        below = 0
        for bucket, count in sorted(counts.items()):
            below += count
            if below >= fraction * total:
                found.append(_SMALLEST_SECONDS * math.exp(bucket * _STEP))
                break
    return found
