"""
When to call a hub again that could not be reached.

The state is a document, so that a hub that restarts goes on waiting where it was: many hubs that
restart together while one is down would otherwise all call it at once, again and again.
"""

from __future__ import annotations

import random

import attrs

from ..backoff import Backoff

__all__ = ["DialState"]


@attrs.frozen(kw_only=True)
class DialState:
    """
    How it went so far.

    Attributes:
        failures: Since the last success.
        not_before: Seconds since 1970; no call before that.
    """

    failures: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    not_before: float = 0.0

    def failed(self, now: float, backoff: Backoff, rng: random.Random) -> DialState:
        """Return the state after one more failure."""
        wait = backoff.delay(self.failures, rng)
        return DialState(failures=self.failures + 1, not_before=now + wait)

    def wait(self, now: float, backoff: Backoff) -> float:
        """
        Return for how long not to call, in seconds.

        Never longer than the schedule allows: the clock may have stepped back meanwhile.
        """
        if not self.failures:
            return 0.0
        return min(max(0.0, self.not_before - now), backoff.ceiling(self.failures - 1))
