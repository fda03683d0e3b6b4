"""Expectations on a hub: they fire at their time, and what they say follows."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from trio_hub import (
    ConversationAdapter,
    Expectation,
    HubLimits,
    Violation,
)
from trio_hub.errors import AccessDeniedError, NotFoundError, ProtocolError
from trio_hub.records import (
    EV_CHANNEL_CLOSED,
    EV_CHANNEL_PARTICIPANT_HIDDEN,
    EV_CHANNEL_PARTICIPANT_REMOVED,
    EV_EXPECTATION_VIOLATED,
)

from .expecting import event_types, expect, fired, three, watched
from .peer import open_house

# Firing


async def test_a_violation_is_told_audited_and_counted_at_its_time(
    autojump_clock: MockClock,
) -> None:
    async with watched() as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open(
            "conversation", bob, expectations=[expect("reply_within", "notify_channel", 60)]
        )
        await alice.say(channel_id, "bob?")
        await trio.sleep(59.9)
        await bob.quiet()
        assert fired(diary) == []
        await trio.sleep(0.2)
        notice = await bob.hears(event_type=EV_EXPECTATION_VIOLATED)
        # Everybody hears of it, who opened the channel too.
        assert (await alice.hears(event_type=EV_EXPECTATION_VIOLATED))["envelope"] == notice[
            "envelope"
        ]
        assert notice["envelope"]["sender_id"] == alice.id
        data = notice["envelope"]["event_data"]
        assert (data["expectation"], data["violators"]) == ("reply_within", [bob.id])
        assert data["detail"]["threshold_seconds"] == 60
        assert data["detail"]["elapsed_seconds"] == pytest.approx(60, abs=0.2)
        told_of, expectation, violation = await diary.hears("on_expectation_fired")
        assert told_of == channel_id
        assert violation == Violation(
            expectation=expectation, violator_ids=(bob.id,), detail=data["detail"]
        )
        (record,) = (await house.hub.audit.query(kind="expectation_violated")).records
        assert (record.agent_id, record.channel_id, record.by) == (bob.id, channel_id, "hub")
        assert record.details["violators"] == [bob.id]
        assert record.details["on_violation"] == "notify_channel"
        counts = house.hub.figures().violations
        assert counts == {("reply_within", "notify_channel"): 1}
        await trio.sleep(1000)
        assert len(fired(diary)) == 1


async def test_what_is_done_in_time_is_no_violation(autojump_clock: MockClock) -> None:
    async with watched() as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open(
            "conversation", bob, ttl=0, expectations=[expect("reply_within", "auto_close", 60)]
        )
        for _ in range(5):
            await alice.say(channel_id, "bob?")
            await trio.sleep(59)
            await bob.say(channel_id, "yes")
            await trio.sleep(59)
        assert fired(diary) == []
        # The last word was bob's, and alice has a second left.
        await trio.sleep(2)
        assert fired(diary) == [("reply_within", "auto_close", (alice.id,))]
        closed = await bob.hears(event_type=EV_CHANNEL_CLOSED)
        assert closed["envelope"]["event_data"]["reason"] == "expectation_violated:reply_within"


async def test_a_warning_is_for_the_one_it_is_about(autojump_clock: MockClock) -> None:
    async with watched() as (house, diary):
        alice, bob, carol = await three(house)
        channel_id = await alice.open("discussion", bob, carol)
        await alice.say(channel_id, "bob, you are next")
        await trio.sleep(121)
        await bob.hears(event_type=EV_EXPECTATION_VIOLATED)
        for other in (alice, carol):
            events = [
                it["envelope"]["event_type"] for it in await other.quiet() if "envelope" in it
            ]
            assert EV_EXPECTATION_VIOLATED not in events
        assert fired(diary) == [("turn_within", "warn", (bob.id,))]


async def test_audit_says_nothing_in_the_channel(autojump_clock: MockClock) -> None:
    async with watched() as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob, ttl=0)
        before = await event_types(house, channel_id)
        await trio.sleep(3601)
        assert fired(diary) == [("max_silence", "audit", ())]
        assert await event_types(house, channel_id) == before
        (record,) = (await house.hub.audit.query(kind="expectation_violated")).records
        assert record.agent_id is None


async def test_an_invitee_that_does_not_answer_in_time_closes_the_channel(
    autojump_clock: MockClock,
) -> None:
    async with watched() as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob", accepts=False)
        with pytest.raises(ProtocolError, match=f"acks_within.*no answer of {bob.id}"):
            await alice.open(
                "conversation", bob, expectations=[expect("acks_within", "auto_close", 10)]
            )
        await diary.hears("on_expectation_fired")
        assert fired(diary) == [("acks_within", "auto_close", (bob.id,))]


async def test_the_time_of_the_invitees_itself_comes_first(autojump_clock: MockClock) -> None:
    async with watched() as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob", accepts=False)
        # A consult expects its ack in the same thirty seconds that an invitee has.
        request_id = alice.ask(
            "create_channel",
            creator_id=alice.id,
            manifest_type="consulting",
            participants=[bob.id],
        )
        # The peer's own patience is shorter than the hub's.
        await trio.sleep(40)
        with pytest.raises(ProtocolError, match="invite_timeout"):
            await alice.answer(request_id)
        assert fired(diary) == []


async def test_the_end_of_the_ttl_comes_first(autojump_clock: MockClock) -> None:
    async with watched() as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open(
            "conversation", bob, ttl=60, expectations=[expect("max_silence", "auto_close", 60)]
        )
        await trio.sleep(100)
        assert house.hub.get_channel(channel_id).close_reason == "ttl"
        assert fired(diary) == []


# Hide and remove


async def test_who_is_hidden_hears_and_is_not_heard(autojump_clock: MockClock) -> None:
    async with watched() as (house, diary):
        alice, bob, carol = await three(house)
        channel_id = await alice.open(
            "discussion", bob, carol, expectations=[expect("turn_within", "hide", 600)]
        )
        await alice.say(channel_id, "bob?")
        await trio.sleep(601)
        for peer in (alice, bob, carol):
            said = await peer.hears(event_type=EV_CHANNEL_PARTICIPANT_HIDDEN)
            assert said["envelope"]["event_data"]["participants"] == [bob.id]
        with pytest.raises(AccessDeniedError, match="is hidden in channel"):
            await bob.say(channel_id, "here I am")
        assert not await bob.request("can_send", channel_id=channel_id, sender_id=bob.id)
        await carol.say(channel_id, "then I")
        await bob.hears("bob?")
        await bob.hears("then I")
        await alice.say(channel_id, "and I")
        await carol.hears("bob?")
        await carol.hears("and I")
        assert alice.heard(channel_id) == ["then I"]
        (event,) = [
            payload
            for _, kind, payload in diary.of("on_channel_event")
            if kind == "participant_hidden"
        ]
        assert event["agent_ids"] == (bob.id,)


async def test_who_is_removed_can_neither_post_nor_read_nor_hear(
    autojump_clock: MockClock,
) -> None:
    async with watched() as (house, _):
        alice, bob = await house.join("alice"), await house.join("bob")
        carol = await house.join("carol", acks=False)
        channel_id = await alice.open(
            "discussion", bob, carol, expectations=[expect("turn_within", "remove", 60)]
        )
        await alice.say(channel_id, "1")
        await bob.say(channel_id, "2")
        # It is carol's turn, who has acked nothing of all this.
        assert house.hub._owed(carol.id) > 0
        await trio.sleep(61)
        await bob.hears(event_type=EV_CHANNEL_PARTICIPANT_REMOVED)
        assert house.hub._owed(carol.id) == 0
        await alice.say(channel_id, "3")
        await carol.quiet()
        assert carol.heard(channel_id) == ["1", "2"]
        assert await carol.request("list_channels", agent_id=carol.id) == []
        for op, params in (
            ("read_wal", {}),
            ("get_channel", {}),
            ("post_envelope", {"envelope": carol.envelope(channel_id, "?")}),
        ):
            with pytest.raises(AccessDeniedError):
                await carol.request(op, channel_id=channel_id, **params)
        members = [it.agent_id for it in house.hub.get_channel(channel_id).participants]
        assert members == [alice.id, bob.id]
        # Receipts that come late, and another connection, change nothing.
        for frame in list(carol.frames):
            if frame["kind"] == "notify" and frame["envelope"]["channel_id"] == channel_id:
                carol.ack(frame)
        carol.cut()
        back = await house.back("carol")
        await back.quiet()
        assert back.heard(channel_id) == []
        await bob.say(channel_id, "4")
        assert house.hub.health().problems == ()


async def test_a_channel_with_too_few_left_is_closed_with_that_reason(
    autojump_clock: MockClock,
) -> None:
    async with watched() as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open(
            "conversation", bob, expectations=[expect("reply_within", "remove", 60)]
        )
        await alice.say(channel_id, "bob?")
        await trio.sleep(61)
        closed = await alice.hears(event_type=EV_CHANNEL_CLOSED)
        assert closed["envelope"]["event_data"]["reason"] == "too_few_participants"
        assert house.hub.get_channel(channel_id).participant_ids == (alice.id,)
        kinds = [kind for _, kind, _ in diary.of("on_channel_event")]
        assert kinds == ["created", "opened", "closed", "participant_removed"]


async def test_what_was_behind_in_a_channel_is_not_read_for_one_who_was_removed(
    autojump_clock: MockClock,
) -> None:
    async with watched() as (house, _):
        alice, bob, carol = await three(house)
        channel_id = await alice.open(
            "discussion", bob, carol, expectations=[expect("turn_within", "remove", 60)]
        )
        carol.cut()
        await carol.gone()
        await alice.say(channel_id, "1")
        await bob.say(channel_id, "2")
        await trio.sleep(70)
        back = await house.back("carol")
        await back.quiet()
        assert back.heard(channel_id) == []


# Nobody but the hub


async def test_nobody_else_says_that_an_expectation_was_not_met() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        for event_type in (EV_EXPECTATION_VIOLATED, EV_CHANNEL_PARTICIPANT_HIDDEN):
            with pytest.raises(ProtocolError, match="by the hub alone"):
                await alice.say(channel_id, "bob is late", event_type=event_type)


# Creation


async def test_what_a_hub_does_not_know_is_refused_before_anybody_is_invited() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        with pytest.raises(NotFoundError, match="'applause'; this hub knows acks_within"):
            await alice.open("conversation", bob, expectations=[expect("applause", "audit", 9)])
        with pytest.raises(NotFoundError, match=r"'shout'.*knows audit, auto_close"):
            await alice.open("conversation", bob, expectations=[expect("max_silence", "shout", 9)])
        with pytest.raises(ProtocolError, match="at least 1"):
            await alice.open(
                "conversation", bob, expectations=[expect("max_silence", "audit", 0.5)]
            )
        assert len(house.hub.channels) == 0


@pytest.mark.parametrize(
    "hostile",
    [
        expect("max_silence", "audit", -1),
        expect("max_silence", "audit", 0),
        expect("max_silence", "audit", 10**30, applies_to=["x" * 10_000] * 50),
        {"name": "max_silence", "on_violation": "audit", "params": {"seconds": "60"}},
        {"name": "max_silence", "on_violation": "audit", "params": {"seconds": None}},
        {"name": "max_silence", "on_violation": "audit", "params": {"seconds": [[[]]]}},
        {"name": "max_silence", "on_violation": "audit", "params": {"seconds": "s" * 10_000}},
        {"name": "max_silence", "on_violation": "audit", "params": {"s" * 10_000: 1}},
        {"name": "max_silence", "on_violation": "audit", "params": []},
        {"name": "max_silence", "on_violation": None},
        {"name": "max_silence"},
        {"name": "n" * 10_000, "on_violation": "audit"},
        "max_silence",
        None,
    ],
)
async def test_what_makes_no_sense_gets_one_short_answer(hostile: Any) -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        with pytest.raises((ProtocolError, NotFoundError)) as refused:
            await alice.open("conversation", bob, expectations=[hostile])
        assert len(str(refused.value)) < 500
        assert len(house.hub.channels) == 0
        # Nobody is the worse for it.
        await alice.open("conversation", bob)


async def test_a_time_beyond_all_time_is_waited_for(autojump_clock: MockClock) -> None:
    async with watched() as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob")
        expected = [expect("max_silence", "audit", it) for it in (1e308, 2**63, 10)]
        await alice.open("conversation", bob, ttl=0, expectations=expected)
        await trio.sleep(60)
        assert fired(diary) == [("max_silence", "audit", ())]


async def test_limits_at_and_beyond() -> None:
    limits = HubLimits(expectations_max=2, expectation_seconds_min=5)
    async with open_house(limits=limits) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        one = expect("max_silence", "audit", 5)
        await alice.open("conversation", bob, expectations=[one, one])
        with pytest.raises(ProtocolError, match="3 expectations are more than the 2"):
            await alice.open("conversation", bob, expectations=[one, one, one])
        with pytest.raises(ProtocolError, match="at least 5"):
            await alice.open(
                "conversation", bob, expectations=[expect("max_silence", "audit", 4.9)]
            )


async def test_the_expectations_of_a_channel_can_be_read_and_left_out() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        own = expect("turn_within", "warn", 30, applies_to=[bob.id])
        metadata = await alice.request(
            "get_channel", channel_id=await alice.open("discussion", bob, expectations=[own])
        )
        assert metadata["manifest"]["expectations"] == [own]
        for given, names in ((None, ["max_silence"]), ([], [])):
            channel_id = await alice.open("conversation", bob, expectations=given)
            manifest = house.hub.get_channel(channel_id).manifest
            assert [it.name for it in manifest.expectations] == names


class Strange(ConversationAdapter):
    manifest = attrs.evolve(
        ConversationAdapter.manifest,
        type="strange",
        expectations=(Expectation(name="applause", on_violation="audit"),),
    )


async def test_a_type_that_expects_what_the_hub_does_not_know_cannot_be_opened() -> None:
    async with open_house(adapters=[Strange()]) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        with pytest.raises(NotFoundError, match="'applause'"):
            await alice.open("strange", bob)
