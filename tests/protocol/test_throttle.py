"""The throttle: each key has its own bucket, and only so many are kept."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from trio_hub.protocol.throttle import Throttle


def throttle(per_minute: int | None = 2, keys_max: int = 3) -> Throttle:
    return Throttle(per_minute=per_minute, keys_max=keys_max)


def test_one_key_that_is_empty_costs_no_other() -> None:
    it = throttle()
    assert [it.take("a", 0.0) for _ in range(3)] == [0.0, 0.0, pytest.approx(30.0)]
    assert it.take("b", 0.0) == 0.0
    assert it.take("a", 30.0) == 0.0


def test_looking_takes_nothing() -> None:
    it = throttle(per_minute=1)
    assert it.wait("a", 0.0) == 0.0
    assert len(it) == 0
    it.take("a", 0.0)
    for _ in range(3):
        assert it.wait("a", 15.0) == pytest.approx(45.0)
    assert it.wait("a", 60.0) == 0.0


def test_what_is_given_back_leaves_nothing_behind() -> None:
    it = throttle()
    it.take("a", 5.0)
    it.take("a", 5.0)
    it.give_back("a", 5.0)
    assert len(it) == 1
    it.give_back("a", 5.0)
    assert len(it) == 0
    # Nor does one that was forgotten meanwhile.
    it.give_back("a", 5.0)
    assert [it.take("a", 5.0) for _ in range(3)] == [0.0, 0.0, pytest.approx(30.0)]


def test_one_key_too_many_is_paid_for_by_the_one_used_least_recently() -> None:
    it = throttle(per_minute=1, keys_max=2)
    for key in ("a", "b", "a"):
        it.take(key, 0.0)
    it.take("c", 1.0)
    assert len(it) == 2
    assert it.wait("a", 1.0) > 0.0
    assert it.wait("b", 1.0) == 0.0


def test_full_buckets_are_not_kept() -> None:
    it = throttle(keys_max=1000)
    for key in range(100):
        it.take(key, 0.0)
    assert len(it) == 100
    it.take("new", 30.0)
    assert len(it) == 1


def test_no_limit_keeps_nothing() -> None:
    it = throttle(per_minute=None)
    assert {it.take("a", 0.0) for _ in range(100)} == {0.0}
    assert it.wait("a", 0.0) == 0.0
    it.give_back("a", 0.0)
    assert len(it) == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 50)), max_size=60))
def test_nobody_gets_more_than_its_rate_allows(steps: list[tuple[str, float]]) -> None:
    it = throttle(per_minute=5, keys_max=3)
    now = 0.0
    taken: dict[str, list[float]] = {}
    for key, passes in steps:
        now += passes
        if it.take(key, now) == 0.0:
            taken.setdefault(key, []).append(now)
        assert len(it) <= 3
    for times in taken.values():
        for index, start in enumerate(times):
            for count, end in enumerate(times[index:], 1):
                assert count <= 5 + (end - start) / 12 + 1e-3
