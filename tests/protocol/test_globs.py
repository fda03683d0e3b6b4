"""Globs over names: what they match, and that none of them takes for ever."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import given, strategies as st

from trio_hub.protocol.globs import (
    EVERYTHING,
    PATTERN_CHARACTERS_MAX,
    PATTERNS_MAX,
    REGULAR_PATTERNS_MAX,
    compile_globs,
    why_not_globs,
)

from .held import bytes_held_after

NAMES = st.text(alphabet="ab.-*?[]é", max_size=8)


@given(st.lists(NAMES, max_size=4), NAMES)
def test_a_name_matches_where_one_of_the_patterns_does(patterns: list[str], name: str) -> None:
    expected = any(fnmatch.fnmatchcase(name, it) for it in patterns)
    assert bool(compile_globs(tuple(patterns))(name)) == expected


def test_everything_matches_everything_and_nothing_nothing() -> None:
    assert compile_globs(EVERYTHING)("anybody")
    assert not compile_globs(())("anybody")


def test_upper_and_lower_case_are_different_names() -> None:
    assert not compile_globs(("alice",))("Alice")
    assert not compile_globs(("al*",))("Alice")


@pytest.mark.parametrize("pattern", ["*a" * 200 + "b", "?*" * 200 + "b", "*" * 500 + "b"])
def test_a_pattern_that_would_make_others_backtrack_for_ever_is_answered(pattern: str) -> None:
    # With backtracking this would not end before the sun does.
    assert not compile_globs((pattern,))("a" * 500)


@given(
    st.lists(st.text(alphabet="ab*", max_size=10), max_size=3), st.text(alphabet="ab", max_size=8)
)
def test_stars_match_as_regular_expressions_would(patterns: list[str], name: str) -> None:
    expected = any(fnmatch.fnmatchcase(name, it) for it in patterns)
    assert compile_globs(tuple(patterns))(name) == expected


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("a*b*c", "abc", True),
        ("a*b", "ab", True),
        # No letter counts for two pieces.
        ("ab*ba", "aba", False),
        ("a*a*", "a", False),
        ("*ab*b", "ab", False),
        ("*a*a*", "a", False),
        ("*aa*a*", "baa", False),
        ("*a*b*", "aba", True),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "a--c", False),
        ("a*b*b*c", "a-b-c", False),
        ("a*b*b*c", "a-b-bc", True),
        ("a*b", "ab-", False),
        ("*b*", "b", True),
    ],
)
def test_pieces_between_stars_are_found_in_their_order(
    pattern: str, name: str, matches: bool
) -> None:
    assert compile_globs((pattern,))(name) == matches


@pytest.mark.parametrize(
    ("pattern", "most", "why"),
    [("alice", PATTERNS_MAX, "patterns"), ("al?ce", REGULAR_PATTERNS_MAX, "'\\?' or a")],
)
def test_a_list_as_long_as_it_may_be_is_taken_and_a_longer_one_is_not(
    pattern: str, most: int, why: str
) -> None:
    assert why_not_globs([pattern] * most) is None
    refusal = why_not_globs([pattern] * (most + 1))
    assert refusal is not None
    assert re.search(why, refusal)


def test_a_pattern_as_long_as_it_may_be_is_taken_and_a_longer_one_is_not() -> None:
    assert why_not_globs(["a" * PATTERN_CHARACTERS_MAX]) is None
    assert why_not_globs(["a" * (PATTERN_CHARACTERS_MAX + 1)]) is not None


def test_a_list_in_use_is_taken_apart_once() -> None:
    assert compile_globs(("once-*", "b?")) is compile_globs(("once-*", "b?"))


@pytest.mark.parametrize("worst", ["*ab", "*\U0010ffff"])
def test_lists_that_are_in_use_no_more_do_not_fill_memory(worst: str) -> None:
    pattern = (worst * PATTERN_CHARACTERS_MAX)[: PATTERN_CHARACTERS_MAX - 6]

    def use() -> None:
        for number in range(40):
            patterns = tuple(f"{number}-{it}{pattern}" for it in range(PATTERNS_MAX))
            assert why_not_globs(patterns) is None
            assert not compile_globs(patterns)("alice")

    # Each of them takes some megabytes.
    assert bytes_held_after(use) < 70 * 1024 * 1024


def test_names_are_remembered_unless_they_are_long() -> None:
    is_meant = compile_globs(("remembered-*",))

    def ask() -> None:
        for number in range(1_000):
            assert is_meant(f"remembered-{number}")
            assert not is_meant(f"{number}" * 10_000)

    assert bytes_held_after(ask) < 100_000
