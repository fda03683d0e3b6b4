"""Percentiles out of counts are those of the durations themselves, nearly."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, strategies as st

from trio_hub.protocol.latency_sketch import (
    BUCKETS_MAX,
    MILLISECONDS_MAX,
    RELATIVE_ERROR,
    LatencySketch,
)
from trio_hub.wire.validation import decode_strictly, encode

#: Of every order of magnitude, and where buckets are narrower than a millisecond.
_DURATIONS = st.lists(
    st.integers(0, 200)
    | st.integers(0, MILLISECONDS_MAX)
    | st.floats(0, math.log(MILLISECONDS_MAX)).map(lambda it: int(math.exp(it)))
)


def of(durations: list[int]) -> LatencySketch:
    sketch = LatencySketch()
    for one in durations:
        sketch = sketch.add(one)
    return sketch


@given(
    _DURATIONS.filter(bool),
    st.sampled_from([0.1, 50, 90, 95, 99, 99.9, 100]) | st.floats(0.001, 100),
)
def test_a_percentile_is_the_exact_one_but_for_the_stated_error(
    durations: list[int], percent: float
) -> None:
    exact = sorted(durations)[math.ceil(len(durations) * percent / 100) - 1]
    found = of(durations).percentile(percent)
    assert found is not None
    # Half a millisecond, for they are whole.
    assert abs(found - exact) <= RELATIVE_ERROR * exact + 0.5 + 1e-6


@given(_DURATIONS, st.randoms(use_true_random=False), st.integers(1, 4))
def test_pieces_are_merged_to_the_sketch_of_the_whole_in_any_order(
    durations: list[int], rng: random.Random, pieces: int
) -> None:
    shuffled = durations[:]
    rng.shuffle(shuffled)
    first, *rest = [of(shuffled[number::pieces]) for number in range(pieces)]
    whole = of(durations)
    assert first.merge(*rest) == whole
    assert whole.n == len(durations)
    assert decode_strictly(encode(whole), LatencySketch, "sketch") == whole


def test_nothing_has_no_percentile() -> None:
    assert LatencySketch().percentile(50) is None
    assert LatencySketch().merge().n == 0


def test_it_stays_small_whatever_comes() -> None:
    sketch = of([0, *(round(1.005**power) for power in range(6_000)), 2**63])
    assert len(sketch.counts) <= BUCKETS_MAX
    assert len(encode(sketch)) < 15_000
    assert sketch.percentile(100) == pytest.approx(MILLISECONDS_MAX, rel=RELATIVE_ERROR)


@pytest.mark.parametrize("counts", [{-2: 1}, {BUCKETS_MAX - 1: 1}, {3: 0}, {3: 1, 4: -1}])
def test_counts_that_nothing_can_have_led_to_are_refused(counts: dict[int, int]) -> None:
    with pytest.raises(ValueError, match="bucket"):
        LatencySketch(counts=counts)
