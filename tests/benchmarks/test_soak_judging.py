"""A leak is seen where a run can show it, noise is not taken for one, and a short run says so."""

from __future__ import annotations

import math
import random

import pytest

from benchmarks.soak.judging import Trend, growth_problem, trend, verdict

_HOUR = 3600.0


def _samples(seconds: float, percent_per_hour: float, noise: float) -> Trend:
    """Make samples as a run does: every two seconds, each much like the one before."""
    rng = random.Random(1)
    times = [float(at) for at in range(0, int(seconds), 2)]
    drift, values = 0.0, []
    for at in times:
        drift = 0.9 * drift + rng.gauss(0, noise)
        values.append(100.0 + percent_per_hour * at / _HOUR + drift)
    return trend(times, values)


@pytest.mark.parametrize("leak", [-3.0, 0.0, 0.5, 5.0])
def test_the_line_is_where_it_should_be_within_its_error(leak: float) -> None:
    seen = _samples(_HOUR, leak, noise=0.2)
    assert abs(seen.percent_per_hour - leak * 100 / seen.mean) < seen.error < 1.0
    assert seen.seconds == _HOUR - 2


def test_without_noise_there_is_no_error() -> None:
    seen = trend([100.0 * n for n in range(37)], [50.0 + n for n in range(37)])
    assert seen.percent_per_hour == pytest.approx(100 * 36 / 68)
    assert seen.percent_in_all == pytest.approx(100 * 36 / 68)
    assert seen.error == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("leak", "noise", "said"),
    [(0.0, 0.05, "at most"), (3.0, 0.05, "more"), (1.0, 0.5, "cannot tell")],
)
def test_an_hour_can_tell(leak: float, noise: float, said: str) -> None:
    seen = _samples(_HOUR, leak, noise)
    assert verdict(seen, 1.0) == said
    assert (growth_problem("memory", seen, 1.0) is not None) == (said == "more")


def test_three_minutes_cannot_tell_a_rate_but_see_a_gross_leak() -> None:
    small = _samples(120, 50.0, noise=0.01)
    assert small.percent_per_hour > 10
    assert verdict(small, 1.0) == "cannot tell"
    assert growth_problem("memory", small, 1.0) is None
    gross = _samples(120, 1_000.0, noise=0.01)
    said = growth_problem("memory", gross, 1.0)
    assert said is not None
    assert "memory has grown by 2" in said


def test_a_few_samples_give_a_line_and_no_confidence() -> None:
    seen = trend([0.0, 4_000.0], [1.0, 1.5])
    assert seen.error == math.inf
    assert verdict(seen, 1.0) == "cannot tell"
