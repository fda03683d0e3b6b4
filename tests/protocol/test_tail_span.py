"""What is known of a stretch of a log stays true, however pieces are put together."""

from __future__ import annotations

from hypothesis import given, strategies as st

from trio_hub.protocol.tail_span import POSITIONS_MAX, TailSpan

LOG = 3 * POSITIONS_MAX


def span(low: int, high: int, wanted: frozenset[int]) -> TailSpan:
    return TailSpan(low, high, tuple(it for it in range(low, high) if it in wanted))


STRETCHES = st.tuples(st.integers(0, LOG), st.integers(0, LOG)).map(sorted)
WANTED = st.frozensets(st.integers(0, LOG), max_size=20) | st.sampled_from(
    [frozenset(range(LOG)), frozenset(range(0, LOG, 2))]
)


@given(WANTED, st.lists(STRETCHES, min_size=1, max_size=6))
def test_what_is_joined_knows_all_that_is_wanted_in_its_stretch(
    wanted: frozenset[int], stretches: list[list[int]]
) -> None:
    first, *rest = [span(low, high, wanted) for low, high in stretches]
    joined = first
    for piece in rest:
        meets = joined.low <= piece.high and piece.low <= joined.high
        highest = max(joined.high, piece.high)
        lowest = min(joined.low, piece.low)
        joined = joined.join(piece)
        assert joined.high == highest
        if meets:
            assert len(joined.positions) <= POSITIONS_MAX
        if meets and len(joined.positions) < POSITIONS_MAX:
            assert joined.low == lowest
        assert joined == span(joined.low, joined.high, wanted)


@given(WANTED, STRETCHES, st.integers(0, LOG), st.integers(1, 10))
def test_the_last_before_a_place_are_those(
    wanted: frozenset[int], stretch: list[int], end: int, limit: int
) -> None:
    known = span(stretch[0], stretch[1], wanted)
    below = [it for it in range(stretch[0], min(stretch[1], end)) if it in wanted]
    assert list(known.last_before(end, limit)) == below[-limit:]
    assert known.covers(end) == (end - 1 in range(stretch[0], stretch[1]))


def test_of_more_than_is_kept_the_last_are() -> None:
    everything = frozenset(range(LOG))
    joined = span(0, POSITIONS_MAX, everything).join(span(POSITIONS_MAX, LOG, everything))
    assert joined == span(LOG - POSITIONS_MAX, LOG, everything)


def test_of_two_that_do_not_meet_the_one_nearer_to_the_end_is_kept() -> None:
    low, high = span(0, 3, frozenset({1})), span(5, 9, frozenset({6}))
    assert low.join(high) == high.join(low) == high
