"""A soak reports what has leaked, what was lost, and that nothing has happened."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from benchmarks.soak.report import Seen, make_report

_SECONDS = 180.0


def _sample(at: float, **other: float) -> dict[str, float]:
    sample = {
        "at": at,
        "process_resident_memory_bytes": 60e6,
        "process_open_fds": 20.0,
        "trio_hub_running_tasks": 25.0,
        "trio_hub_connections": 0.0,
        "trio_hub_names_revoked": 0.0,
        "trio_hub_redeliveries_total": 0.0,
        "trio_hub_commits_failed_total": 0.0,
    }
    return sample | other


def _seen(**after: float) -> Seen:
    seen = Seen(before=_sample(100.0), after=_sample(300.0, **after))
    seen.samples = [
        _sample(100.0 + at, trio_hub_connections=9.0, process_open_fds=29.0)
        for at in range(0, int(_SECONDS), 2)
    ]
    seen.counts = Counter({"channels checked": 3, "keys revoked": 2, "posts": 360})
    seen.counts += Counter({"agents revoked": 2, "revoked agents turned away": 6})
    seen.latencies.add(at=110.0, seconds=0.01)
    seen.lags.add(at=110.0, seconds=0.02)
    return seen


def test_a_good_run() -> None:
    report = make_report(_seen(), _SECONDS)
    assert report["problems"] == []
    assert report["posts_per_second"] == 2.0
    assert report["memory_one_percent_per_hour"] == "cannot tell"
    assert report["descriptors_before_peak_after"] == [20.0, 29.0, 20.0]
    assert report["post_ms_p50_p90_p99"] == pytest.approx([10.0] * 3, rel=0.1)
    history = json.loads(json.dumps(report))["history"]
    assert history["samples"][0]["at"] == 0.0
    assert history["samples"][0]["memory_mb"] == 60.0
    assert history["lag_ms"][0]["at"] == 15.0
    assert history["lag_ms"][0]["p99"] == pytest.approx(20.0, rel=0.1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("process_open_fds", 23.0),
        ("trio_hub_running_tasks", 26.0),
        ("trio_hub_connections", 1.0),
        ("trio_hub_names_revoked", 1.0),
    ],
)
def test_what_is_left_over_is_a_problem(name: str, value: float) -> None:
    (problem,) = make_report(_seen(**{name: value}), _SECONDS)["problems"]
    assert problem.startswith(f"{name} was ")
    assert problem.endswith(f"is {value:g} at the end")


def test_memory_that_grows_is_a_problem() -> None:
    seen = _seen()
    for sample in seen.samples:
        sample["process_resident_memory_bytes"] *= 1 + (sample["at"] - 100) / _SECONDS
    (problem,) = make_report(seen, _SECONDS)["problems"]
    assert "memory has grown by" in problem


def test_what_was_seen_to_be_lost_is_a_problem() -> None:
    seen = _seen()
    seen.problems.append("no_acknowledged_post_lost: ...")
    assert make_report(seen, _SECONDS)["problems"] == ["no_acknowledged_post_lost: ..."]


@pytest.mark.parametrize(
    "missing", ["channels checked", "keys revoked", "agents revoked", "revoked agents turned away"]
)
def test_a_run_in_which_nothing_happened_did_not_hold(missing: str) -> None:
    seen = _seen()
    del seen.counts[missing]
    (problem,) = make_report(seen, _SECONDS)["problems"]
    assert "too short to say anything" in problem
