"""
Percentiles of durations in bounded space: a count for each bucket, buckets growing by 2 %.

A percentile is off by at most `RELATIVE_ERROR` (and half a millisecond, for they are whole),
however many durations were taken in. Sketches are merged by adding up their counts, bucket by
bucket: the same durations give the same sketch, in whatever order and pieces they came. (The
buckets are those of DDSketch, Masson, Rim and Lee 2019.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import attrs

__all__ = ["BUCKETS_MAX", "MILLISECONDS_MAX", "RELATIVE_ERROR", "LatencySketch"]

#: How far a percentile may be off, of itself.
RELATIVE_ERROR: Final = 0.01
_GROWTH: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GROWTH: Final = math.log(_GROWTH)
# Zero has no logarithm, so it has a bucket of its own.
_ZERO: Final = -1
#: The longest duration of a task that is told apart: a year. What takes longer counts as that.
MILLISECONDS_MAX: Final = 365 * 86_400_000


def _bucket(milliseconds: int) -> int:
    return _ZERO if milliseconds == 0 else math.ceil(math.log(milliseconds) / _LOG_GROWTH)


_BUCKET_MAX: Final = _bucket(MILLISECONDS_MAX)
#: Buckets of the largest sketch of durations, which is 15 kB of JSON: up to the longest, 2 % apart.
BUCKETS_MAX: Final = _BUCKET_MAX - _ZERO + 1


def _check_counts(_sketch: Any, _field: Any, counts: Mapping[int, int]) -> None:
    if counts and not (min(counts) >= _ZERO and max(counts) <= _BUCKET_MAX):
        raise ValueError(f"buckets are numbered from {_ZERO} to {_BUCKET_MAX}")
    if counts and min(counts.values()) < 1:
        raise ValueError("a bucket that is named holds something")


@attrs.frozen(kw_only=True)
class LatencySketch:
    """
    Durations that were taken in.

    Attributes:
        counts: How many by bucket: bucket b holds what is up to growth to the power of b, and more
            than that to the power of b - 1. Zero has a bucket of its own, -1.
    """

    counts: dict[int, int] = attrs.field(factory=dict, validator=_check_counts)

    @property
    def n(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    def add(self, milliseconds: int) -> LatencySketch:
        """Return a sketch that has taken in one more duration, of 0 ms or more."""
        bucket = _bucket(min(milliseconds, MILLISECONDS_MAX))
        return self.merge(LatencySketch(counts={bucket: 1}))

    def merge(self, *others: LatencySketch) -> LatencySketch:
        """Return what one sketch that had taken in everything would be."""
        counts = dict(self.counts)
        for other in others:
            for bucket, count in other.counts.items():
                counts[bucket] = counts.get(bucket, 0) + count
        return LatencySketch(counts=counts)

    def percentile(self, percent: float) -> int | None:
        """
        Return the duration in milliseconds that so many percent do not exceed; None of none.

        Args:
            percent: Above 0, up to 100. The rank is rounded up, so that it is one of the durations.
        """
        rank = math.ceil(self.n * percent / 100)
        for bucket in sorted(self.counts):
            rank -= self.counts[bucket]
            if rank <= 0:
                return _middle(bucket)
        return None


def _middle(bucket: int) -> int:
    """Return what is as far, in proportion, from either end of a bucket."""
    return 0 if bucket == _ZERO else round(2 * _GROWTH**bucket / (_GROWTH + 1))
