"""Between hubs: names, allow lists, who is owed what, what crosses, and when to call again."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st

from trio_hub.errors import ProtocolError
from trio_hub.protocol.adapters import DiscussionAdapter
from trio_hub.protocol.backoff import Backoff
from trio_hub.protocol.federation import (
    DialState,
    Naming,
    PeerPolicy,
    Recipients,
    ReflectedMachine,
    check_path,
    crossing_key,
    hub_name,
    link_name,
    login_name,
    path_from,
    recipients_of,
    renamed,
)
from trio_hub.protocol.federation.addresses import link_scheme
from trio_hub.protocol.federation.crossing import id_in_key, is_loop
from trio_hub.protocol.federation.policy import check_hubs
from trio_hub.protocol.federation.reflection import check_far_event
from trio_hub.protocol.plan import Stamp
from trio_hub.records import (
    EV_CHANNEL_CLOSED,
    EV_CHANNEL_EXPIRED,
    EV_CHANNEL_INVITE,
    EV_CHANNEL_INVITE_ACK,
    EV_CHANNEL_OPENED,
    EV_CHANNEL_PARTICIPANT_HIDDEN,
    EV_CHANNEL_PARTICIPANT_REMOVED,
    EV_EXPECTATION_VIOLATED,
    EV_TEXT,
    ChannelMetadata,
    ChannelState,
    Envelope,
    is_addressed_to,
)

from .channels import ALICE, BOB, CAROL, ack, envelope, metadata, reject, stamps, text

HUBS = ("east", "north", "west")

# Names


@pytest.mark.parametrize("name", ["a", "hub-1", "eu.example_2", "9"])
def test_hub_may_be_called_so(name: str) -> None:
    assert hub_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "a/b", "-a", "a b", "a" * 64, "hub:a"])
def test_hub_may_not_be_called_so(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a hub"):
        hub_name(name)


def test_a_hub_is_joined_with_others_once_each() -> None:
    check_hubs("east", ["west", "north"])
    with pytest.raises(ValueError, match="peer of its own"):
        check_hubs("east", ["east"])
    with pytest.raises(ValueError, match="twice: west"):
        check_hubs("east", ["west", "north", "west"])
    with pytest.raises(ValueError, match="no name of a hub"):
        check_hubs("east", ["West"])


def test_what_hubs_are_called_at_each_other() -> None:
    assert link_name("west") == "hub://west"
    assert link_scheme("west") == login_name("west") == "hub:west"


@given(st.text(min_size=1).filter(lambda it: not it.startswith("hub://")))
def test_an_address_means_the_same_on_both_sides(name: str) -> None:
    here, there = Naming("east", "west"), Naming("west", "east")
    address = here.address(name)
    assert address == f"hub://east/{name}"
    mirror = there.name(address)
    assert there.is_mirror(mirror)
    assert there.name_there(mirror) == name
    # And back: who is meant is the one here.
    assert here.name(there.address(mirror)) == name


def test_one_of_a_third_hub_is_an_agent_of_the_hub_in_between() -> None:
    owner = Naming("east", "west")
    address = owner.address("hub://north/carol")
    assert address == "hub://east/hub://north/carol"
    assert Naming("west", "east").name(address) == address


@pytest.mark.parametrize("address", ["hub://north/x", "bob", "", "hub://", "hub://westward/x"])
def test_a_peer_speaks_only_of_its_own_and_ours(address: str) -> None:
    with pytest.raises(ProtocolError, match="no address"):
        Naming("east", "west").name(address)


# Allow lists


def test_lists_say_who_is_known_on_the_other_side() -> None:
    policy = PeerPolicy(exports=("public-*", "bob"), imports=("helper?",))
    assert policy.shows("bob")
    assert policy.shows("public-desk")
    assert not policy.shows("alice")
    assert policy.lets_in("helper1")
    assert not policy.lets_in("helper")


def test_nobody_of_another_hub_is_shown_as_ones_own() -> None:
    assert not PeerPolicy(exports=("*",), imports=("*",)).shows("hub://north/carol")


@pytest.mark.parametrize("which", ["exports", "imports"])
def test_lists_that_cost_too_much_are_refused(which: str) -> None:
    lists: dict[str, tuple[str, ...]] = {"exports": (), "imports": (), which: ("x" * 200,)}
    with pytest.raises(ValueError, match=which):
        PeerPolicy(**lists)


# When to call again


def test_who_never_failed_is_called_at_once() -> None:
    assert DialState().wait(0.0, Backoff()) == 0.0


@given(st.integers(0, 1000), st.integers(1, 40))
def test_waits_grow_and_are_bounded_whatever_the_clock_does(seed: int, times: int) -> None:
    backoff, rng = Backoff(base=1.0, cap=60.0), random.Random(seed)
    state = DialState()
    for number in range(times):
        state = state.failed(1000.0, backoff, rng)
        assert state.failures == number + 1
        wait = state.wait(1000.0, backoff)
        assert 0.0 <= wait <= backoff.ceiling(number)
        # A clock that has stepped back, by whatever it takes.
        assert state.wait(-1e9, backoff) == backoff.ceiling(number)
        assert state.wait(1e9, backoff) == 0.0


# Who is owed what


def _channel(*members: str) -> ChannelMetadata:
    return metadata(DiscussionAdapter(), *members, state=ChannelState.ACTIVE, pending_acks=())


def _link_of(home: str, agent_id: str) -> str | None:
    """Agents are called ``HUB.NAME`` here."""
    hub = agent_id.partition(".")[0]
    return None if hub == home else f"link {hub}"


def _at(home: str, channel: ChannelMetadata) -> Recipients:
    return recipients_of(channel, lambda it: _link_of(home, it))


def test_channel_of_one_hub_costs_nothing_more() -> None:
    recipients = _at("east", _channel("east.a", "east.b"))
    assert recipients == Recipients(("east.a", "east.b"))
    assert recipients.is_addressed is is_addressed_to
    assert not recipients.is_reflection


def test_agents_of_one_hub_are_owed_as_one() -> None:
    channel = _channel("east.a", "west.b", "west.c", "north.d")
    recipients = _at("east", channel)
    assert recipients.ids == ("east.a", "link west", "link north")
    assert recipients.far == {"west.b", "west.c", "north.d"}
    assert recipients.owner is None
    everybody = text("east.a")
    assert recipients.is_addressed(everybody, "link west")
    assert not recipients.is_addressed(everybody, "east.a")
    one = text("east.a", audience=("west.c",))
    assert recipients.is_addressed(one, "link west")
    assert not recipients.is_addressed(one, "link north")
    # What came from a hub does not go back there, and does go on to the others.
    theirs = text("west.b")
    assert not recipients.is_addressed(theirs, "link west")
    assert recipients.is_addressed(theirs, "link north")


def test_reflection_owes_its_owner_all_that_was_said_here() -> None:
    # Everybody from elsewhere is reached by the owner: mirrors are of the hub that told of them.
    recipients = recipients_of(
        _channel("east.a", "west.b", "west.c"), lambda it: _link_of("west", it)
    )
    assert recipients.is_reflection
    assert recipients.owner == "link east"
    between_us = text("west.b", audience=("west.c",))
    assert recipients.is_addressed(between_us, "link east")
    assert recipients.is_addressed(between_us, "west.c")
    assert recipients.is_addressed(envelope("west.b", EV_CHANNEL_INVITE_ACK), "link east")
    assert not recipients.is_addressed(text("east.a"), "link east")


def test_hub_is_told_that_its_agents_were_removed_and_nothing_more() -> None:
    channel = _channel("east.a", "north.d")
    removed = ["west.b", "west.c", "east.e"]
    recipients = recipients_of(channel, lambda it: _link_of("east", it), removed)
    assert recipients.ids == ("east.a", "link north", "link west")
    assert recipients.far == {"north.d", "west.b", "west.c"}
    assert not recipients.is_addressed(text("east.a"), "link west")
    gone = envelope(
        "east.a",
        EV_CHANNEL_PARTICIPANT_REMOVED,
        audience=channel.participant_ids,
        event_data={"participants": ["west.b"], "reason": "late"},
    )
    assert recipients.is_addressed(gone, "link west")
    # What it said before still does not go back.
    assert not recipients.is_addressed(text("west.b"), "link west")
    assert recipients.is_addressed(text("west.b"), "link north")


@attrs.frozen
class _Copy:
    hub: str
    sender: str
    path: tuple[str, ...]


def _spread(channel: ChannelMetadata, said: Envelope) -> tuple[list[str], Counter[str]]:
    """Let an envelope go wherever it is owed, as hubs would; return who got it, and the copies."""
    owner = channel.creator_id.partition(".")[0]
    heard: list[str] = []
    copies: Counter[str] = Counter()
    home = said.sender_id.partition(".")[0]
    under_way = [_Copy(home, said.sender_id, ())]
    while under_way:
        copy = under_way.pop()
        copies[copy.hub] += 1
        assert sum(copies.values()) < 10, "it goes round"
        seen = channel
        if copy.hub != owner:
            # In a reflection everybody who is not from here is reached by the owner.
            def by_owner(agent_id: str, here: str = copy.hub) -> str | None:
                return None if agent_id.partition(".")[0] == here else f"link {owner}"

            recipients = recipients_of(seen, by_owner)
        else:
            recipients = _at(owner, seen)
        for recipient in recipients.ids:
            if not recipients.is_addressed(said, recipient):
                continue
            if not recipient.startswith("link "):
                heard.append(recipient)
                continue
            peer = recipient.removeprefix("link ")
            sender_hub = said.sender_id.partition(".")[0]
            path = path_from(copy.hub, None if sender_hub == copy.hub else sender_hub)
            check_path(path, me=peer, peer=copy.hub)
            under_way.append(_Copy(peer, said.sender_id, path))
    return heard, copies


_AGENTS = [f"{hub}.{name}" for hub in HUBS for name in "abc"]


@given(
    st.lists(st.sampled_from(_AGENTS), min_size=2, max_size=9, unique=True),
    st.data(),
)
def test_whoever_is_addressed_hears_once_and_nothing_goes_round(
    members: list[str], data: st.DataObject
) -> None:
    channel = _channel(*members)
    sender = data.draw(st.sampled_from(members))
    others = [it for it in members if it != sender]
    audience = data.draw(st.none() | st.lists(st.sampled_from(others), min_size=1, unique=True))
    said = text(sender, audience=None if audience is None else tuple(audience))
    heard, copies = _spread(channel, said)
    assert sorted(heard) == sorted(others if audience is None else audience)
    # One log of each hub has it at the most.
    assert set(copies.values()) == {1}


# What crosses


def test_key_tells_where_an_envelope_came_from() -> None:
    key = crossing_key("west", "17")
    assert id_in_key(key, "west") == "17"
    assert id_in_key(key, "wes") is None
    assert id_in_key("reply:17", "west") is None
    assert id_in_key(None, "west") is None


def test_path_names_the_hubs_an_envelope_was_in() -> None:
    assert path_from("east", None) == ("east",)
    assert path_from("east", "west") == ("west", "east")
    check_path(("west", "east"), me="north", peer="east")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (("west", "east"), "a loop"),
        (("east", "east"), "a loop"),
        ((), "0 hops"),
        (("a", "b", "east"), "3 hops"),
        (("north",), "says that it is"),
    ],
)
def test_path_that_cannot_be_is_refused(path: tuple[str, ...], why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        check_path(path, me="west", peer="east")
    assert is_loop(path, "west") == (why == "a loop")


def test_names_are_replaced_wherever_they_stand() -> None:
    value: Any = {"to": "a", "all": ["a", {"a": 1}], "n": 1, "none": None, "other": "ab"}
    assert renamed(value, {"a": "A"}) == {
        "to": "A",
        "all": ["A", {"A": 1}],
        "n": 1,
        "none": None,
        "other": "ab",
    }


# The reflection: Alice owns the channel and is far, Bob and Carol are here.


def _reflection(**fields: Any) -> tuple[ReflectedMachine, Any]:
    next_stamp = stamps()
    channel = metadata(DiscussionAdapter(), ALICE, BOB, CAROL, **fields)
    invite = envelope(ALICE, EV_CHANNEL_INVITE, audience=(BOB,), idempotency_key="k0")
    machine, plan = ReflectedMachine.plan_reflect(channel, frozenset([ALICE]), invite, next_stamp())
    machine.apply(plan)
    return machine, next_stamp


def _post(machine: ReflectedMachine, said: Envelope, stamp: Stamp) -> Envelope:
    plan = machine.plan_post(said, stamp)
    machine.apply(plan)
    (stamped,) = plan.envelopes
    return stamped


def test_reflection_begins_with_an_invite_and_opens_when_its_owner_says_so() -> None:
    machine, next_stamp = _reflection()
    assert machine.length == 1
    assert machine.metadata.state is ChannelState.PENDING
    _post(machine, ack(BOB, causation_id="1"), next_stamp())
    _post(machine, ack(CAROL, causation_id="2"), next_stamp())
    # All have accepted, and that is for somebody else to draw conclusions from.
    assert machine.metadata.state is ChannelState.PENDING
    assert machine.metadata.pending_acks == ()
    _post(machine, envelope(ALICE, EV_CHANNEL_OPENED), next_stamp())
    assert machine.metadata.state is ChannelState.ACTIVE
    assert machine.can_send(BOB, EV_TEXT)
    assert machine.expected_next() is None


def test_reflection_takes_note_of_who_declined() -> None:
    machine, next_stamp = _reflection()
    _post(machine, reject(BOB), next_stamp())
    assert machine.metadata.rejected_by == (BOB,)
    assert machine.metadata.state is ChannelState.PENDING


def test_answer_that_is_given_twice_is_one() -> None:
    machine, next_stamp = _reflection()
    first = _post(machine, ack(BOB, causation_id="1"), next_stamp())
    assert machine.plan_post(ack(BOB, causation_id="1"), next_stamp()).duplicate_of == (
        first.envelope_id
    )


@pytest.mark.parametrize(
    ("event_type", "state"),
    [(EV_CHANNEL_CLOSED, ChannelState.CLOSED), (EV_CHANNEL_EXPIRED, ChannelState.EXPIRED)],
)
def test_reflection_ends_as_its_owner_says_and_takes_nothing_more_from_here(
    event_type: str, state: ChannelState
) -> None:
    machine, next_stamp = _reflection(state=ChannelState.ACTIVE)
    end = envelope(ALICE, event_type, event_data={"reason": "enough"})
    last = _post(machine, end, next_stamp())
    assert machine.metadata.state is state
    assert machine.metadata.close_reason == "enough"
    assert machine.metadata.closed_at == last.created_at
    with pytest.raises(ProtocolError, match="enough"):
        machine.plan_post(text(BOB), next_stamp())
    # The owner is never refused, and what has ended stays as it ended.
    _post(machine, envelope(ALICE, EV_CHANNEL_OPENED), next_stamp())
    _post(machine, text(ALICE), next_stamp())
    assert machine.metadata.state is state


def test_reason_that_is_no_text_is_none() -> None:
    machine, next_stamp = _reflection(state=ChannelState.ACTIVE)
    _post(machine, envelope(ALICE, EV_CHANNEL_CLOSED, event_data={"reason": 7}), next_stamp())
    assert machine.metadata.close_reason == ""


def test_nothing_ends_a_reflection_but_its_owner() -> None:
    machine, next_stamp = _reflection(state=ChannelState.ACTIVE)
    assert machine.plan_end(ChannelState.EXPIRED, "ttl", next_stamp()) is None


def _removal(*agent_ids: str) -> Envelope:
    data = {"participants": list(agent_ids), "reason": "late"}
    return envelope(ALICE, EV_CHANNEL_PARTICIPANT_REMOVED, event_data=data)


def test_reflection_is_left_by_whom_its_owner_has_removed_and_ends_with_the_last_of_here() -> None:
    machine, next_stamp = _reflection()
    _post(machine, _removal(BOB, ALICE), next_stamp())
    # Whose channel it is, is not to be removed, whatever is said.
    assert machine.metadata.participant_ids == (ALICE, CAROL)
    assert machine.metadata.pending_acks == (CAROL,)
    assert [it.agent_id for it in machine.firings.removed] == [BOB]
    assert machine.metadata.state is ChannelState.PENDING
    with pytest.raises(ProtocolError, match="no part"):
        machine.plan_post(text(BOB), next_stamp())
    last = _post(machine, _removal(CAROL), next_stamp())
    assert machine.metadata.state is ChannelState.CLOSED
    assert machine.metadata.close_reason == "all who took part here were removed"
    assert machine.metadata.closed_at == last.created_at
    assert [it.agent_id for it in machine.firings.removed] == [BOB, CAROL]


def test_reflection_that_has_ended_stays_as_it_ended_when_somebody_is_removed() -> None:
    machine, next_stamp = _reflection(state=ChannelState.ACTIVE)
    _post(machine, envelope(ALICE, EV_CHANNEL_CLOSED, event_data={"reason": "b"}), next_stamp())
    _post(machine, _removal(BOB, CAROL), next_stamp())
    assert machine.metadata.close_reason == "b"


@pytest.mark.parametrize("data", [{}, {"participants": "b"}, {"participants": [1]}])
@pytest.mark.parametrize(
    "event_type", [EV_CHANNEL_PARTICIPANT_HIDDEN, EV_CHANNEL_PARTICIPANT_REMOVED]
)
def test_owner_that_does_not_say_who_is_out_is_refused(
    event_type: str, data: dict[str, Any]
) -> None:
    machine, next_stamp = _reflection()
    with pytest.raises(ProtocolError, match="names participants"):
        machine.plan_post(envelope(ALICE, event_type, event_data=data), next_stamp())


def test_what_comes_again_from_the_owner_is_known_and_found_by_its_key() -> None:
    machine, next_stamp = _reflection(state=ChannelState.ACTIVE)
    said = text(ALICE, idempotency_key="hub:east:7")
    first = _post(machine, said, next_stamp())
    assert machine.plan_post(said, next_stamp()).duplicate_of == first.envelope_id
    assert machine.id_by_key("hub:east:7") == first.envelope_id
    assert machine.id_by_key("hub:east:8") is None


def test_what_is_said_here_is_judged_elsewhere() -> None:
    machine, next_stamp = _reflection(state=ChannelState.ACTIVE)
    for _ in range(3):
        _post(machine, text(BOB), next_stamp())
    with pytest.raises(ProtocolError, match="no part"):
        machine.plan_post(text("mallory"), next_stamp())


def test_reflection_is_the_same_when_read_from_its_log() -> None:
    machine, next_stamp = _reflection(state=ChannelState.ACTIVE)
    log = [_post(machine, text(who, idempotency_key=who), next_stamp()) for who in (ALICE, BOB)]
    again = ReflectedMachine(machine.metadata, frozenset([ALICE]))
    for stamped in log:
        again.replay(stamped)
    assert again.id_by_key(ALICE) == log[0].envelope_id
    assert again.damage == ""


@pytest.mark.parametrize(
    "event_type",
    [EV_CHANNEL_OPENED, EV_CHANNEL_CLOSED, EV_CHANNEL_INVITE, EV_EXPECTATION_VIOLATED],
)
def test_hub_of_an_invitee_does_not_speak_for_the_owner(event_type: str) -> None:
    with pytest.raises(ProtocolError, match="owning hub"):
        check_far_event(envelope(BOB, event_type))


@pytest.mark.parametrize("event_type", [EV_TEXT, EV_CHANNEL_INVITE_ACK])
def test_hub_of_an_invitee_speaks_for_the_invitee(event_type: str) -> None:
    check_far_event(envelope(BOB, event_type))
