"""The stricter of two rules is never laxer than either of them, in anything."""

from __future__ import annotations

import math
from typing import Any

import attrs
from hypothesis import example, given, strategies as st

from trio_hub.protocol.globs import compile_globs
from trio_hub.protocol.operator_rules import (
    SHUT,
    allows,
    effective_limits,
    effective_rule,
    glob_lists,
    high_water_of,
    is_longer,
)
from trio_hub.records import (
    AccessBlock,
    AccessCeiling,
    ChannelTypeAccess,
    ChannelTypeCeiling,
    Duration,
    InboxBlock,
    InboxCeiling,
    LimitsBlock,
    LimitsCeiling,
    OperatorRule,
    RateBlock,
    Rule,
    duration_seconds,
)

# Small, so that equal and neighbouring ones are usual.
COUNTS = st.integers(0, 12)
TTLS: st.SearchStrategy[Duration] = st.sampled_from(["", 0, "30s", 30, 0.5, "1m", "2h", "1d"])
NAMES = st.text(alphabet="ab", max_size=3)
GLOBS = st.lists(st.text(alphabet="ab*", max_size=3), max_size=3).map(tuple)
OVERFLOWS = st.sampled_from(["reject", "drop_oldest", "drop_newest"])
RATES = st.builds(RateBlock, per_minute=COUNTS, burst=COUNTS)

RULES = st.builds(
    Rule,
    access=st.builds(
        AccessBlock,
        inbound_from=GLOBS,
        outbound_to=GLOBS,
        channel_types=st.builds(ChannelTypeAccess, initiate=GLOBS, accept=GLOBS),
    ),
    limits=st.builds(
        LimitsBlock,
        max_concurrent_channels=COUNTS,
        max_concurrent_tasks=COUNTS,
        channel_ttl_default=TTLS,
        task_ttl_default=TTLS,
        rate=RATES,
        delegation_depth=COUNTS,
        inbox=st.builds(
            InboxBlock, max_pending=COUNTS, overflow=OVERFLOWS, high_water=st.none() | COUNTS
        ),
    ),
)
CEILINGS = st.builds(
    OperatorRule,
    access=st.builds(
        AccessCeiling,
        inbound_from=st.none() | GLOBS,
        outbound_to=st.none() | GLOBS,
        channel_types=st.builds(
            ChannelTypeCeiling, initiate=st.none() | GLOBS, accept=st.none() | GLOBS
        ),
    ),
    limits=st.builds(
        LimitsCeiling,
        max_concurrent_channels=st.none() | COUNTS,
        max_concurrent_tasks=st.none() | COUNTS,
        channel_ttl_max=st.none() | TTLS,
        rate=st.none() | RATES,
        delegation_depth=st.none() | COUNTS,
        inbox=st.builds(
            InboxCeiling,
            max_pending=st.none() | COUNTS,
            overflow=st.none() | OVERFLOWS,
            high_water=st.none() | COUNTS,
        ),
    ),
)


def permitted(limits: LimitsBlock) -> dict[str, float]:
    """What limits come to, as numbers of which the greater permits more."""
    per_minute = limits.rate.per_minute or math.inf
    return {
        "channels": limits.max_concurrent_channels or math.inf,
        "tasks": limits.max_concurrent_tasks or math.inf,
        "ttl": duration_seconds(limits.channel_ttl_default) or math.inf,
        "depth": limits.delegation_depth or math.inf,
        "per_minute": per_minute,
        "at once": math.inf if per_minute == math.inf else limits.rate.burst or per_minute,
        "pending": limits.inbox.max_pending or math.inf,
        "unreported": high_water_of(limits.inbox) or math.inf,
    }


def standing_alone(ceiling: OperatorRule) -> LimitsBlock:
    """What an operator sets, as the limits of an agent that has none."""
    most = ceiling.limits
    return LimitsBlock(
        max_concurrent_channels=most.max_concurrent_channels or 0,
        max_concurrent_tasks=most.max_concurrent_tasks or 0,
        channel_ttl_default=most.channel_ttl_max or 0,
        rate=most.rate or RateBlock(),
        delegation_depth=most.delegation_depth or 0,
        inbox=InboxBlock(max_pending=most.inbox.max_pending or 0, high_water=0),
    )


def no_laxer(limits: LimitsBlock, than: LimitsBlock, *, but: frozenset[str] = frozenset()) -> bool:
    most = permitted(than)
    return all(it <= most[name] for name, it in permitted(limits).items() if name not in but)


@given(RULES, CEILINGS)
def test_limits_are_no_laxer_than_the_agents_nor_than_the_operators(
    own: Rule, ceiling: OperatorRule
) -> None:
    limits = effective_limits(own.limits, ceiling)
    assert no_laxer(limits, own.limits)
    # Of 80 % of less there is less; what an operator says of it is below.
    assert no_laxer(limits, standing_alone(ceiling), but=frozenset({"unreported"}))
    assert limits.inbox.overflow == ceiling.limits.inbox.overflow or (
        ceiling.limits.inbox.overflow is None and limits.inbox.overflow == own.limits.inbox.overflow
    )


@given(RULES, CEILINGS)
def test_limits_are_no_stricter_than_the_stricter_one(own: Rule, ceiling: OperatorRule) -> None:
    limits = permitted(effective_limits(own.limits, ceiling))
    mine, theirs = permitted(own.limits), permitted(standing_alone(ceiling))
    for name in ("channels", "tasks", "ttl", "depth", "per_minute", "pending"):
        assert limits[name] == min(mine[name], theirs[name])


@given(RULES, CEILINGS)
def test_an_operators_high_water_mark_holds(own: Rule, ceiling: OperatorRule) -> None:
    most, inbox = ceiling.limits.inbox, effective_limits(own.limits, ceiling).inbox
    reported_at = high_water_of(inbox) or math.inf
    if most.high_water is not None:
        assert reported_at <= (most.high_water or math.inf)
    elif most.max_pending:
        assert reported_at <= max(most.max_pending * 4 // 5, 1)


# A burst of a minute's worth is the usual one, and is written as that from the first time on.
@example(Rule(), OperatorRule(limits=LimitsCeiling(rate=RateBlock(per_minute=1, burst=1))))
@given(RULES, CEILINGS)
def test_doing_it_again_changes_nothing(own: Rule, ceiling: OperatorRule) -> None:
    limits = effective_limits(own.limits, ceiling)
    assert effective_limits(limits, ceiling) == limits


@given(RULES, CEILINGS, CEILINGS)
def test_it_does_not_matter_which_ceiling_comes_first(
    own: Rule, one: OperatorRule, other: OperatorRule
) -> None:
    there = effective_limits(effective_limits(own.limits, one), other)
    back = effective_limits(effective_limits(own.limits, other), one)
    # But for what happens when an inbox is full, where the last one has the word, and how early
    # 80 % of what may wait is, which is worked out of what is in force by then.
    ahead, behind = permitted(there), permitted(back)
    for it in (ahead, behind):
        it.pop("unreported")
        it.pop("at once")
    assert ahead == behind


@given(RULES, RULES)
def test_two_rates_may_be_taken_in_either_order(one: Rule, other: Rule) -> None:
    def under(own: Rule, ceiling: Rule) -> dict[str, float]:
        most = OperatorRule(limits=LimitsCeiling(rate=ceiling.limits.rate))
        limits = permitted(effective_limits(own.limits, most))
        return {name: limits[name] for name in ("per_minute", "at once")}

    assert under(one, other) == under(other, one)


@given(RULES)
def test_what_says_nothing_changes_nothing(own: Rule) -> None:
    zeros = LimitsCeiling(
        max_concurrent_channels=0,
        max_concurrent_tasks=0,
        channel_ttl_max=0,
        rate=RateBlock(burst=3),
        delegation_depth=0,
        inbox=InboxCeiling(max_pending=0, high_water=0),
    )
    for ceiling in (None, OperatorRule(), OperatorRule(limits=zeros)):
        assert effective_limits(own.limits, ceiling) == own.limits
        assert effective_rule(own, ceiling).limits == own.limits
    assert effective_rule(own, None) == effective_rule(own, OperatorRule())


@given(RULES, CEILINGS, NAMES)
def test_a_name_is_allowed_where_both_allow_it(own: Rule, ceiling: OperatorRule, name: str) -> None:
    access = attrs.asdict(effective_rule(own, ceiling).access)
    mine: dict[str, Any] = glob_lists(own.access)
    theirs = glob_lists(ceiling.access)
    for which, lists in access.items():
        allowed = all(compile_globs(it)(name) for it in lists)
        assert allowed == (compile_globs(mine[which])(name) and allows(theirs[which], name))


@given(TTLS, TTLS)
def test_a_longest_ttl_is_one_that_is_not_longer(ttl: Duration, most: Duration) -> None:
    allowed = duration_seconds(most) or math.inf
    assert is_longer(ttl, most) == ((duration_seconds(ttl) or math.inf) > allowed)
    assert not is_longer(ttl, None)
    assert effective_rule(
        Rule(), OperatorRule(limits=LimitsCeiling(channel_ttl_max=most))
    ).channel_ttl_max == (most or 0)


@given(RULES, NAMES)
def test_who_is_shut_out_speaks_with_nobody(own: Rule, name: str) -> None:
    for lists in attrs.asdict(effective_rule(own, SHUT).access).values():
        assert not all(compile_globs(it)(name) for it in lists)
