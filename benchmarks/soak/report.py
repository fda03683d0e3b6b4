"""What came of a run: figures, problems, and a history to draw."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import attrs

from .judging import growth_problem, trend, verdict
from .timings import Timings

__all__ = ["PERCENTILES", "Seen", "make_report"]

PERCENTILES = (0.5, 0.9, 0.99)
_MEMORY_PERCENT_PER_HOUR_MAX = 1.0
# Agents have come, channels have ended and been taken out, the collector has been around.
_FULL_AFTER_SECONDS = 120.0
_HAPPENS = ("channels checked", "keys revoked", "agents revoked", "revoked agents turned away")
# What a store may open for itself meanwhile.
_DESCRIPTORS_MORE_MAX = 2
_DRAWN = {
    "process_resident_memory_bytes": "memory_mb",
    "process_open_fds": "descriptors",
    "trio_hub_running_tasks": "tasks",
    "trio_hub_connections": "connections",
    "trio_hub_oldest_unacked_seconds": "oldest_unacked_seconds",
}


@attrs.define
class Seen:
    """
    What a run has seen.

    Attributes:
        before: A sample of the hub's metrics before anybody came.
        samples: While they were there.
        after: When everybody had left.
        counts: What has happened how often, in all processes.
        problems: What did not hold, in sentences.
        latencies: How long posts took.
        lags: How long it took until a recipient had them.
    """

    before: dict[str, float] = attrs.field(factory=dict)
    samples: list[dict[str, float]] = attrs.field(factory=list)
    after: dict[str, float] = attrs.field(factory=dict)
    counts: Counter[str] = attrs.field(factory=Counter)
    problems: list[str] = attrs.field(factory=list)
    latencies: Timings = attrs.field(factory=Timings)
    lags: Timings = attrs.field(factory=Timings)


def make_report(seen: Seen, seconds: float) -> dict[str, Any]:
    """
    Judge a run.

    Args:
        seconds: How long it was to last.
    """
    problems = list(seen.problems)
    warm_from = seen.before["at"] + _warm_up_seconds(seconds)
    warm = [it for it in seen.samples if it["at"] > warm_from]
    memory = [it["process_resident_memory_bytes"] for it in warm]
    figures: dict[str, Any] = {}
    if len(warm) >= 2:
        growth = trend([it["at"] for it in warm], memory)
        grown = growth_problem("memory", growth, _MEMORY_PERCENT_PER_HOUR_MAX)
        problems += [] if grown is None else [grown]
        figures = {
            "memory_mb_first_and_last": [round(memory[0] / 1e6, 1), round(memory[-1] / 1e6, 1)],
            "memory_percent_per_hour": round(growth.percent_per_hour, 2),
            "memory_error": round(growth.error, 2) if growth.error < math.inf else None,
            "memory_one_percent_per_hour": verdict(growth, _MEMORY_PERCENT_PER_HOUR_MAX),
        }
    for name, more_max in (
        ("process_open_fds", _DESCRIPTORS_MORE_MAX),
        ("trio_hub_running_tasks", 0),
        ("trio_hub_connections", 0),
        ("trio_hub_names_revoked", 0),
    ):
        if seen.after[name] > seen.before[name] + more_max:
            problems.append(
                f"{name} was {seen.before[name]:g} and is {seen.after[name]:g} at the end"
            )
    if not warm or not all(seen.counts[it] for it in _HAPPENS):
        problems.append("too little has happened: the run was too short to say anything")
    return {
        **dict(sorted(seen.counts.items())),
        "posts_per_second": round(seen.counts["posts"] / seconds, 1),
        "post_ms_p50_p90_p99": _milliseconds(seen.latencies),
        "lag_ms_p50_p90_p99": _milliseconds(seen.lags),
        **figures,
        "descriptors_before_peak_after": _three(seen, "process_open_fds"),
        "tasks_before_peak_after": _three(seen, "trio_hub_running_tasks"),
        "redeliveries": seen.after["trio_hub_redeliveries_total"],
        "commits_failed": seen.after["trio_hub_commits_failed_total"],
        "problems": problems,
        "history": _history(seen),
    }


def _warm_up_seconds(seconds: float) -> float:
    """Return a third of the run, or as long as it takes until everything has been full once."""
    return min(max(seconds / 3, _FULL_AFTER_SECONDS), seconds * 2 / 3)


def _three(seen: Seen, name: str) -> list[float]:
    """Return a figure before, at its highest, and after everybody has left."""
    return [seen.before[name], max(it[name] for it in seen.samples), seen.after[name]]


def _milliseconds(timings: Timings) -> list[float] | None:
    found = timings.percentiles(PERCENTILES)
    return None if found is None else [round(it * 1e3, 1) for it in found]


def _history(seen: Seen) -> dict[str, list[dict[str, float]]]:
    """Return what a plot needs, by seconds since the beginning."""
    start = seen.before["at"]
    samples = [
        {"at": round(it["at"] - start, 1), **{new: it.get(old, 0.0) for old, new in _DRAWN.items()}}
        for it in seen.samples
    ]
    for it in samples:
        it["memory_mb"] = round(it["memory_mb"] / 1e6, 2)
    return {
        "samples": samples,
        "post_ms": _windows(seen.latencies, start),
        "lag_ms": _windows(seen.lags, start),
    }


def _windows(timings: Timings, start: float) -> list[dict[str, float]]:
    names = [f"p{fraction * 100:g}" for fraction in PERCENTILES]
    return [
        {
            "at": round(at - start, 1),
            **{name: round(it * 1e3, 1) for name, it in zip(names, found, strict=True)},
        }
        for at, found in timings.by_window(PERCENTILES).items()
    ]
