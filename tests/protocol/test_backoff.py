"""Waits double up to a cap, and are drawn from the whole range below it."""

from __future__ import annotations

import random

import pytest

from trio_hub.protocol.backoff import Backoff


class HighestDraw(random.Random):
    """Always draws the upper end of a range."""

    def uniform(self, a: float, b: float) -> float:
        assert a == 0.0
        return b


def test_ceilings_double_until_they_reach_the_cap() -> None:
    backoff = Backoff(base=0.5, cap=5.0)
    assert [backoff.ceiling(n) for n in range(6)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_wait_is_drawn_up_to_its_ceiling_from_the_generator_that_is_given() -> None:
    backoff = Backoff(base=0.5, cap=5.0)
    assert [backoff.delay(n, HighestDraw()) for n in range(5)] == [0.5, 1.0, 2.0, 4.0, 5.0]


def test_full_jitter_covers_the_whole_range_and_never_leaves_it() -> None:
    backoff, rng = Backoff(base=1.0, cap=8.0), random.Random(7)
    waits = [backoff.delay(3, rng) for _ in range(2000)]
    assert 0.0 <= min(waits) < 0.1
    assert 7.9 < max(waits) <= 8.0


def test_the_same_seed_gives_the_same_waits() -> None:
    backoff = Backoff()
    first = [backoff.delay(n, random.Random(3)) for n in range(9)]
    assert first == [backoff.delay(n, random.Random(3)) for n in range(9)]


def test_a_retry_number_of_any_size_waits_no_longer_than_the_cap() -> None:
    assert Backoff(base=0.1, cap=30.0).ceiling(10**9) == 30.0


@pytest.mark.parametrize(
    ("base", "cap"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (1.0, float("nan"))]
)
def test_a_schedule_that_could_not_wait_is_refused(base: float, cap: float) -> None:
    with pytest.raises(ValueError):
        Backoff(base=base, cap=cap)


def test_a_refused_cap_is_named_with_its_base() -> None:
    with pytest.raises(ValueError, match=r"cap \(1\.0 s\) must be at least its base \(2\.0 s\)"):
        Backoff(base=2.0, cap=1.0)
