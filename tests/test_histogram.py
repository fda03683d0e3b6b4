"""Counts in buckets."""

from __future__ import annotations

from trio_hub._histogram import Histogram


def test_a_measurement_at_a_bound_is_not_above_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.observe(value)
    assert list(histogram.cumulative()) == [(1.0, 2), (2.0, 4), (float("inf"), 5)]
    assert histogram.count == 5
    assert histogram.total == 14.0


def test_nothing_measured_is_nothing() -> None:
    histogram = Histogram((1.0,))
    assert list(histogram.cumulative()) == [(1.0, 0), (float("inf"), 0)]
    assert histogram.count == histogram.total == 0
