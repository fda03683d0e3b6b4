"""
Alarms: when to look at something again, for many things, of which few are ever due.

A heap with lazy deletion. Each key has at most one alarm that counts, the earliest that was set;
items of the heap that say otherwise are passed over when they come up, and swept out when they
are more than those that count.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

__all__ = ["Alarms"]

# Below it sweeping is not worth the trouble.
_STALE_MAX = 64


class Alarms:
    """One alarm for each key; times are of any clock that does not step."""

    __slots__ = ("_at", "_heap")

    def __init__(self) -> None:
        self._at: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        """How much is kept, what no longer counts included."""
        return len(self._heap)

    def set(self, key: str, due: float) -> None:
        """Set an alarm, unless an earlier one is set."""
        earlier = self._at.get(key)
        if earlier is not None and earlier <= due:
            return
        self._at[key] = due
        heapq.heappush(self._heap, (due, key))
        if len(self._heap) > 2 * len(self._at) + _STALE_MAX:
            self._heap[:] = [(at, key) for key, at in self._at.items()]
            heapq.heapify(self._heap)

    def forget(self, key: str) -> None:
        """Take an alarm back."""
        self._at.pop(key, None)

    def clear(self) -> None:
        """Take all back."""
        self._at.clear()
        self._heap.clear()

    def any_due(self, now: float) -> bool:
        """Whether it is worth calling `due`: one comparison."""
        return bool(self._heap) and self._heap[0][0] <= now

    def any_before(self, moment: float) -> bool:
        """Whether `earliest` may be before a moment: one comparison."""
        return bool(self._heap) and self._heap[0][0] < moment

    def due(self, now: float) -> Iterator[str]:
        """Take out and yield the keys whose time has come."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, key = heapq.heappop(heap)
            if self._at.get(key) == at:
                del self._at[key]
                yield key

    def earliest(self, matters: Callable[[str], bool] = lambda _: True) -> float | None:
        """Return the earliest time of a key that still matters, taking out those that do not."""
        heap = self._heap
        while heap:
            at, key = heap[0]
            if self._at.get(key) == at:
                if matters(key):
                    return at
                del self._at[key]
            heapq.heappop(heap)
        return None
