"""Ids sort in the order in which they were made, whatever the clock does."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from trio_hub.ids import ID_PATTERN, IdMint, iso_from_seconds, seconds_from_iso

from .strategies import seconds_since_1970


class SteppingClock:
    """A clock that a test sets by hand."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


@given(st.lists(seconds_since_1970, min_size=2, max_size=50))
def test_ids_increase_however_the_clock_steps(times: list[float]) -> None:
    clock = SteppingClock(times[0])
    mint = IdMint(clock, random.Random(1))
    minted = []
    for seconds in times:
        clock.seconds = seconds
        minted.append(mint())
    assert minted == sorted(set(minted))
    assert all(ID_PATTERN.fullmatch(one) for one in minted)


def test_an_id_begins_with_the_milliseconds_of_its_making() -> None:
    assert int(IdMint(lambda: 1234.5678)()[:12], 16) == 1_234_567


def test_ids_of_one_millisecond_are_not_neighbours() -> None:
    mint = IdMint(lambda: 5.0, random.Random(2))
    first, second = int(mint(), 16), int(mint(), 16)
    assert second - first > 1


@given(seconds_since_1970, seconds_since_1970)
def test_a_floor_holds_after_a_restart_with_the_clock_stepped_back(
    before: float, after: float
) -> None:
    last = IdMint(lambda: before)()
    restarted = IdMint(lambda: after)
    restarted.raise_floor(last)
    assert restarted() > last


def test_a_lower_floor_changes_nothing() -> None:
    mint = IdMint(lambda: 1000.0)
    first = mint()
    mint.raise_floor("0" * 32)
    assert mint() > first


@given(seconds_since_1970, st.floats(0.001, 3600))
def test_the_ceiling_lies_above_what_is_minted_until_then(start: float, ahead: float) -> None:
    clock = SteppingClock(start)
    mint = IdMint(clock)
    ceiling = mint.ceiling(ahead)
    assert mint() < ceiling or ahead < 0.002
    clock.seconds = start + ahead + 1
    assert mint() > ceiling


@given(seconds_since_1970)
def test_a_time_reads_back_as_it_was_written(seconds: float) -> None:
    text = iso_from_seconds(seconds)
    assert text.endswith("+00:00")
    assert seconds_from_iso(text) == pytest.approx(seconds, abs=1e-6)


def test_a_time_without_a_zone_is_utc_and_zulu_is_too() -> None:
    expected = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    assert seconds_from_iso("2026-01-02T03:04:05") == expected
    assert seconds_from_iso("2026-01-02T03:04:05Z") == expected
    assert seconds_from_iso("2026-01-02T05:04:05+02:00") == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "12"])
def test_what_is_no_time_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        seconds_from_iso(text)
