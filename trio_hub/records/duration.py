"""Durations as people write them: ``"30s"``, ``"15m"``, ``"2h"``, ``"1d"``, or seconds."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["Duration", "check_duration", "duration_seconds"]

Duration = str | int | float

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration_seconds(duration: Duration) -> float:
    """
    Return a duration in seconds. ``""`` and 0 mean none, which is 0.

    Raises:
        ValueError: It is negative, not finite, or has a unit other than s, m, h, d.
    """
    if isinstance(duration, str):
        text = duration.strip()
        if not text:
            return 0.0
        unit = _UNIT_SECONDS.get(text[-1].lower())
        digits = text if unit is None else text[:-1]
        try:
            seconds = float(digits) * (unit or 1)
        except ValueError:
            raise ValueError(
                f"{duration!r} is no duration: write it as '30s', '15m', '2h', '1d', or in seconds"
            ) from None
    else:
        try:
            seconds = float(duration)
        except OverflowError:
            raise ValueError("a number of that many digits is no duration") from None
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{duration!r} is no duration: it must be finite and not negative")
    return seconds


def check_duration(_record: object, _field: Any, value: Duration | None) -> None:
    """Refuse what `duration_seconds` cannot read (an attrs validator)."""
    if value is not None:
        duration_seconds(value)
