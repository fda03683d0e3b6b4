"""
Globs over names, compiled once: ``*`` any run of characters, ``?`` one of them, ``[ab]`` a choice.

Names are matched as they are written, upper case and lower case apart. Patterns that hold no
wildcard are looked up in a set, so a long list of names costs no more than a short one.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from functools import lru_cache

__all__ = ["EVERYTHING", "Matcher", "compile_globs"]

#: Says whether a name is one of those that the patterns mean.
Matcher = Callable[[str], object]

#: The patterns that match every name; worth not to be asked at all.
EVERYTHING = ("*",)

_WILDCARD = re.compile(r"[*?\[]")
# Different lists in use at once; the next one is compiled again, which takes microseconds.
_COMPILED_MAX = 4096


@lru_cache(maxsize=_COMPILED_MAX)
def compile_globs(patterns: tuple[str, ...]) -> Matcher:
    """
    Return what tells whether a name matches any of `patterns`. None of them matches nothing.

    The wildcards become one regular expression without backtracking over what a ``*`` has
    matched, so that no pattern can be made that takes for ever.
    """
    if "*" in patterns:
        return _any
    names = frozenset(it for it in patterns if _WILDCARD.search(it) is None)
    wild = [fnmatch.translate(it) for it in patterns if it not in names]
    if not wild:
        return names.__contains__
    match = re.compile("|".join(wild)).match
    if not names:
        return match
    return lambda name: name in names or match(name) is not None


def _any(_name: str) -> bool:
    return True
