"""
How long to wait before trying again: exponential, with full jitter.

Full jitter draws the whole wait from zero to the ceiling, so that many that failed together do
not come back together; of the usual variants it costs a recovering peer the least work. The
ceiling doubles with every failure until it reaches `cap`. The random source is an argument, so
a seed replays every wait.
"""

from __future__ import annotations

import random

import attrs

__all__ = ["Backoff"]

# Doubling any further would overflow a float, and no cap in seconds is anywhere near.
_DOUBLINGS_MAX = 512


@attrs.frozen
class Backoff:
    """
    A schedule of waits.

    Attributes:
        base: Ceiling of the first wait, in seconds. What failed for a moment is over by then.
        cap: Ceiling that no wait exceeds, in seconds: how late what is well again is noticed.
    """

    base: float = attrs.field(
        default=1.0, validator=attrs.validators.gt(0), metadata={"unit": "seconds"}
    )
    cap: float = attrs.field(default=60.0, metadata={"unit": "seconds"})

    @cap.validator
    def _cap_is_no_less_than_base(self, attribute: attrs.Attribute[float], value: float) -> None:
        if not value >= self.base:
            raise ValueError(
                f"a backoff's cap ({value} s) must be at least its base ({self.base} s)"
            )

    def ceiling(self, retry: int) -> float:
        """Return the longest that retry number `retry` (from 0) may wait, in seconds."""
        return min(self.cap, self.base * 2.0 ** min(retry, _DOUBLINGS_MAX))

    def delay(self, retry: int, rng: random.Random) -> float:
        """Draw the wait before retry number `retry` (from 0), in seconds."""
        return rng.uniform(0.0, self.ceiling(retry))
