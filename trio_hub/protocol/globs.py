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
from collections.abc import Callable, Sequence
from functools import lru_cache

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
# Different lists in use at once, and names remembered of each. What is forgotten is worked out
# again.
_LISTS_MAX = 4096
_NAMES_MAX = 256


def why_not_globs(patterns: Sequence[str]) -> str | None:
    """Return why a list of patterns is refused, as half a sentence, or None where it is good."""
    if len(patterns) > PATTERNS_MAX:
        return f"{len(patterns)} patterns are more than {PATTERNS_MAX}"
    if any(len(it) > PATTERN_CHARACTERS_MAX for it in patterns):
        return f"a pattern has more than {PATTERN_CHARACTERS_MAX} characters"
    if sum(_REGULAR.search(it) is not None for it in patterns) > REGULAR_PATTERNS_MAX:
        return f"more than {REGULAR_PATTERNS_MAX} patterns have a '?' or a '['"
    return None


@lru_cache(maxsize=_LISTS_MAX)
def compile_globs(patterns: tuple[str, ...]) -> Matcher:
    """Return what tells whether a name matches any of `patterns`. None of them matches nothing."""
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

    return lru_cache(maxsize=_NAMES_MAX)(is_meant)


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
