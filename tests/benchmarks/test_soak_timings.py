"""Percentiles of a soak are right to within a tenth, also when several processes have seen it."""

from __future__ import annotations

import json

import pytest

from benchmarks.soak.timings import WINDOW_SECONDS, Timings


def test_percentiles_are_right_to_within_a_tenth() -> None:
    timings = Timings()
    for number in range(1, 1_001):
        timings.add(at=number / 10, seconds=number / 1_000)
    found = timings.percentiles((0.5, 0.9, 0.99, 1.0))
    assert found == pytest.approx([0.5, 0.9, 0.99, 1.0], rel=0.1)
    assert found is not None
    assert found[-1] >= 1.0


def test_each_window_has_its_own() -> None:
    timings = Timings()
    timings.add(at=0.0, seconds=0.001)
    timings.add(at=WINDOW_SECONDS - 0.1, seconds=0.003)
    timings.add(at=WINDOW_SECONDS, seconds=0.5)
    windows = timings.by_window((0.5, 1.0))
    assert list(windows) == [WINDOW_SECONDS, 2 * WINDOW_SECONDS]
    assert windows[WINDOW_SECONDS] == pytest.approx([0.001, 0.003], rel=0.1)
    assert windows[2 * WINDOW_SECONDS] == pytest.approx([0.5, 0.5], rel=0.1)


def test_two_processes_are_added_up() -> None:
    here, there, both = Timings(), Timings(), Timings()
    for number in range(1, 101):
        (here if number % 2 else there).add(at=float(number), seconds=number / 100)
        both.add(at=float(number), seconds=number / 100)
    here.merge(json.loads(json.dumps(there.as_json())))
    assert here.as_json() == both.as_json()
    assert here.percentiles((0.5,)) == both.percentiles((0.5,)) == pytest.approx([0.5], rel=0.1)


def test_nothing_was_timed() -> None:
    assert Timings().percentiles((0.5,)) is None
    assert Timings().by_window((0.5,)) == {}


def test_no_time_at_all_is_the_smallest_bucket() -> None:
    timings = Timings()
    timings.add(at=1.0, seconds=0.0)
    assert timings.percentiles((1.0,)) == [pytest.approx(1e-4)]
