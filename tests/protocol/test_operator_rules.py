"""What is in force for an agent over which operators have set a ceiling, case by case."""

from __future__ import annotations

import pytest

from trio_hub.protocol.operator_rules import (
    allows,
    effective_limits,
    effective_rule,
    high_water_of,
)
from trio_hub.records import (
    AccessBlock,
    AccessCeiling,
    ChannelTypeCeiling,
    EffectiveAccess,
    InboxBlock,
    InboxCeiling,
    LimitsBlock,
    LimitsCeiling,
    OperatorRule,
    RateBlock,
    Rule,
)


def under(own: LimitsBlock, **most: object) -> LimitsBlock:
    return effective_limits(own, OperatorRule(limits=LimitsCeiling(**most)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("own", "most", "both"),
    [(0, None, 0), (0, 0, 0), (0, 3, 3), (5, 3, 3), (3, 5, 3), (3, 0, 3), (3, None, 3)],
)
def test_no_limit_is_more_than_any(own: int, most: int | None, both: int) -> None:
    limits = under(LimitsBlock(delegation_depth=own), delegation_depth=most)
    assert limits.delegation_depth == both


@pytest.mark.parametrize(
    ("own", "most", "both"),
    [
        # A burst of 0 is as per_minute, of what is in force.
        ((60, 0), (10, 0), (10, 0)),
        ((60, 0), (10, 100), (10, 0)),
        ((60, 100), (10, 0), (10, 0)),
        ((60, 5), (10, 0), (10, 5)),
        ((60, 100), (10, 20), (10, 20)),
        ((10, 0), (60, 3), (10, 3)),
        # Without a rate, a burst says nothing.
        ((0, 7), (10, 20), (10, 20)),
        ((10, 20), (0, 7), (10, 20)),
    ],
)
def test_rates(own: tuple[int, int], most: tuple[int, int], both: tuple[int, int]) -> None:
    limits = under(
        LimitsBlock(rate=RateBlock(per_minute=own[0], burst=own[1])),
        rate=RateBlock(per_minute=most[0], burst=most[1]),
    )
    assert (limits.rate.per_minute, limits.rate.burst) == both


@pytest.mark.parametrize(
    ("own", "most", "mark"),
    [
        # The agent's 80 % are of what may wait now.
        (InboxBlock(), InboxCeiling(max_pending=100), 80),
        (InboxBlock(max_pending=50), InboxCeiling(max_pending=100), 40),
        # A mark above what may wait would never be reached.
        (InboxBlock(high_water=800), InboxCeiling(max_pending=100), 80),
        (InboxBlock(high_water=8), InboxCeiling(max_pending=100), 8),
        # Who wants to hear of no pressure cannot keep operators from it.
        (InboxBlock(high_water=0), InboxCeiling(max_pending=100), 80),
        (InboxBlock(high_water=0), InboxCeiling(high_water=30), 30),
        (InboxBlock(high_water=0), InboxCeiling(overflow="reject"), 0),
        (InboxBlock(), InboxCeiling(max_pending=100, high_water=0), 80),
        (InboxBlock(max_pending=0), InboxCeiling(), 0),
        (InboxBlock(), InboxCeiling(max_pending=1), 1),
    ],
)
def test_high_water_marks(own: InboxBlock, most: InboxCeiling, mark: int) -> None:
    assert high_water_of(under(LimitsBlock(inbox=own), inbox=most).inbox) == mark


def test_what_happens_when_an_inbox_is_full_is_the_operators_to_say() -> None:
    own = LimitsBlock(inbox=InboxBlock(overflow="drop_oldest"))
    assert under(own, inbox=InboxCeiling(overflow="reject")).inbox.overflow == "reject"
    assert under(own, inbox=InboxCeiling(max_pending=3)).inbox.overflow == "drop_oldest"


def test_what_an_operator_leaves_alone_stays_as_the_agent_wrote_it() -> None:
    own = LimitsBlock(channel_ttl_default="90m", task_ttl_default="3m")
    limits = under(own, channel_ttl_max="2h", delegation_depth=1)
    assert limits == LimitsBlock(
        channel_ttl_default="90m", task_ttl_default="3m", delegation_depth=1
    )
    assert under(own, channel_ttl_max="1h").channel_ttl_default == "1h"


def test_where_operators_have_set_nothing_the_agents_own_limits_hold() -> None:
    own = LimitsBlock(delegation_depth=3, rate=RateBlock(per_minute=10))
    assert effective_limits(own, None) is own


@pytest.mark.parametrize(
    ("patterns", "name", "allowed"),
    [(None, "bob", True), ((), "bob", False), (("b*",), "bob", True), (("b*",), "Bob", False)],
)
def test_a_list_that_is_not_set_allows_every_name(
    patterns: tuple[str, ...] | None, name: str, allowed: bool
) -> None:
    assert allows(patterns, name) is allowed


def test_both_lists_are_kept_and_those_that_allow_everything_are_not() -> None:
    own = Rule(access=AccessBlock(outbound_to=("team-*",), inbound_from=("bob",)))
    ceiling = OperatorRule(
        access=AccessCeiling(
            outbound_to=("*-a",),
            inbound_from=("bob",),
            channel_types=ChannelTypeCeiling(initiate=("consulting",), accept=("*",)),
        )
    )
    assert effective_rule(own, ceiling).access == EffectiveAccess(
        outbound_to=(("team-*",), ("*-a",)),
        inbound_from=(("bob",),),
        initiate=(("consulting",),),
        accept=(),
    )
