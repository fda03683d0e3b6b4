"""Evaluators and handlers of one's own, and what a hub makes of those with bugs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from trio_hub import (
    Action,
    Awaited,
    ChannelMetadata,
    CloseChannel,
    DiscussionAdapter,
    Expectation,
    ExpectationEvaluator,
    HubLimits,
    MemoryKnowledgeStore,
    TellParticipants,
    Violation,
    ViolationHandler,
    Watched,
)
from trio_hub.hub.channels import LogRecord
from trio_hub.records import (
    EV_CHANNEL_CLOSED,
    EV_CHANNEL_PARTICIPANT_REMOVED,
    EV_EXPECTATION_VIOLATED,
)

from .expecting import event_types, expect, fired, watched


class Applause(ExpectationEvaluator):
    """Somebody posts ``app.applause`` within so many seconds of the opening."""

    name = "applause"
    blames_agents = False
    bug: Exception | None = None

    def awaited(self, expectation: Expectation, watched: Watched) -> Iterable[Awaited]:
        if self.bug is not None:
            raise self.bug
        if watched.pulse.content is None:
            yield Awaited(
                agent_id=None, since=watched.opened_at, seconds=self.seconds_of(expectation)
            )


class Shout(ViolationHandler):
    """Tells everybody, and closes the channel."""

    name = "shout"
    bug: Exception | None = None

    def actions(self, violation: Violation, metadata: ChannelMetadata) -> Sequence[Action]:
        if self.bug is not None:
            raise self.bug
        return (TellParticipants(), CloseChannel("nobody claps"))


async def test_evaluators_and_handlers_of_ones_own(autojump_clock: MockClock) -> None:
    async with watched(evaluators=[Applause()], violation_handlers=[Shout()]) as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open(
            "conversation", bob, expectations=[expect("applause", "shout", 30)]
        )
        await trio.sleep(31)
        await bob.hears(event_type=EV_EXPECTATION_VIOLATED)
        await bob.hears(event_type=EV_CHANNEL_CLOSED)
        assert house.hub.get_channel(channel_id).close_reason == "nobody claps"
        assert fired(diary) == [("applause", "shout", ())]


async def test_a_handler_that_raises_has_fired_and_nothing_follows(
    autojump_clock: MockClock,
) -> None:
    shout = Shout()
    shout.bug = ZeroDivisionError("a bug")
    async with watched(violation_handlers=[shout]) as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open(
            "conversation", bob, ttl=0, expectations=[expect("max_silence", "shout", 30)]
        )
        before = await event_types(house, channel_id)
        await trio.sleep(1000)
        assert await event_types(house, channel_id) == before
        assert fired(diary) == [("max_silence", "shout", ())]


async def test_an_evaluator_that_raises_costs_nobody_else(autojump_clock: MockClock) -> None:
    applause = Applause()
    async with watched(evaluators=[applause]) as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob")
        applause.bug = ZeroDivisionError("a bug")
        await alice.open(
            "conversation",
            bob,
            expectations=[expect("applause", "audit", 5), expect("max_silence", "audit", 9)],
        )
        await trio.sleep(10)
        assert fired(diary) == [("max_silence", "audit", ())]


class Vague(Applause):
    """Cannot say how long, nor what."""

    def seconds_of(self, expectation: Expectation) -> float:
        if self.bug is not None:
            raise self.bug
        return float("nan")


@pytest.mark.parametrize("bug", [None, OverflowError("a bug")])
async def test_an_evaluator_that_makes_no_sense_costs_nobody_else(
    autojump_clock: MockClock, bug: Exception | None
) -> None:
    vague = Vague()
    vague.bug = bug
    store = MemoryKnowledgeStore()
    for again in (False, True):
        async with watched(store, evaluators=[vague]) as (house, diary):
            if not again:
                alice, bob = await house.join("alice"), await house.join("bob")
                await alice.open(
                    "conversation",
                    bob,
                    ttl=0,
                    expectations=[
                        expect("applause", "audit", 5),
                        expect("max_silence", "audit", 9),
                    ],
                )
            else:
                await trio.sleep(10)
                assert fired(diary) == [("max_silence", "audit", ())]


class Rambling(ViolationHandler):
    """Closes the channel with many words."""

    name = "rambling"

    def actions(self, violation: Violation, metadata: ChannelMetadata) -> Sequence[Action]:
        return (CloseChannel("x" * 5_000),)


async def test_a_reason_that_is_too_large_costs_nobody_else(autojump_clock: MockClock) -> None:
    limits = HubLimits(envelope_bytes_max=4_000)
    async with watched(violation_handlers=[Rambling()], limits=limits) as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open(
            "conversation",
            bob,
            ttl=0,
            expectations=[expect("max_silence", it, 30) for it in ("rambling", "audit")],
        )
        await trio.sleep(100)
        assert fired(diary) == [("max_silence", it, ()) for it in ("rambling", "audit")]
        assert not house.hub.get_channel(channel_id).is_terminal


class EverNew(ExpectationEvaluator):
    """Awaits something new in the past whenever it is asked."""

    name = "ever_new"
    blames_agents = False
    asked = 0

    def awaited(self, expectation: Expectation, watched: Watched) -> Iterable[Awaited]:
        self.asked += 1
        yield Awaited(agent_id=None, since=0, seconds=1, occasion=str(self.asked))


async def test_an_evaluator_that_is_never_content_does_not_keep_the_hub_busy(
    autojump_clock: MockClock,
) -> None:
    async with watched(evaluators=[EverNew()]) as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob")
        await alice.open("conversation", bob, expectations=[expect("ever_new", "audit", 1)])
        await trio.sleep(10)
        assert 5 <= len(fired(diary)) <= 15


class NoNotices(DiscussionAdapter):
    """Can take no word of the hub about expectations."""

    manifest = attrs.evolve(DiscussionAdapter.manifest, type="no_notices")

    def fold(self, envelope: Any, state: Any) -> Any:
        if envelope.event_type == EV_EXPECTATION_VIOLATED:
            raise ZeroDivisionError("a bug")
        return super().fold(envelope, state)


async def test_no_adapter_prevents_that_a_channel_is_closed(autojump_clock: MockClock) -> None:
    options: Any = {"adapters": [NoNotices()], "violation_handlers": [Shout()]}
    async with watched(**options) as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open(
            "no_notices", bob, expectations=[expect("max_silence", "shout", 30)]
        )
        await trio.sleep(31)
        await bob.hears(event_type=EV_CHANNEL_CLOSED)
        assert EV_EXPECTATION_VIOLATED not in await event_types(house, channel_id)
        assert fired(diary) == [("max_silence", "shout", ())]


async def test_what_is_too_large_to_be_said_has_fired_all_the_same(
    autojump_clock: MockClock,
) -> None:
    async def discuss(**options: Any) -> tuple[list[LogRecord], list[Any]]:
        async with watched(**options) as (house, diary):
            alice = await house.join("alice")
            others = [await house.join(name) for name in "bcdef"]
            channel_id = await alice.open(
                "discussion", *others, ttl=0, expectations=[expect("turn_within", "remove", 30)]
            )
            await trio.sleep(35)
            return await house.hub.read_records(channel_id, 0, None), fired(diary)

    log, told = await discuss()
    *before, removal = log
    assert removal.envelope is not None
    assert removal.envelope.event_type == EV_CHANNEL_PARTICIPANT_REMOVED
    largest = max(len(record.raw) for record in before)
    assert largest < len(removal.raw)
    log, told_again = await discuss(limits=HubLimits(envelope_bytes_max=largest))
    assert len(log) == len(before)
    assert [it[:2] for it in told] == [it[:2] for it in told_again] == [("turn_within", "remove")]
