"""
The token bucket: so many at once, so many in the long run.

It is kept as one moment, the one at which the bucket would be full again (the generic cell rate
algorithm of ATM), so that there is nothing to refill and a bucket that nobody uses costs a float.
"""

from __future__ import annotations

import attrs

__all__ = ["TokenBucket"]

_SECONDS_PER_MINUTE = 60.0
_ROUNDING = 1e-6


@attrs.define
class TokenBucket:
    """
    One bucket, full at first.

    Capacity and rate are given with each `take`, not kept: when a rule changes, the next take
    follows the new one, and what was taken before still counts.

    Attributes:
        full_at: When it is full again, in seconds of a clock that does not step.
    """

    full_at: float = float("-inf")

    def take(self, now: float, *, per_minute: float, burst: int = 0) -> float:
        """
        Take one token, or say how long to wait for it.

        Args:
            now: The time, in seconds.
            per_minute: Tokens that come back in a minute; more than 0.
            burst: How many it holds; 0 is as many as come back in a minute.

        Returns:
            0.0 where it was taken; otherwise the seconds after which there is one, and nothing
            was taken.
        """
        assert per_minute > 0, "a rate of none is no bucket"
        interval = _SECONDS_PER_MINUTE / per_minute
        # At least one, or nothing could ever be taken.
        capacity = max(1.0, burst or per_minute)
        full_at = max(self.full_at, now) + interval
        wait = full_at - now - capacity * interval
        # Sums of floats are off by a little, and that must not cost a token that is there.
        if wait > interval * _ROUNDING:
            return wait
        self.full_at = full_at
        return 0.0

    def give_back(self, *, per_minute: float) -> None:
        """Put back a token that was taken at this rate."""
        self.full_at -= _SECONDS_PER_MINUTE / per_minute
