"""What is common is kept once, and what somebody may make large is not kept at all."""

from __future__ import annotations

import attrs
import pytest

from trio_hub import AccessBlock, InboxBlock, LimitsBlock, Rule
from trio_hub.hub.shared_rules import shared


def _with_room_for(pending: int) -> Rule:
    return Rule(limits=LimitsBlock(inbox=InboxBlock(max_pending=pending)))


def test_equal_rules_become_one() -> None:
    assert _with_room_for(7) is not _with_room_for(7)
    assert shared(_with_room_for(7)) is shared(_with_room_for(7))
    assert shared(_with_room_for(8)) == _with_room_for(8) != shared(_with_room_for(7))


@pytest.mark.parametrize(
    "rule",
    [
        Rule(access=AccessBlock(inbound_from=("alice",) * 1000)),
        Rule(limits=LimitsBlock(channel_ttl_default="0" * 1000 + "1s")),
        Rule(limits=LimitsBlock(task_ttl_default="0" * 1000 + "1s")),
    ],
    ids=["lists", "channel ttl", "task ttl"],
)
def test_what_may_be_large_is_not_remembered(rule: Rule) -> None:
    again = attrs.evolve(rule)
    assert shared(rule) is rule
    assert shared(again) is again
