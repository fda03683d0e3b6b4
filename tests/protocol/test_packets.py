"""Packets have AG2's form, to the letter: another hub's agents read them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from trio_hub.errors import ProtocolError, TooLarge
from trio_hub.protocol.workflow import Finish, Handoff, packet_of
from trio_hub.protocol.workflow.packets import (
    CONTEXT_BYTES_MAX,
    apply_context,
    check_context_bytes,
    check_packet,
    context_bytes,
    context_growth,
)

from ..counted import compared_at_most, many_ids
from .channels import ALICE, BOB

_NOTHING = {"set": {}, "delete": []}


@pytest.mark.parametrize(
    ("reply", "target_id", "routing", "body"),
    [
        ("words", "", {"kind": "text"}, "words"),
        ("", "", {"kind": "text"}, ""),
        (
            Handoff("bob", "he knows", "over to you"),
            BOB,
            {"kind": "handoff", "tool": "handoff", "reason": "he knows", "target": BOB},
            "over to you",
        ),
        (
            Handoff(BOB),
            "",
            {"kind": "handoff", "tool": "handoff", "reason": "", "target": BOB},
            "",
        ),
        (
            Handoff("", "too hard", tool="escalate"),
            "",
            {"kind": "handoff", "tool": "escalate", "reason": "too hard"},
            "",
        ),
        (
            Handoff("bob", tool="hand_off"),
            BOB,
            {"kind": "handoff", "tool": "hand_off", "reason": "", "target": BOB},
            "",
        ),
        (
            Finish("all is said", "agreed", tool="done"),
            "",
            {"kind": "finish", "tool": "done", "reason": "agreed", "summary": "all is said"},
            "all is said",
        ),
        (
            Finish("all is said", "agreed"),
            "",
            {"kind": "finish", "tool": "finish", "reason": "agreed", "summary": "all is said"},
            "all is said",
        ),
    ],
)
def test_an_answer_becomes_a_packet(
    reply: str | Handoff | Finish, target_id: str, routing: dict[str, Any], body: str
) -> None:
    packet = packet_of(reply, target_id=target_id)
    assert packet == {"routing": routing, "context_updates": _NOTHING, "body": body}
    check_packet(packet, [ALICE, BOB])


@pytest.mark.parametrize(
    "packet",
    [{}, {"routing": {}}, {"routing": None, "body": None, "context_updates": None}],
)
def test_what_a_packet_does_not_say_is_left_to_the_graph(packet: dict[str, Any]) -> None:
    check_packet(packet, [ALICE])


@pytest.mark.parametrize(
    ("packet", "complaint"),
    [
        ({"routing": "handoff"}, "^a packet's routing is an object with a `kind`$"),
        (
            {"routing": {"kind": "jump"}},
            "^unknown kind of routing 'jump': it can be text, handoff, finish$",
        ),
        (
            {"routing": {"kind": "handoff", "target": "mallory"}},
            (
                "^handoff to 'mallory', who takes no part in the channel: routing.target is the id of "
                "a participant$"
            ),
        ),
        ({"routing": {"reason": 1}}, "^a packet's routing.reason is a text$"),
        ({"body": 1}, "^a packet's body is a text, not int$"),
        ({"context_updates": []}, "^a packet's context_updates are an object with `set` and"),
        ({"context_updates": {"set": 1}}, "^context `set` is an object of variables and their"),
        ({"context_updates": {"delete": "k"}}, "^context `delete` is a list of names of variables"),
        ({"context_updates": {"delete": [1]}}, "^context `delete` is a list of names of variables"),
    ],
)
def test_what_is_no_packet_is_refused_and_says_where(
    packet: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        check_packet(packet, [ALICE, BOB])


# Context variables

_names = st.sampled_from(["a", "b", "\u20ac", '"'])
_variables = st.dictionaries(
    _names, st.none() | st.text() | st.floats() | st.lists(st.booleans(), max_size=3)
)
_changes = st.fixed_dictionaries(
    {}, optional={"set": st.none() | _variables, "delete": st.none() | st.lists(_names)}
)


@given(before=_variables, changes=_changes)
def test_the_size_of_variables_can_be_counted_along(
    before: dict[str, Any], changes: dict[str, Any]
) -> None:
    untouched = dict(before)
    after = apply_context(before, changes)
    assert before == untouched
    gone, new = changes.get("delete") or [], changes.get("set") or {}
    rest = {key: value for key, value in before.items() if key not in gone}
    # Which stands where counts too: conditions and prompts may show them.
    assert list(after.items()) == list({**rest, **new}.items())
    size = context_bytes(before) + context_growth(before, changes)
    assert size == context_bytes(after)
    assert size == (len(msgspec.json.encode(after)) - 1 if after else 0)


def test_variables_may_grow_up_to_a_limit_and_always_shrink() -> None:
    check_context_bytes(CONTEXT_BYTES_MAX - 5, 5)
    with pytest.raises(TooLarge, match=f"would have {CONTEXT_BYTES_MAX + 1} bytes"):
        check_context_bytes(CONTEXT_BYTES_MAX - 5, 6)
    # As those of a log are that is older than the limit.
    for growth in (0, -1):
        check_context_bytes(2 * CONTEXT_BYTES_MAX, growth)
    with pytest.raises(TooLarge):
        check_context_bytes(2 * CONTEXT_BYTES_MAX, 1)


def test_to_delete_many_of_many_variables_takes_one_step_for_each() -> None:
    names = many_ids(200, "n")
    variables: dict[str, Any] = dict.fromkeys(names[:100], 1)
    with compared_at_most(4 * len(names)):
        assert apply_context(variables, {"delete": names[::-1]}) == {}
        assert context_growth(variables, {"delete": names[::-1]}) == -context_bytes(variables)
