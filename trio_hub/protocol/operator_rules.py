"""
The stricter of two rules: an agent's own, and the one that the operators of its hub have set.

Numbers of which 0 means "no limit" are infinite until the lesser one has been found. Lists of
globs are not merged, for the names that match two globs are in general no glob: both are kept,
and both must allow. Where one thing is no stricter than another (what happens when an inbox is
full), the operators decide.
"""

from __future__ import annotations

import attrs

from ..records import (
    AccessBlock,
    AccessCeiling,
    ChannelTypeCeiling,
    Duration,
    EffectiveAccess,
    EffectiveRule,
    InboxBlock,
    InboxCeiling,
    LimitsBlock,
    OperatorRule,
    RateBlock,
    Rule,
    duration_seconds,
)
from .globs import EVERYTHING, compile_globs

__all__ = [
    "SHUT",
    "allows",
    "effective_limits",
    "effective_rule",
    "glob_lists",
    "high_water_of",
    "is_longer",
]

#: It may speak with nobody, and take part in nothing new.
SHUT = OperatorRule(
    access=AccessCeiling(
        inbound_from=(),
        outbound_to=(),
        channel_types=ChannelTypeCeiling(initiate=(), accept=()),
    )
)


def effective_rule(own: Rule, ceiling: OperatorRule | None) -> EffectiveRule:
    """Return what is in force for an agent; None: operators have set nothing."""
    ceiling = ceiling if ceiling is not None else OperatorRule()
    allowed = glob_lists(own.access)
    also = glob_lists(ceiling.access)
    return EffectiveRule(
        access=EffectiveAccess(**{name: _both(allowed[name], also[name]) for name in allowed}),
        limits=effective_limits(own.limits, ceiling),
        channel_ttl_max=ceiling.limits.channel_ttl_max or 0,
    )


def effective_limits(own: LimitsBlock, ceiling: OperatorRule | None) -> LimitsBlock:
    """Return the limits that are in force for an agent."""
    if ceiling is None:
        return own
    most = ceiling.limits
    return attrs.evolve(
        own,
        max_concurrent_channels=_lesser(own.max_concurrent_channels, most.max_concurrent_channels),
        max_concurrent_tasks=_lesser(own.max_concurrent_tasks, most.max_concurrent_tasks),
        channel_ttl_default=_shorter(own.channel_ttl_default, most.channel_ttl_max),
        rate=_slower(own.rate, most.rate),
        delegation_depth=_lesser(own.delegation_depth, most.delegation_depth),
        inbox=_smaller(own.inbox, most.inbox),
    )


def glob_lists(access: AccessBlock | AccessCeiling) -> dict[str, tuple[str, ...] | None]:
    """Return the lists of globs of either kind, by the names of `EffectiveAccess`."""
    return {
        "inbound_from": access.inbound_from,
        "outbound_to": access.outbound_to,
        "initiate": access.channel_types.initiate,
        "accept": access.channel_types.accept,
    }


def allows(patterns: tuple[str, ...] | None, name: str) -> bool:
    """Whether a list of an operator's rule allows a name."""
    return patterns is None or compile_globs(patterns)(name)


def is_longer(ttl: Duration, most: Duration | None) -> bool:
    """Whether a TTL is longer than it may be; both may be 0, which is for ever."""
    seconds = duration_seconds(most or 0)
    return seconds > 0 and not 0 < duration_seconds(ttl) <= seconds


def high_water_of(limits: InboxBlock) -> int:
    """Return how much may wait before pressure is reported; 0 is never."""
    if limits.high_water is not None:
        return limits.high_water
    # AG2's default, and low enough to do something about it; of 1, that is 1.
    return max(limits.max_pending * 4 // 5, min(limits.max_pending, 1))


def _both(own: tuple[str, ...] | None, also: tuple[str, ...] | None) -> tuple[tuple[str, ...], ...]:
    lists = [it for it in (own, also) if it is not None and it != EVERYTHING]
    return tuple(dict.fromkeys(lists))


def _lesser(own: int, most: int | None) -> int:
    """Return the lesser of two numbers of which 0 is infinite."""
    return min(own, most) if own and most else own or most or 0


def _shorter(own: Duration, most: Duration | None) -> Duration:
    return most if most is not None and is_longer(own, most) else own


def _slower(own: RateBlock, most: RateBlock | None) -> RateBlock:
    if most is None or not most.per_minute:
        return own
    per_minute = min(own.per_minute or most.per_minute, most.per_minute)
    burst = most.burst or per_minute
    if own.per_minute:
        burst = min(own.burst or per_minute, burst)
    return RateBlock(per_minute=per_minute, burst=0 if burst == per_minute else burst)


def _smaller(own: InboxBlock, most: InboxCeiling) -> InboxBlock:
    merged = attrs.evolve(
        own,
        max_pending=_lesser(own.max_pending, most.max_pending),
        overflow=most.overflow or own.overflow,
    )
    # An agent's None goes on to mean 80 %, of what may wait now; so does an operator's.
    usual = high_water_of(attrs.evolve(merged, high_water=None))
    wanted = usual if most.high_water is None and most.max_pending else most.high_water
    high_water = _lesser(high_water_of(merged), wanted)
    if own.high_water is None and high_water == usual:
        return merged
    return attrs.evolve(merged, high_water=high_water)
