"""Rules that thousands of agents have alike are kept once."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from ..records import AccessBlock, Rule

__all__ = ["shared"]

_OPEN: Final = AccessBlock()
_DURATION_CHARACTERS_MAX: Final = 20


def shared(rule: Rule) -> Rule:
    """
    Return a rule that is equal to this one, the same one for all who ask with an equal one.

    What is remembered outlives its agents, and they write it themselves; so it is small, and one
    with lists or durations of any length is returned as it is.
    """
    durations = (rule.limits.channel_ttl_default, rule.limits.task_ttl_default)
    is_small = all(
        not isinstance(it, str) or len(it) <= _DURATION_CHARACTERS_MAX for it in durations
    )
    return _remembered(rule) if is_small and rule.access == _OPEN else rule


@lru_cache(maxsize=1024)
def _remembered(rule: Rule) -> Rule:
    return rule
