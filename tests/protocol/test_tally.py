"""A tally counts everything and names a bounded number of places."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, strategies as st

from trio_hub.protocol.tally import Tally


def test_it_names_the_places_with_most_and_counts_the_others() -> None:
    tally = Tally(places_max=3, places_shown_max=2)
    for place, times in (("a", 1), ("b", 3), ("c", 2), ("d", 5)):
        for _ in range(times):
            tally.add("slow" if place == "b" else "broken", place)
    # Of "d", which came when three were told apart already, nothing is known but the number.
    assert tally.summary() == {
        "reasons": {"broken": 8, "slow": 3},
        "addresses": {"b": 3, "c": 2},
        "elsewhere": 6,
    }


@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 20).map(str))),
    st.integers(1, 8),
    st.integers(1, 8),
)
def test_nothing_is_counted_twice_or_not_at_all(
    events: list[tuple[str, str]], places_max: int, shown_max: int
) -> None:
    tally = Tally(places_max=places_max, places_shown_max=shown_max)
    for reason, place in events:
        tally.add(reason, place)
    summary = tally.summary()
    assert summary["reasons"] == Counter(reason for reason, _ in events)
    assert sum(summary["addresses"].values()) + summary["elsewhere"] == len(events) == tally.total
    assert len(summary["addresses"]) <= min(shown_max, places_max)
    true = Counter(place for _, place in events)
    assert all(true[place] == number for place, number in summary["addresses"].items())
