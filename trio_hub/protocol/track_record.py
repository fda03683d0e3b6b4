"""
What is observed of a capability: how tasks that exercised it ended, and how long they took.

Counts stand in the agent's resume, which every hub and client of the network reads. Durations are
in a sketch beside it, which only the hub knows; of that the resume shows the median.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ..records import ObservedStat, TaskState, TrackRecord
from .latency_sketch import LatencySketch

__all__ = ["count", "sum_up"]


def count(
    seen: ObservedStat, latencies: LatencySketch, outcome: TaskState, latency_ms: int | None
) -> tuple[ObservedStat, LatencySketch]:
    """
    Return what is known after one more task.

    Args:
        latency_ms: How long it took, of 0 ms or more; None is not known.
    """
    if latency_ms is not None:
        latencies = latencies.add(latency_ms)
    median = latencies.percentile(50)
    counted = attrs.evolve(
        seen,
        n=seen.n + 1,
        completed=seen.completed + (outcome is TaskState.COMPLETED),
        failed=seen.failed + (outcome is TaskState.FAILED),
        expired=seen.expired + (outcome is TaskState.EXPIRED),
        # Of what was observed elsewhere nothing but the median may be known.
        p50_latency_ms=seen.p50_latency_ms if median is None else median,
    )
    return counted, latencies


def sum_up(stats: Iterable[ObservedStat], sketches: Iterable[LatencySketch]) -> TrackRecord:
    """
    Return one record of several capabilities, or of one.

    Args:
        stats: What is counted of each.
        sketches: The durations of those of which the hub has any.
    """
    seen = tuple(stats)
    latencies = LatencySketch().merge(*sketches)
    median = latencies.percentile(50)
    if median is None and len(seen) == 1:
        median = seen[0].p50_latency_ms
    return TrackRecord(
        n=sum(it.n for it in seen),
        completed=sum(it.completed for it in seen),
        failed=sum(it.failed for it in seen),
        expired=sum(it.expired for it in seen),
        p50_latency_ms=median,
        p95_latency_ms=latencies.percentile(95),
        p99_latency_ms=latencies.percentile(99),
    )
