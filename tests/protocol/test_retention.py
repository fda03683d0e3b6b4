"""Which ended channels may go: by age, by number, by type, and never one that is held."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from trio_hub.protocol.retention import EndedChannels, Retention


def test_by_default_nothing_goes() -> None:
    ended = EndedChannels(Retention())
    ended.ended("a", "consulting", 0.0)
    assert Retention().keeps_all
    assert list(ended.due(1e12)) == []
    assert ended.wake_at(1e12) is None


def test_one_goes_when_it_has_ended_long_enough_and_no_earlier() -> None:
    ended = EndedChannels(Retention(ended_for="1m"))
    ended.ended("a", "consulting", 100.0)
    assert ended.wake_at(100.0) == 160.0
    assert list(ended.due(159.9)) == []
    assert list(ended.due(160.0)) == ["a"]
    assert list(ended.due(160.0)) == []
    assert len(ended) == 1
    ended.gone("a")
    assert len(ended) == 0


def test_for_no_time_at_all_is_at_once() -> None:
    ended = EndedChannels(Retention(ended_for=0))
    ended.ended("a", "consulting", 100.0)
    assert list(ended.due(100.0)) == ["a"]


def test_the_youngest_are_kept_where_there_are_too_many() -> None:
    ended = EndedChannels(Retention(ended_max=2))
    for name, at in (("c", 3.0), ("a", 1.0), ("d", 4.0), ("b", 2.0)):
        ended.ended(name, "consulting", at)
    assert ended.wake_at(5.0) == float("-inf")
    assert list(ended.due(5.0)) == ["a", "b"]
    assert ended.wake_at(5.0) is None


def test_none_are_kept_where_none_are_wished() -> None:
    ended = EndedChannels(Retention(ended_max=0))
    ended.ended("a", "consulting", 1.0)
    assert list(ended.due(1.0)) == ["a"]


def test_types_are_counted_apart_and_may_have_wishes_of_their_own() -> None:
    ended = EndedChannels(Retention(ended_max=1, by_type={"workflow": Retention(ended_for="1h")}))
    for number in range(3):
        ended.ended(f"c{number}", "consulting", float(number))
        ended.ended(f"d{number}", "discussion", float(number))
        ended.ended(f"w{number}", "workflow", float(number))
    assert sorted(ended.due(10.0)) == ["c0", "c1", "d0", "d1"]
    assert ended.wake_at(10.0) == 3600.0
    assert list(ended.due(3601.0)) == ["w0", "w1"]


def test_one_that_is_held_comes_back_then_and_no_other_goes_in_its_place() -> None:
    ended = EndedChannels(Retention(ended_max=1))
    ended.ended("a", "consulting", 1.0)
    ended.ended("b", "consulting", 2.0)
    assert list(ended.due(3.0)) == ["a"]
    ended.hold("a", until=10.0)
    assert list(ended.due(9.9)) == []
    assert ended.wake_at(9.9) == 10.0
    assert list(ended.due(10.0)) == ["a"]


def test_telling_again_changes_nothing() -> None:
    ended = EndedChannels(Retention(ended_max=0))
    ended.ended("a", "consulting", 1.0)
    ended.ended("a", "consulting", 9.0)
    assert list(ended.due(1.0)) == ["a"]
    ended.ended("a", "consulting", 9.0)
    assert list(ended.due(9.0)) == []


@pytest.mark.parametrize("wrong", [{"ended_for": "soon"}, {"ended_for": -1}, {"ended_max": -1}])
def test_what_cannot_be_wished_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"soon|negative"):
        Retention(**wrong)  # type: ignore[arg-type]


def test_wishes_of_a_type_cannot_differ_by_type_again() -> None:
    with pytest.raises(ValueError, match="by type again"):
        Retention(by_type={"a": Retention(by_type={"b": Retention()})})


@given(
    st.lists(st.floats(0, 1000), max_size=30),
    st.none() | st.floats(0, 500),
    st.none() | st.integers(0, 10),
    st.floats(0, 2000),
)
def test_what_stays_is_what_was_wished(
    ends: list[float], seconds: float | None, count: int | None, now: float
) -> None:
    """Against the plain definition: old enough, or not among the youngest."""
    ended = EndedChannels(Retention(ended_for=seconds, ended_max=count))
    names = {f"{number:03}": at for number, at in enumerate(ends)}
    for name, at in names.items():
        ended.ended(name, "consulting", at)
    gone = list(ended.due(now))
    youngest = sorted(names, key=lambda name: (names[name], name), reverse=True)
    beyond = set() if count is None else set(youngest[count:])
    aged = {name for name, at in names.items() if seconds is not None and at + seconds <= now}
    assert set(gone) == beyond | aged
    assert gone == sorted(gone, key=lambda name: (names[name], name))
    due_at = ended.wake_at(now)
    assert due_at is None or due_at > now
