"""Runs: stretches of positions, in order and apart from each other."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Run", "joined"]

#: Positions from the first (inclusive) to the second (exclusive).
Run = tuple[int, int]


def joined(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Return runs in order, the empty ones left out, those that touch or overlap made one."""
    merged: list[Run] = []
    for start, stop in sorted(run for run in runs if run[0] < run[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return tuple(merged)
