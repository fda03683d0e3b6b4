"""
Does a figure grow? A straight line through its samples, and how far that line can be trusted.

Samples that follow each other closely resemble each other, so an error that took each for news
would be too small. They are put together in blocks, and the error is that of the blocks' means.
It covers noise only: in a short run, an allocator that is still filling its arenas looks the same
as a leak, however small the error. Hence a rate is judged in long runs, and in short ones only
whether the figure has grown by a lot.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from typing import Literal

import attrs

__all__ = ["Trend", "growth_problem", "trend", "verdict"]

Verdict = Literal["at most", "more", "cannot tell"]

_BLOCKS = 12
# Student's t for 95 % and ten degrees of freedom: twelve blocks, and two were spent on the line.
_T = 2.23
_SECONDS_OF_A_LONG_RUN = 1800.0
#: What a figure may gain in all where the run is short: what is being filled is, by then.
_SHORT_RUN_PERCENT_MAX = 15.0


@attrs.frozen
class Trend:
    """
    How a figure went.

    Attributes:
        mean: Over all samples.
        seconds: From the first sample to the last.
        percent_per_hour: What it gains in an hour, of its mean.
        error: How far the true gain may be from that, at 95 %, as far as it is noise; infinite
            where there are too few samples to say.
    """

    mean: float
    seconds: float
    percent_per_hour: float
    error: float

    @property
    def percent_in_all(self) -> float:
        """What the line gains from the first sample to the last, of the mean."""
        return self.percent_per_hour * self.seconds / 3600

    def __str__(self) -> str:
        return f"{self.percent_per_hour:+.2f} ± {self.error:.2f} % in an hour"


def trend(times: Sequence[float], values: Sequence[float]) -> Trend:
    """
    Put a straight line through samples.

    Args:
        times: Seconds, ascending; two of them at least.
        values: What was seen then, above 0.
    """
    assert len(times) == len(values) >= 2
    count = min(_BLOCKS, len(times))
    cuts = [round(number * len(times) / count) for number in range(count + 1)]
    blocks = list(itertools.pairwise(cuts))
    xs = [statistics.mean(times[start:stop]) for start, stop in blocks]
    ys = [statistics.mean(values[start:stop]) for start, stop in blocks]
    line = statistics.linear_regression(xs, ys)
    error = math.inf
    if count == _BLOCKS:
        residuals = [y - line.slope * x - line.intercept for x, y in zip(xs, ys, strict=True)]
        variance = sum(it * it for it in residuals) / (count - 2)
        middle = statistics.mean(xs)
        error = _T * math.sqrt(variance / sum((x - middle) ** 2 for x in xs))
    mean = statistics.mean(values)
    scale = 100 * 3600 / mean
    return Trend(mean, times[-1] - times[0], line.slope * scale, error * scale)


def verdict(seen: Trend, percent_per_hour_max: float) -> Verdict:
    """Say whether a figure gains at most so much in an hour, if the run can tell."""
    if seen.seconds < _SECONDS_OF_A_LONG_RUN:
        return "cannot tell"
    if seen.percent_per_hour + seen.error <= percent_per_hour_max:
        return "at most"
    if seen.percent_per_hour - seen.error > percent_per_hour_max:
        return "more"
    return "cannot tell"


def growth_problem(name: str, seen: Trend, percent_per_hour_max: float) -> str | None:
    """Return a sentence where a figure has certainly grown by more than it may."""
    if verdict(seen, percent_per_hour_max) == "more":
        return f"{name} grows by {seen}; it may by {percent_per_hour_max:g} %"
    if seen.percent_in_all > _SHORT_RUN_PERCENT_MAX:
        return (
            f"{name} has grown by {seen.percent_in_all:.0f} % in {seen.seconds:.0f} s after the "
            f"warm-up; it may by {_SHORT_RUN_PERCENT_MAX:g} %"
        )
    return None
