"""
How ids are made and ordered.

Every id is 32 lower-case hex digits: 48 bits of milliseconds since 1970, then 80 bits that
are random at the start of a millisecond and count upwards within it (UUIDv7's layout of RFC
9562, section 6.2, method 2, without its version bits). So ids of one mint sort in the order
in which they were made, even when the clock steps back; `IdMint.raise_floor` carries that
promise across a restart.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from datetime import UTC, datetime

__all__ = [
    "ID_PATTERN",
    "IdMint",
    "Now",
    "iso_from_seconds",
    "seconds_from_id",
    "seconds_from_iso",
]

#: A clock: seconds since 1970 as a float. The hub's comes from its `clock=` argument.
Now = Callable[[], float]

ID_PATTERN = re.compile(r"[0-9a-f]{32}")

_RANDOM_BITS = 80
_TIME_DIGITS = 12
# Leaves the upper half of each millisecond's space to count into.
_SEED_BITS = _RANDOM_BITS - 1
# How far two ids of the same millisecond lie apart: unguessable enough, and 2**47 of them fit.
_STEP_BITS = 32


class IdMint:
    """
    Makes ids that strictly increase.

    Args:
        now: Seconds since 1970.
        rng: Source of the random part. Ids are names, not secrets: who may use one is
            checked at every operation, so the generator need not be a cryptographic one.
    """

    __slots__ = ("_last", "_now", "_rng")

    def __init__(self, now: Now, rng: random.Random | None = None) -> None:
        self._now = now
        self._rng = rng if rng is not None else random.Random()  # noqa: S311
        self._last = 0

    def __call__(self) -> str:
        """Return the next id."""
        fresh = (int(self._now() * 1000) << _RANDOM_BITS) | self._rng.getrandbits(_SEED_BITS)
        if fresh <= self._last:
            fresh = self._last + 1 + self._rng.getrandbits(_STEP_BITS)
        self._last = fresh
        return f"{fresh:032x}"

    def raise_floor(self, envelope_id: str) -> None:
        """Make sure that every later id sorts after `envelope_id` (such as one read from a log)."""
        self._last = max(self._last, int(envelope_id, 16))

    def ceiling(self, seconds_ahead: float) -> str:
        """
        Return an id above all that will be minted in the next `seconds_ahead` seconds.

        The hub keeps one on disk and moves it forward long before it is reached; after a crash
        it is the floor, so no id is minted twice though the last ones were never written down.
        """
        base = max(int(self._now() * 1000) << _RANDOM_BITS, self._last)
        return f"{base + (int(seconds_ahead * 1000) << _RANDOM_BITS):032x}"


def seconds_from_id(minted: str) -> float:
    """
    Return when an id was made, to the millisecond.

    It may be ahead of the clock: by as much as the clock has stepped back, or as the hub had
    reserved before a crash.
    """
    return int(minted[:_TIME_DIGITS], 16) / 1000


def iso_from_seconds(seconds: float) -> str:
    """Write a time as the wire does: ISO 8601 in UTC, with microseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def seconds_from_iso(text: str) -> float:
    """Read a time off the wire. Raises `ValueError` where it is none; no zone means UTC."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()
