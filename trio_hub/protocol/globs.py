"""
Globs over names: ``*`` any run of characters, ``?`` one of them, ``[ab]`` a choice.

Names are matched as they are written, upper case and lower case apart. A list of patterns is
taken apart once: names without a wildcard are looked up in a set, those with a ``*`` only are
matched piece by piece, and the few others become regular expressions. What a name came to is
remembered, so that asking again costs a lookup.

Agents write these lists themselves and the hub matches them while everybody waits, so there is a
limit on each that keeps the worst of them cheap (`why_not_globs`), and no pattern backtracks.
"""

from __future__ import annotations

import fnmatch
import re
import sys
from collections.abc import Callable, Sequence
from typing import Final

__all__ = [
    "EVERYTHING",
    "PATTERNS_MAX",
    "PATTERN_CHARACTERS_MAX",
    "REGULAR_PATTERNS_MAX",
    "Matcher",
    "compile_globs",
    "why_not_globs",
]

#: Says whether a name is one of those that the patterns mean.
Matcher = Callable[[str], bool]

#: The pattern that matches every name: worth not to be asked at all.
EVERYTHING = ("*",)

#: In one list of a rule. A thousand names are a large team; matching that many takes 0.3 ms, once
#: for each name.
PATTERNS_MAX = 1000
#: In one pattern of a rule: longer than names are in earnest, and matched in no time.
PATTERN_CHARACTERS_MAX = 128
#: In one list of a rule, with ``?`` or ``[``. To compile eight of full length takes 11 ms.
REGULAR_PATTERNS_MAX = 8

_REGULAR = re.compile(r"[?\[]")
# What is remembered of lists, all together. The largest take some megabytes each; of those as
# people write them, it is room for thousands. What is forgotten is worked out again.
_LISTS_BYTES_MAX: Final = 64 * 1024 * 1024
# Names remembered of one list, and how long they may be: those who have them hold them anyway.
_NAMES_MAX: Final = 256
_NAME_CHARACTERS_MAX: Final = 200
# Roughly, what a list takes with its names or regular expressions, and what each piece of a
# pattern takes beside its characters.
_LIST_BYTES: Final = 16 * 1024
_PIECE_BYTES: Final = 96


def why_not_globs(patterns: Sequence[str]) -> str | None:
    """Return why a list of patterns is refused, as half a sentence, or None where it is good."""
    if len(patterns) > PATTERNS_MAX:
        return f"{len(patterns)} patterns are more than {PATTERNS_MAX}"
    if any(len(it) > PATTERN_CHARACTERS_MAX for it in patterns):
        return f"a pattern has more than {PATTERN_CHARACTERS_MAX} characters"
    if sum(_REGULAR.search(it) is not None for it in patterns) > REGULAR_PATTERNS_MAX:
        return f"more than {REGULAR_PATTERNS_MAX} patterns have a '?' or a '['"
    return None


def compile_globs(patterns: tuple[str, ...]) -> Matcher:
    """Return what tells whether a name matches any of `patterns`. None of them matches nothing."""
    return _matchers[patterns]


class _Matchers(dict[tuple[str, ...], Matcher]):
    """What was compiled, up to a number of bytes; then all of it is forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = 0

    def __missing__(self, patterns: tuple[str, ...]) -> Matcher:
        matcher = _compile(patterns)
        size = _bytes_of(patterns)
        if self._bytes + size > _LISTS_BYTES_MAX:
            self.clear()
            self._bytes = 0
        self._bytes += size
        self[patterns] = matcher
        return matcher


_matchers = _Matchers()


def _bytes_of(patterns: tuple[str, ...]) -> int:
    """Return about how many bytes a list and what it is compiled to take at the most."""
    # The characters are there twice: in the pattern, and in its pieces.
    return _LIST_BYTES + sum(
        2 * sys.getsizeof(it) + _PIECE_BYTES * (1 + it.count("*")) for it in patterns
    )


def _compile(patterns: tuple[str, ...]) -> Matcher:
    if "*" in patterns:
        return _any
    names = frozenset(it for it in patterns if "*" not in it and not _REGULAR.search(it))
    if len(names) == len(set(patterns)):
        return names.__contains__
    starred = [it.split("*") for it in patterns if "*" in it and not _REGULAR.search(it)]
    regular = [it for it in patterns if _REGULAR.search(it)]
    matches = [re.compile(fnmatch.translate(it)).match for it in regular]

    def is_meant(name: str) -> bool:
        return (
            name in names
            or any(_matches(pieces, name) for pieces in starred)
            or any(match(name) is not None for match in matches)
        )

    return _Answers(is_meant).__getitem__


class _Answers(dict[str, bool]):
    """What a matcher has said of names, as far as it is remembered."""

    def __init__(self, is_meant: Matcher) -> None:
        super().__init__()
        self._is_meant = is_meant

    def __missing__(self, name: str) -> bool:
        answer = self._is_meant(name)
        if len(name) <= _NAME_CHARACTERS_MAX:
            if len(self) >= _NAMES_MAX:
                self.clear()
            self[name] = answer
        return answer


def _any(_name: str) -> bool:
    return True


def _matches(pieces: Sequence[str], name: str) -> bool:
    """Whether `name` is the pieces in their order, with anything in between."""
    first, *middle, last = pieces
    end = len(name) - len(last)
    if end < len(first) or not name.startswith(first) or not name.endswith(last):
        return False
    at = len(first)
    for piece in middle:
        # The leftmost one leaves the most for those behind it.
        at = name.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True
