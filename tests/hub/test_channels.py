"""Channels between real connections: invites, turns, ends, and what the clock does to them."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_hub import HubLimits, MemoryKnowledgeStore
from trio_hub.errors import NotFoundError, ProtocolError, StoreError
from trio_hub.records import (
    EV_CHANNEL_CLOSED,
    EV_CHANNEL_EXPIRED,
    EV_CHANNEL_INVITE,
    EV_CHANNEL_OPENED,
    EV_TEXT,
)
from trio_hub.testing import FaultyStore

from ..protocol.channels import ClumsyAdapter
from .peer import Peer, open_house

T0 = 1_767_225_600.0


def clock() -> float:
    """A wall clock that goes with Trio's."""
    return T0 + trio.current_time()


async def test_a_consult_from_question_to_close(any_house: Any) -> None:
    async with any_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("consulting", bob, intent="to learn")
        await alice.hears(event_type=EV_CHANNEL_OPENED)
        question_id = await alice.say(channel_id, "what?")
        asked = await bob.hears("what?")
        assert asked["envelope"]["envelope_id"] == question_id
        assert asked["recipient_id"] == bob.id
        assert await bob.request("pending_turns_for", agent_id=bob.id) == [
            {
                "channel_id": channel_id,
                "triggering_envelope_id": question_id,
                "expected_at": asked["envelope"]["created_at"],
            }
        ]
        reply_id = await bob.say(channel_id, "that.", causation_id=question_id)
        assert (await alice.hears("that."))["envelope"]["causation_id"] == question_id
        for peer in (alice, bob):
            closed = await peer.hears(event_type=EV_CHANNEL_CLOSED)
            assert closed["envelope"]["event_data"]["reason"] == "consulting_complete"
        metadata = await alice.request("get_channel", channel_id=channel_id)
        assert (metadata["state"], metadata["labels"]) == ("closed", {"intent": "to learn"})
        assert await bob.request("pending_turns_for", agent_id=bob.id) == []
        found = await bob.request(
            "find_envelope_by_causation",
            channel_id=channel_id,
            sender_id=bob.id,
            causation_id=question_id,
        )
        assert found["envelope_id"] == reply_id
        with pytest.raises(ProtocolError, match="is closed"):
            await alice.say(channel_id, "one more thing")


async def test_a_discussion_goes_round() -> None:
    async with open_house() as house:
        peers = [await house.join(name) for name in ("alice", "bob", "carol")]
        channel_id = await peers[0].open("discussion", *peers[1:])
        for number in range(6):
            speaker = peers[number % 3]
            with pytest.raises(ProtocolError, match="waits for"):
                await peers[(number + 1) % 3].say(channel_id, "me!")
            assert await speaker.request("can_send", channel_id=channel_id, sender_id=speaker.id)
            await speaker.say(channel_id, str(number))
        for peer, missing in zip(peers, ("03", "14", "25"), strict=True):
            await peer.quiet()
            assert peer.heard() == [it for it in "012345" if it not in missing]


async def test_two_agents_on_one_connection_talk_to_each_other() -> None:
    async with open_house() as house:
        peer = await house.join("alice", "bob")
        alice_id, bob_id = peer.ids.values()
        channel = await peer.request(
            "create_channel",
            creator_id=alice_id,
            manifest_type="conversation",
            participants=[bob_id],
        )
        await peer.request(
            "post_envelope",
            envelope={
                "channel_id": channel["channel_id"],
                "sender_id": alice_id,
                "event_type": EV_TEXT,
                "event_data": {"text": "hi"},
            },
        )
        assert (await peer.hears("hi"))["recipient_id"] == bob_id


# Invites


async def test_an_invite_says_what_one_is_invited_to() -> None:
    async with open_house() as house:
        alice = await house.join("alice")
        bob = await house.join("bob", accepts=False)
        request_id = alice.ask(
            "create_channel",
            creator_id=alice.id,
            manifest_type="discussion",
            participants=[bob.id],
            knobs={"ordering": "round_robin"},
            labels={"topic": "tea"},
            intent="chat",
        )
        invite = await bob.hears(event_type=EV_CHANNEL_INVITE)
        assert invite["envelope"]["sender_id"] == alice.id
        assert invite["envelope"]["event_data"] == {
            "channel_id": invite["envelope"]["channel_id"],
            "manifest_type": "discussion",
            "manifest_version": 1,
            "creator_id": alice.id,
            "knobs": {"ordering": "round_robin"},
            "labels": {"topic": "tea", "intent": "chat"},
        }
        assert not alice.is_answered(request_id)
        await bob.answer(bob.answer_invite(invite))
        assert (await alice.answer(request_id))["state"] == "active"


async def test_one_who_declines_ends_it() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob", accepts=False)
        request_id = alice.ask(
            "create_channel",
            creator_id=alice.id,
            manifest_type="conversation",
            participants=[bob.id],
        )
        await bob.decline()
        with pytest.raises(ProtocolError, match=f"declined by {bob.id}"):
            await alice.answer(request_id)
        await alice.hears(event_type=EV_CHANNEL_CLOSED)


async def test_who_does_not_answer_in_time_ends_it(autojump_clock: MockClock) -> None:
    async with open_house(clock=clock, invite_ack_timeout=30.0) as house:
        alice, bob = await house.join("alice"), await house.join("bob", accepts=False)
        began = trio.current_time()
        request_id = alice.ask(
            "create_channel",
            creator_id=alice.id,
            manifest_type="conversation",
            participants=[bob.id],
        )
        # The peer's own patience is shorter than the hub's.
        await trio.sleep(29)
        assert not alice.is_answered(request_id)
        with pytest.raises(ProtocolError, match=f"invite_timeout.*no answer of {bob.id}"):
            await alice.answer(request_id)
        assert trio.current_time() - began == pytest.approx(30, abs=0.1)
        closed = await bob.hears(event_type=EV_CHANNEL_CLOSED)
        assert closed["envelope"]["event_data"]["reason"] == "invite_timeout"
        # Too late.
        invite = await bob.hears(event_type=EV_CHANNEL_INVITE)
        with pytest.raises(ProtocolError, match="waits for no answer"):
            await bob.answer(bob.answer_invite(invite))


async def test_a_pending_channel_whose_creator_left_is_closed_in_time(
    autojump_clock: MockClock,
) -> None:
    async with open_house(clock=clock, invite_ack_timeout=30.0) as house:
        alice, bob = await house.join("alice"), await house.join("bob", accepts=False)
        alice.ask(
            "create_channel",
            creator_id=alice.id,
            manifest_type="conversation",
            participants=[bob.id],
        )
        await bob.hears(event_type=EV_CHANNEL_INVITE)
        alice.cut()
        await trio.sleep(31)
        await bob.hears(event_type=EV_CHANNEL_CLOSED)


async def test_an_invitee_that_was_away_accepts_when_it_comes_back() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        bob.cut()
        await bob.gone()
        request_id = alice.ask(
            "create_channel",
            creator_id=alice.id,
            manifest_type="conversation",
            participants=[bob.id],
        )
        await alice.quiet()
        back = await house.back("bob")
        channel_id = (await alice.answer(request_id))["channel_id"]
        await alice.say(channel_id, "there you are")
        await back.hears("there you are")


async def test_a_quorum_is_enough_and_the_late_one_still_hears_everything() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        carol = await house.join("carol", accepts=False)
        channel_id = await alice.open("discussion", bob, carol, required_acks=1)
        await alice.say(channel_id, "early")
        await carol.hears("early")
        await carol.accept()
        metadata = await carol.request("get_channel", channel_id=channel_id)
        assert (metadata["state"], metadata["pending_acks"]) == ("active", [])


async def test_an_accepted_channel_is_told_only_once_it_is_durable(
    autojump_clock: MockClock,
) -> None:
    # The invite's time is over while the commit that opens the channel is under way.
    store = FaultyStore(MemoryKnowledgeStore())
    async with open_house(store, clock=clock, invite_ack_timeout=30.0) as house:
        alice, bob = await house.join("alice"), await house.join("bob", accepts=False)
        request_id = alice.ask(
            "create_channel",
            creator_id=alice.id,
            manifest_type="conversation",
            participants=[bob.id],
        )
        invite = await bob.hears(event_type=EV_CHANNEL_INVITE)
        with store.hold_commits():
            bob.answer_invite(invite)
            await trio.sleep(40)
            assert not alice.is_answered(request_id)
            store.fail("commit")
        with pytest.raises((ProtocolError, StoreError)):
            await alice.answer(request_id)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"manifest_type": "auction"}, NotFoundError, "no adapter .* 'auction'"),
        ({"manifest_version": 9}, NotFoundError, "v9"),
        ({"participants": ["nobody"]}, NotFoundError, "nobody"),
        ({"participants": []}, ProtocolError, "somebody"),
        ({"participants": ["BOB", "BOB"]}, ProtocolError, "twice"),
        ({"participants": ["BOB", "CAROL"]}, ProtocolError, "between two"),
        ({"ttl": "soon"}, ProtocolError, "no duration"),
        ({"ttl": -1}, ProtocolError, "no duration"),
        ({"ttl": "999999999d"}, ProtocolError, "ttl"),
        ({"required_acks": -1}, ProtocolError, "required_acks"),
    ],
    ids=lambda it: str(it)[:40],
)
async def test_a_channel_that_cannot_be_is_refused_and_leaves_nothing(
    changes: dict[str, Any], error: type[Exception], says: str
) -> None:
    async with open_house() as house:
        alice = await house.join("alice")
        bob, carol = await house.join("bob"), await house.join("carol")
        ids = {"BOB": bob.id, "CAROL": carol.id}
        wanted: dict[str, Any] = {
            "creator_id": alice.id,
            "manifest_type": "conversation",
            "participants": [bob.id],
            **changes,
        }
        wanted["participants"] = [ids.get(it, it) for it in wanted["participants"]]
        with pytest.raises(error, match=says):
            await alice.request("create_channel", **wanted)
        assert await alice.request("list_channels") == []
        assert await bob.quiet() == []


async def test_a_channel_has_no_more_members_than_the_hub_allows() -> None:
    async with open_house(limits=HubLimits(participants_max=2)) as house:
        alice, bob, carol = [await house.join(it) for it in ("alice", "bob", "carol")]
        await alice.open("discussion", bob)
        with pytest.raises(ProtocolError, match="3 participants are more than the 2"):
            await alice.open("discussion", bob, carol)


async def test_participants_are_counted_before_anybody_is_looked_up() -> None:
    async with open_house(limits=HubLimits(participants_max=2)) as house:
        alice = await house.join("alice")
        wanted = {"creator_id": alice.id, "manifest_type": "discussion"}
        with pytest.raises(ProtocolError, match="3 participants are more than the 2"):
            await alice.request("create_channel", participants=["x", "y", "z"], **wanted)
        with pytest.raises(NotFoundError):
            await alice.request("create_channel", participants=["x", "y"], **wanted)


async def test_a_creator_may_list_itself_and_a_creator_alone_is_no_channel() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob, alice)
        metadata = await alice.request("get_channel", channel_id=channel_id)
        assert {it["agent_id"]: it["role"] for it in metadata["participants"]} == {
            alice.id: "initiator",
            bob.id: "respondent",
        }
        with pytest.raises(ProtocolError):
            await alice.open("conversation", alice)


# The end


async def test_a_channel_expires_on_time(autojump_clock: MockClock) -> None:
    async with open_house(clock=clock, ttl_sweep_interval=1000.0) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        opened_at = trio.current_time()
        channel_id = await alice.open("conversation", bob, ttl="90s")
        await trio.sleep(89 - (trio.current_time() - opened_at))
        await alice.say(channel_id, "in time")
        await trio.sleep(2)
        for peer in (alice, bob):
            expired = await peer.hears(event_type=EV_CHANNEL_EXPIRED)
            assert expired["envelope"]["event_data"]["reason"] == "ttl"
        with pytest.raises(ProtocolError, match="is expired: ttl"):
            await alice.say(channel_id, "too late")


async def test_a_clock_that_goes_a_little_slow_makes_no_expiry_late_by_a_sweep(
    autojump_clock: MockClock,
) -> None:
    def slow_clock() -> float:
        return T0 + trio.current_time() * 0.999

    async with open_house(clock=slow_clock, ttl_sweep_interval=100_000.0) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        await alice.open("conversation", bob, ttl="2h")
        await trio.sleep(7190)
        assert EV_CHANNEL_EXPIRED not in str(bob.history)
        await trio.sleep(20)
        await bob.hears(event_type=EV_CHANNEL_EXPIRED)


async def test_a_clock_that_steps_ahead_is_noticed_by_the_next_sweep(
    autojump_clock: MockClock,
) -> None:
    step = 0.0
    async with open_house(clock=lambda: clock() + step, ttl_sweep_interval=30.0) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        await alice.open("conversation", bob, ttl="1d")
        step = 86_400.0
        await trio.sleep(31)
        await bob.hears(event_type=EV_CHANNEL_EXPIRED)


async def test_a_ttl_comes_from_the_creators_rule_and_zero_is_for_ever(
    autojump_clock: MockClock,
) -> None:
    async with open_house(clock=clock) as house:
        alice, bob = await house.peer(), await house.join("bob")
        await alice.register("alice", rule={"limits": {"channel_ttl_default": "1h"}})
        by_rule = await alice.open("conversation", bob)
        for_ever = await alice.open("conversation", bob, ttl=0)
        await trio.sleep(3 * 3600)
        states = {it["channel_id"]: it["state"] for it in await alice.request("list_channels")}
        assert states == {by_rule: "expired", for_ever: "active"}


async def test_a_ttl_goes_on_while_the_hub_is_down(autojump_clock: MockClock) -> None:
    store = MemoryKnowledgeStore()
    async with open_house(store, clock=clock) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob, ttl="60s")
    await trio.sleep(100)
    async with open_house(store, clock=clock) as house:
        back = await house.back("alice")
        await back.hears(event_type=EV_CHANNEL_EXPIRED)
        assert (await back.request("get_channel", channel_id=channel_id))["state"] == "expired"


async def test_an_expiry_that_could_not_be_written_is_written_once_the_disk_is_well(
    autojump_clock: MockClock,
) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with open_house(store, clock=clock) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        await alice.open("conversation", bob, ttl=60)
        await trio.sleep(30)
        store.fail_commits()
        await trio.sleep(100)
        assert EV_CHANNEL_EXPIRED not in str(bob.history)
        store.heal()
        await bob.hears(event_type=EV_CHANNEL_EXPIRED)
        await trio.sleep(100)
        assert str(bob.history).count(EV_CHANNEL_EXPIRED) == 1


async def test_any_member_closes_a_channel_and_only_once() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        closed = await bob.request("close_channel", channel_id=channel_id, reason="bored")
        assert (closed["state"], closed["close_reason"]) == ("closed", "bored")
        again = await alice.request("close_channel", channel_id=channel_id, reason="me too")
        assert again["close_reason"] == "bored"
        await alice.hears(event_type=EV_CHANNEL_CLOSED)
        await alice.quiet()
        closings = [
            it
            for it in alice.history
            if it["kind"] == "notify" and it["envelope"]["event_type"] == EV_CHANNEL_CLOSED
        ]
        assert len(closings) == 1


async def test_a_close_is_told_only_once_it_is_durable() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with open_house(store) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await alice.quiet()
        with store.hold_commits():
            first = alice.ask("close_channel", channel_id=channel_id)
            second = bob.ask("close_channel", channel_id=channel_id)
            await alice.quiet()
            await bob.quiet()
            assert not alice.is_answered(first)
            assert not bob.is_answered(second)
        assert (await alice.answer(first))["state"] == "closed"
        assert (await bob.answer(second))["state"] == "closed"


@pytest.mark.parametrize("reason", [None, ""])
async def test_a_close_without_a_reason_is_explicit(reason: str | None) -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        closed = await alice.request("close_channel", channel_id=channel_id, reason=reason)
        assert closed["close_reason"] == "explicit_close"


# Lists


async def test_channels_are_listed_for_one_or_for_all_that_are_bound_here() -> None:
    async with open_house() as house:
        alice, bob, carol = [await house.join(it) for it in ("alice", "bob", "carol")]
        first = await alice.open("conversation", bob)
        second = await bob.open("conversation", carol)
        third = await alice.open("conversation", carol)

        async def listed(peer: Peer, **params: Any) -> list[str]:
            return [it["channel_id"] for it in await peer.request("list_channels", **params)]

        assert await listed(alice) == [first, third]
        assert await listed(bob, agent_id=bob.id) == [first, second]
        assert await listed(carol) == [second, third]
        assert await listed(alice, limit=1) == [first]
        assert await listed(alice, limit=None) == [first, third]


async def test_pending_turns_are_those_of_channels_that_wait_for_one() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        consult = await alice.open("consulting", bob)
        await alice.open("conversation", bob)
        assert [
            (it["channel_id"], it["triggering_envelope_id"])
            for it in await alice.request("pending_turns_for", agent_id=alice.id)
        ] == [(consult, None)]
        assert await bob.request("pending_turns_for", agent_id=bob.id) == []


async def test_pending_turns_of_one_channel_are_those_of_that_one() -> None:
    async with open_house() as house:
        alice, bob, carol = [await house.join(it) for it in ("alice", "bob", "carol")]
        first, second = [await alice.open("consulting", bob) for _ in range(2)]
        strange = await carol.open("consulting", bob)

        async def pending(agent: Peer, channel_id: str, **params: Any) -> list[str]:
            turns = await agent.request(
                "pending_turns_for", agent_id=agent.id, channel_id=channel_id, **params
            )
            return [it["channel_id"] for it in turns]

        assert await pending(alice, first) == [first]
        assert await pending(alice, second) == [second]
        assert await pending(alice, second, after=second) == []
        # It is for somebody else to speak; it is no channel of hers; there is no such channel.
        assert await pending(bob, first) == []
        assert await pending(alice, strange) == await pending(alice, "f" * 32) == []
        await alice.request("close_channel", channel_id=first)
        assert await pending(alice, first) == []


async def test_can_send_is_false_where_there_is_no_channel() -> None:
    async with open_house() as house:
        alice = await house.join("alice")
        assert await alice.request("can_send", channel_id="x", sender_id=alice.id) is False


# Adapters with bugs


@pytest.mark.parametrize("step", ["fold", "on_accepted", "validate_send"])
async def test_an_adapter_with_a_bug_costs_one_post(step: str) -> None:
    async with open_house(adapters=[ClumsyAdapter(step, only_for="app.poison")]) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        with pytest.raises(ProtocolError, match="cannot take"):
            await alice.say(channel_id, "x", event_type="app.poison")
        await alice.say(channel_id, "fine")
        await bob.hears("fine")


async def test_an_adapter_that_cannot_fold_an_expiry_does_not_stop_the_hub(
    autojump_clock: MockClock,
) -> None:
    adapter = ClumsyAdapter("fold", only_for=EV_CHANNEL_EXPIRED)
    async with open_house(clock=clock, adapters=[adapter]) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        await alice.open("conversation", bob, ttl=5)
        await trio.sleep(6)
        await bob.hears(event_type=EV_CHANNEL_EXPIRED)
        await alice.open("consulting", bob)
