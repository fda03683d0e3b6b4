"""Packets have AG2's form, to the letter: another hub's agents read them."""

from __future__ import annotations

from typing import Any

import pytest

from trio_hub.errors import ProtocolError
from trio_hub.protocol.workflow import Finish, Handoff, packet_of
from trio_hub.protocol.workflow.packets import check_packet

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
