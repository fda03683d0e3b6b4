"""A tally: how often things happened and where, in a memory and a text of bounded size."""

from __future__ import annotations

from collections import Counter
from typing import Any

__all__ = ["Tally"]


class Tally:
    """
    Counts by reason and by place.

    Args:
        places_max: How many places are told apart; what happens in others is only counted.
        places_shown_max: How many of them, those with most, are named by `summary`.
    """

    __slots__ = ("_places", "_places_max", "_places_shown_max", "_reasons", "total")

    def __init__(self, *, places_max: int, places_shown_max: int) -> None:
        self._places_max = places_max
        self._places_shown_max = places_shown_max
        # Reasons come from the hub, places from whoever comes along.
        self._reasons: Counter[str] = Counter()
        self._places: Counter[str] = Counter()
        #: How often anything happened.
        self.total = 0

    def add(self, reason: str, place: str) -> None:
        """Count one."""
        self.total += 1
        self._reasons[reason] += 1
        if place in self._places or len(self._places) < self._places_max:
            self._places[place] += 1

    def summary(self) -> dict[str, Any]:
        """Return the counts: by reason, by the places with most, and of all others together."""
        places = dict(self._places.most_common(self._places_shown_max))
        return {
            "reasons": dict(sorted(self._reasons.items())),
            "addresses": places,
            "elsewhere": self.total - sum(places.values()),
        }
