"""What is counted of tasks, and how several capabilities are added up."""

from __future__ import annotations

import pytest

from trio_hub.protocol.latency_sketch import LatencySketch
from trio_hub.protocol.track_record import count, sum_up
from trio_hub.records import ObservedStat, TaskState, TrackRecord


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [
        (TaskState.COMPLETED, {"completed": 1}),
        (TaskState.FAILED, {"failed": 1}),
        (TaskState.EXPIRED, {"expired": 1}),
        (TaskState.CANCELLED, {}),
    ],
)
def test_a_task_counts_by_how_it_ended(outcome: TaskState, counted: dict[str, int]) -> None:
    stat, latencies = count(ObservedStat(), LatencySketch(), outcome, 10)
    assert stat == ObservedStat(n=1, p50_latency_ms=10, **counted)
    assert latencies.n == 1


def test_the_median_is_of_all_and_one_without_a_duration_changes_nothing() -> None:
    stat, latencies = ObservedStat(), LatencySketch()
    for latency_ms in (10, 11, 9_000, None):
        stat, latencies = count(stat, latencies, TaskState.COMPLETED, latency_ms)
    assert (stat.n, stat.p50_latency_ms, latencies.n) == (4, 11, 3)


def test_a_median_that_was_known_stays_until_something_is_measured() -> None:
    before = ObservedStat(n=3, completed=3, p50_latency_ms=70)
    stat, latencies = count(before, LatencySketch(), TaskState.FAILED, None)
    assert stat.p50_latency_ms == 70
    stat, _ = count(stat, latencies, TaskState.FAILED, 5)
    assert (stat.n, stat.p50_latency_ms) == (5, 5)


def test_several_capabilities_are_added_up_with_the_percentiles_of_all_their_durations() -> None:
    law = ObservedStat(n=2, completed=1, failed=1, p50_latency_ms=10)
    tax = ObservedStat(n=2, completed=1, expired=1, p50_latency_ms=5_000)
    sketches = [LatencySketch().add(10).add(10), LatencySketch().add(10).add(5_000)]
    assert sum_up([law, tax], sketches) == TrackRecord(
        n=4,
        completed=2,
        failed=1,
        expired=1,
        p50_latency_ms=10,
        p95_latency_ms=sketches[1].percentile(100),
        p99_latency_ms=sketches[1].percentile(100),
    )


def test_without_durations_only_a_single_median_is_one() -> None:
    stat = ObservedStat(n=1, completed=1, p50_latency_ms=10)
    assert sum_up([stat], []).p50_latency_ms == 10
    assert sum_up([stat, stat], []) == TrackRecord(n=2, completed=2)
    assert sum_up([], []) == TrackRecord()


def test_the_success_rate_is_of_all_that_ended() -> None:
    assert TrackRecord(n=4, completed=3).success_rate == 0.75
    assert TrackRecord().success_rate is None
