"""Durations as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from trio_hub.records import duration_seconds
from trio_hub.records.duration import check_duration


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30),
        ("15m", 900),
        ("2h", 7200),
        ("1d", 86400),
        ("1.5h", 5400),
        ("2H", 7200),
        (" 45s ", 45),
        ("90", 90),
        ("0.25", 0.25),
        (90, 90),
        (0.5, 0.5),
        ("", 0),
        ("0", 0),
        (0, 0),
    ],
)
def test_a_duration_is_read_as_it_is_meant(written: str | float, seconds: float) -> None:
    assert duration_seconds(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        "soon",
        "10w",
        "h",
        "1h30m",
        "-5s",
        "-1",
        "inf",
        "nan",
        "infd",
        -1,
        -0.1,
        math.inf,
        math.nan,
        "1_0_",
    ],
)
def test_what_is_no_duration_is_refused_and_quoted(written: str | float) -> None:
    with pytest.raises(ValueError, match="no duration") as caught:
        duration_seconds(written)
    assert repr(written) in str(caught.value)


@given(st.text(max_size=12) | st.floats() | st.integers())
def test_it_is_a_duration_or_a_value_error(written: str | float) -> None:
    try:
        seconds = duration_seconds(written)
    except ValueError:
        return
    assert seconds >= 0
    assert math.isfinite(seconds)


def test_a_number_beyond_all_floats_is_refused() -> None:
    # Found by fuzzing: float() does not raise ValueError for it.
    with pytest.raises(ValueError, match="no duration"):
        duration_seconds(10**400)
    with pytest.raises(ValueError, match="no duration"):
        duration_seconds("9" * 400)


def test_the_validator_lets_none_pass() -> None:
    check_duration(object(), None, None)
    check_duration(object(), None, "2h")
    with pytest.raises(ValueError, match="no duration"):
        check_duration(object(), None, "later")
