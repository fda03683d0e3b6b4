"""
A throttle: a token bucket for each of many keys, in bounded memory.

What is not kept is full. So a key that nobody uses costs nothing once its bucket has filled up
again, and where more are in use than there is room for, the one that was used least recently is
forgotten, in favour of whom it belongs to.
"""

from __future__ import annotations

from collections.abc import Hashable

from .limits import TokenBucket

__all__ = ["Throttle"]


class Throttle:
    """
    Buckets by key.

    Args:
        per_minute: Tokens that come back in a minute, and as many as a bucket holds; None for no
            limit.
        keys_max: How many buckets are kept that are not full.
    """

    __slots__ = ("_buckets", "_keys_max", "_per_minute")

    def __init__(self, *, per_minute: int | None, keys_max: int) -> None:
        self._per_minute = per_minute
        self._keys_max = keys_max
        # The one that was used least recently comes first.
        self._buckets: dict[Hashable, TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def wait(self, key: Hashable, now: float) -> float:
        """Return after how many seconds there is a token, and take none."""
        bucket = self._buckets.get(key)
        if bucket is None or self._per_minute is None:
            return 0.0
        return TokenBucket(bucket.full_at).take(now, per_minute=self._per_minute)

    def take(self, key: Hashable, now: float) -> float:
        """Take a token, or return after how many seconds there is one."""
        if self._per_minute is None:
            return 0.0
        self._forget_full(now)
        bucket = self._buckets.pop(key, None) or TokenBucket()
        self._buckets[key] = bucket
        if len(self._buckets) > self._keys_max:
            del self._buckets[next(iter(self._buckets))]
        return bucket.take(now, per_minute=self._per_minute)

    def give_back(self, key: Hashable, now: float) -> None:
        """Put back what `take` took."""
        bucket = self._buckets.get(key)
        if bucket is None or self._per_minute is None:
            return
        bucket.give_back(per_minute=self._per_minute)
        if bucket.full_at <= now:
            del self._buckets[key]

    def _forget_full(self, now: float) -> None:
        while self._buckets:
            key = next(iter(self._buckets))
            if self._buckets[key].full_at > now:
                return
            del self._buckets[key]
