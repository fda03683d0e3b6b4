"""The token bucket: never more than its burst at once, nor than its rate in the long run."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from trio_hub.protocol.limits import TokenBucket


def test_a_full_bucket_gives_its_burst_at_once_and_then_says_how_long_to_wait() -> None:
    bucket = TokenBucket()
    assert [bucket.take(100.0, per_minute=60, burst=3) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take(100.0, per_minute=60, burst=3) == pytest.approx(1.0)


def test_what_is_refused_takes_no_token() -> None:
    bucket = TokenBucket()
    assert bucket.take(0.0, per_minute=60, burst=1) == 0.0
    for _ in range(10):
        assert bucket.take(0.5, per_minute=60, burst=1) == pytest.approx(0.5)
    assert bucket.take(1.0, per_minute=60, burst=1) == 0.0


def test_what_is_given_back_can_be_taken_again() -> None:
    bucket = TokenBucket()
    for _ in range(5):
        assert bucket.take(0.0, per_minute=60, burst=1) == 0.0
        bucket.give_back(per_minute=60)
    assert bucket.take(0.0, per_minute=60, burst=1) == 0.0
    assert bucket.take(0.0, per_minute=60, burst=1) > 0.0


def test_whoever_waits_as_long_as_it_was_told_gets_its_token() -> None:
    bucket = TokenBucket()
    now = 1e9
    for _ in range(1000):
        wait = bucket.take(now, per_minute=7, burst=2)
        if wait:
            now += wait
            assert bucket.take(now, per_minute=7, burst=2) == 0.0


def test_no_burst_is_a_burst_of_a_minute() -> None:
    bucket = TokenBucket()
    taken = [bucket.take(0.0, per_minute=5) for _ in range(6)]
    assert taken[:5] == [0.0] * 5
    assert taken[5] > 0.0


def test_a_bucket_never_holds_more_than_its_burst_however_long_it_was_left_alone() -> None:
    bucket = TokenBucket()
    bucket.take(0.0, per_minute=60, burst=2)
    given_later = [bucket.take(1e6, per_minute=60, burst=2) for _ in range(3)]
    assert given_later[:2] == [0.0, 0.0]
    assert given_later[2] > 0.0


def test_a_stricter_rule_counts_from_the_next_token_on() -> None:
    bucket = TokenBucket()
    for _ in range(60):
        assert bucket.take(0.0, per_minute=60) == 0.0
    assert bucket.take(30.0, per_minute=1, burst=1) > 0.0


@given(
    gaps=st.lists(st.floats(0.0, 30.0), min_size=1, max_size=60),
    per_minute=st.integers(1, 600),
    burst=st.integers(0, 50),
)
def test_no_stretch_of_time_gives_more_than_burst_and_rate(
    gaps: list[float], per_minute: int, burst: int
) -> None:
    bucket, now, taken = TokenBucket(), 0.0, []
    for gap in gaps:
        now += gap
        if bucket.take(now, per_minute=per_minute, burst=burst) == 0.0:
            taken.append(now)
    capacity = burst or per_minute
    for index, first in enumerate(taken):
        for count, last in enumerate(taken[index:], 1):
            assert count <= capacity + (last - first) * per_minute / 60.0 + 0.001
