"""What an audience costs to be looked at, whoever sizes it, and what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from trio_hub import RuleArbiter
from trio_hub.errors import ProtocolError
from trio_hub.hub.admission import Admission
from trio_hub.hub.registry import Registration
from trio_hub.protocol.adapters import DiscussionAdapter
from trio_hub.records import EV_TEXT, ChannelMetadata, Envelope, Passport, Resume, Rule

from ..counted import compared_at_most, many_ids
from ..protocol.channels import metadata

MANY = 1_000


class Unknowing(RuleArbiter):
    """Says whom to address instead of strangers, or nobody."""

    def __init__(self, instead: Sequence[str] | None = None) -> None:
        super().__init__()
        self.instead = instead
        self.asked_about: list[Sequence[str]] = []

    def resolve_unknown_audience(
        self, envelope: Envelope, unknown_ids: Sequence[str]
    ) -> Sequence[str] | None:
        self.asked_about.append(unknown_ids)
        return self.instead


class Everybody:
    """A registry that knows whoever is asked for."""

    def find(self, agent_id: str) -> Registration:
        return registered(agent_id)


def registered(agent_id: str) -> Registration:
    return Registration(
        passport=Passport(name=agent_id, agent_id=agent_id),
        resume=Resume(),
        own_rule=Rule(),
    )


def admission(arbiter: RuleArbiter | None = None, participants_max: int = MANY) -> Admission:
    everybody: Any = Everybody()
    return Admission(
        arbiter or RuleArbiter(), everybody, lambda _: 0, participants_max=participants_max
    )


def channel_of(*agent_ids: str) -> ChannelMetadata:
    return metadata(DiscussionAdapter(), *agent_ids)


def said_to(*audience: str, sender_id: str = "alice") -> Envelope:
    return Envelope(
        channel_id="channel",
        sender_id=sender_id,
        audience=audience,
        event_type=EV_TEXT,
        event_data={},
    )


def resolved(
    *audience: str, members: Sequence[str] = ("alice", "bob", "carol"), **options: Any
) -> tuple[str, ...] | None:
    return admission(**options).resolve_audience(channel_of(*members), said_to(*audience)).audience


@pytest.mark.parametrize(
    ("audience", "stays"),
    [
        ((), ()),
        (("bob",), ("bob",)),
        (("carol", "bob"), ("carol", "bob")),
        (("bob", "bob"), ("bob",)),
        (("carol", "bob", "carol", "alice", "bob"), ("carol", "bob", "alice")),
    ],
)
def test_who_is_named_twice_is_meant_once(
    audience: tuple[str, ...], stays: tuple[str, ...]
) -> None:
    assert resolved(*audience) == stays


def test_what_names_nobody_twice_stays_the_envelope_that_it_is() -> None:
    for said in (said_to("bob"), said_to("carol", "bob"), attrs.evolve(said_to(), audience=None)):
        assert admission().resolve_audience(channel_of("alice", "bob", "carol"), said) is said


def test_names_that_come_to_the_same_are_meant_once_and_asked_about_once() -> None:
    arbiter = Unknowing(("bob", "carol", "bob"))
    far = ("elsewhere/bob", "carol", "elsewhere/b", "elsewhere/bob")
    assert resolved(*far, arbiter=arbiter) == ("carol", "bob")
    assert arbiter.asked_about == [["elsewhere/bob", "elsewhere/b"]]


def test_strangers_are_named_but_not_all_of_them() -> None:
    with pytest.raises(ProtocolError, match="audience: x take no part in channel channel"):
        resolved("x")
    strangers = many_ids(MANY, "x" * 1_000)
    with pytest.raises(ProtocolError, match="and 997 more take no part") as caught:
        resolved(*strangers)
    assert len(caught.value.message) < 1_000


def test_an_audience_is_no_longer_than_a_channel_may_be() -> None:
    assert resolved("bob", "bob", participants_max=2) == ("bob",)
    with pytest.raises(ProtocolError, match="an audience of 4 is more than the 2"):
        resolved("bob", "x", "x", "x", participants_max=2)
    # Opened when a channel might have more.
    everybody = ("carol", "bob", "alice")
    assert resolved(*everybody, participants_max=2) == everybody


def test_nothing_is_looked_at_of_an_audience_that_is_too_long() -> None:
    arbiter = Unknowing(())
    with compared_at_most(0), pytest.raises(ProtocolError, match="an audience of 1001"):
        resolved(*many_ids(MANY + 1), members=many_ids(MANY), arbiter=arbiter)
    assert arbiter.asked_about == []


def test_the_longest_audience_costs_something_for_each_and_not_for_each_pair() -> None:
    members, audience = many_ids(MANY), many_ids(MANY)
    with compared_at_most(10 * MANY):
        assert resolved(*audience, members=members) == members
    strangers = many_ids(MANY // 2, "stranger")
    mixed = (*audience[: MANY // 2], *strangers)
    with compared_at_most(10 * MANY):
        assert resolved(*mixed, members=members, arbiter=Unknowing(())) == members[: MANY // 2]


def test_recipients_are_found_without_a_look_through_the_audience_for_each() -> None:
    members = many_ids(MANY)
    # Written before it was seen to that nobody is named twice.
    said = said_to(*many_ids(MANY) * 3, sender_id="agent-0")
    with compared_at_most(20 * MANY):
        admission().check_post(registered("agent-0"), channel_of(*members), said)
