"""Expectations on a hub: they fire at their time, once, whatever happens to the hub meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
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
    ConversationAdapter,
    DiscussionAdapter,
    DiskKnowledgeStore,
    Expectation,
    ExpectationEvaluator,
    HubLimits,
    KnowledgeStore,
    MemoryKnowledgeStore,
    Retention,
    TellParticipants,
    Violation,
    ViolationHandler,
    Watched,
)
from trio_hub.errors import AccessDeniedError, NotFoundError, ProtocolError
from trio_hub.hub import paths
from trio_hub.hub.channels import LogRecord
from trio_hub.records import (
    EV_CHANNEL_CLOSED,
    EV_CHANNEL_PARTICIPANT_HIDDEN,
    EV_CHANNEL_PARTICIPANT_REMOVED,
    EV_EXPECTATION_VIOLATED,
    EV_TEXT,
)
from trio_hub.testing import FaultyStore

from .peer import House, Peer, open_house
from .test_listeners import Diary

OpenStore = Callable[[], KnowledgeStore]


def clock() -> float:
    """A wall clock that goes as Trio's does, so that a virtual one turns both."""
    return 1_800_000_000.0 + trio.current_time()


def expect(name: str, handler: str, seconds: float, **fields: Any) -> dict[str, Any]:
    return {"name": name, "on_violation": handler, "params": {"seconds": seconds}, **fields}


@asynccontextmanager
async def watched(
    store: KnowledgeStore | None = None, **options: Any
) -> AsyncIterator[tuple[House, Diary]]:
    diary = Diary()
    async with open_house(store, clock=clock, listeners=[diary], **options) as house:
        yield house, diary


async def three(house: House, **options: Any) -> tuple[Peer, Peer, Peer]:
    alice, bob = await house.join("alice"), await house.join("bob")
    return alice, bob, await house.join("carol", **options)


def fired(diary: Diary) -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (expectation.name, expectation.on_violation, violation.violator_ids)
        for _, expectation, violation in diary.of("on_expectation_fired")
    ]


async def event_types(house: House, channel_id: str) -> list[str]:
    return [it.event_type for it in await house.hub.read_wal(channel_id)]


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


# One's own


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


# An idle hub


class Steps(trio.abc.Instrument):
    """Counts how often a task is run."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


async def test_an_idle_hub_does_as_little_with_many_channels_as_with_one(
    autojump_clock: MockClock,
) -> None:
    async def steps_with(channels: int) -> int:
        async with watched(ttl_sweep_interval=1000.0) as (house, diary):
            alice, bob = await house.join("alice"), await house.join("bob")
            for _ in range(channels):
                # The first fires, and the other one waits for longer than anybody looks.
                expected = [expect("max_silence", "audit", it) for it in (20, 10_000)]
                await alice.open("conversation", bob, ttl=0, expectations=expected)
            await alice.quiet()
            await trio.sleep(60)
            assert len(fired(diary)) == channels
            steps = Steps()
            trio.lowlevel.add_instrument(steps)
            await trio.sleep(900)
            trio.lowlevel.remove_instrument(steps)
            return steps.count

    # Those that there are keep up the connections.
    one = await steps_with(1)
    assert await steps_with(1_000) <= one + 5


# Restarts


@pytest.fixture(params=["memory", "disk"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Open the same store again and again."""
    if request.param == "disk":
        return lambda: DiskKnowledgeStore(tmp_path / "data")
    store = MemoryKnowledgeStore()
    return lambda: store


class Wall:
    """A wall clock that stands still unless it is moved; deadlines pass while hubs are closed."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def reopened(store: KnowledgeStore, wall: Wall) -> AsyncIterator[tuple[House, Diary]]:
    diary = Diary()
    # Without waiting for anything: the wall is looked at ever so often.
    async with open_house(store, clock=wall, listeners=[diary], ttl_sweep_interval=0.01) as house:
        yield house, diary


async def test_what_has_fired_does_not_fire_again_after_a_restart(open_store: OpenStore) -> None:
    wall = Wall()
    async with reopened(open_store(), wall) as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open(
            "conversation",
            bob,
            ttl=0,
            expectations=[
                expect("reply_within", "notify_channel", 60),
                expect("reply_within", "audit", 90),
            ],
        )
        await alice.say(channel_id, "bob?")
        wall.now += 61
        await diary.hears("on_expectation_fired")
    wall.now += 10
    async with reopened(open_store(), wall) as (house, diary):
        bob = await house.back("bob")
        # Nothing yet; then the second one alone.
        await bob.quiet()
        wall.now += 20
        _, expectation, _ = await diary.hears("on_expectation_fired")
        assert expectation.on_violation == "audit"
        assert len(fired(diary)) == 1
    async with reopened(open_store(), wall) as (house, diary):
        wall.now += 10_000
        bob = await house.back("bob")
        await bob.quiet()
        # Nothing is awaited: the log was not even read again for it.
        assert house.hub.channels.get(channel_id).firings.quiet_at is not None
        assert fired(diary) == []
        types = await event_types(house, channel_id)
        assert types.count(EV_EXPECTATION_VIOLATED) == 1
        records = (await house.hub.audit.query(kind="expectation_violated")).records
        assert len(records) == 2
        # It goes on: what is said now is another occasion.
        alice = await house.back("alice")
        await bob.say(channel_id, "yes?")
        wall.now += 61
        _, _, violation = await diary.hears("on_expectation_fired")
        assert violation.violator_ids == (alice.id,)


async def test_what_became_due_while_the_hub_was_down_fires_when_it_opens(
    open_store: OpenStore,
) -> None:
    wall = Wall()
    async with reopened(open_store(), wall) as (house, _):
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open(
            "conversation", bob, ttl=0, expectations=[expect("reply_within", "auto_close", 60)]
        )
        await alice.say(channel_id, "bob?")
    wall.now += 100
    async with reopened(open_store(), wall) as (house, diary):
        _, _, violation = await diary.hears("on_expectation_fired")
        assert violation.violator_ids == (bob.id,)
        assert violation.detail == {"elapsed_seconds": 100.0, "threshold_seconds": 60.0}
        assert house.hub.get_channel(channel_id).is_terminal


async def test_who_was_hidden_or_removed_still_is_after_a_restart(open_store: OpenStore) -> None:
    wall = Wall()
    async with reopened(open_store(), wall) as (house, diary):
        dave = await house.join("dave")
        alice, bob, carol = await three(house)
        channel_id = await alice.open(
            "discussion",
            bob,
            carol,
            dave,
            ttl=0,
            expectations=[
                expect("turn_within", "remove", 60, applies_to=[bob.id]),
                expect("turn_within", "hide", 60, applies_to=[carol.id]),
            ],
        )
        await alice.say(channel_id, "1")
        for number in (1, 2):
            wall.now += 61
            await diary.hears("on_expectation_fired", number)
        await dave.say(channel_id, "2")
    async with reopened(open_store(), wall) as (house, _):
        alice, bob = await house.back("alice"), await house.back("bob")
        carol, dave = await house.back("carol"), await house.back("dave")
        assert house.hub.health().problems == ()
        with pytest.raises(AccessDeniedError, match="takes no part"):
            await bob.say(channel_id, "I?")
        with pytest.raises(AccessDeniedError, match="is hidden"):
            await carol.say(channel_id, "I?")
        await alice.say(channel_id, "3")
        await dave.say(channel_id, "4")
        await carol.quiet()
        assert carol.heard(channel_id)[-2:] == ["3", "4"]
        assert bob.heard(channel_id) == []


async def test_a_channel_whose_evaluator_is_gone_goes_on_without_it(
    open_store: OpenStore,
) -> None:
    async with open_house(open_store(), evaluators=[Applause()]) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open(
            "conversation", bob, ttl=0, expectations=[expect("applause", "audit", 30)]
        )
    async with open_house(open_store()) as house:
        alice, bob = await house.back("alice"), await house.back("bob")
        await alice.say(channel_id, "still here?")
        await bob.hears("still here?")


async def test_a_commit_that_fails_is_tried_again_and_fires_once(
    autojump_clock: MockClock,
) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with watched(store) as (house, diary):
        alice, bob, carol = await three(house)
        channel_id = await alice.open(
            "discussion", bob, carol, ttl=0, expectations=[expect("turn_within", "remove", 60)]
        )
        await alice.say(channel_id, "bob?")
        await trio.sleep(30)
        store.fail("commit")
        # At sixty it fails, and a little later it does not.
        await trio.sleep(40)
        await diary.hears("on_expectation_fired")
        assert house.hub.health().commits_failed == 1
        assert await event_types(house, channel_id) == [
            *["ag2.channel.invite"] * 2,
            *["ag2.channel.invite.ack"] * 2,
            "ag2.channel.opened",
            EV_TEXT,
            EV_CHANNEL_PARTICIPANT_REMOVED,
        ]
        assert fired(diary)[0] == ("turn_within", "remove", (bob.id,))
        assert house.hub.get_channel(channel_id).participant_ids == (alice.id, carol.id)


async def test_a_removal_that_was_kept_though_its_commit_failed_is_a_removal(
    autojump_clock: MockClock,
) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with watched(store) as (house, _):
        alice, bob, carol = await three(house)
        channel_id = await alice.open(
            "discussion", bob, carol, ttl=0, expectations=[expect("turn_within", "remove", 60)]
        )
        await alice.say(channel_id, "bob?")
        await trio.sleep(30)
        store.fail("commit", after=True)
        await trio.sleep(40)
        assert house.hub.get_channel(channel_id).participant_ids == (alice.id, carol.id)
        assert await bob.request("list_channels", agent_id=bob.id) == []
        await carol.say(channel_id, "on we go")
        await alice.hears("on we go")
        await bob.quiet()
        assert bob.heard(channel_id) == ["bob?"]


async def test_nothing_is_left_of_a_channel_that_is_retired(autojump_clock: MockClock) -> None:
    store = MemoryKnowledgeStore()
    async with watched(store, retention=Retention(ended_for=10)) as (house, diary):
        alice, bob, carol = await three(house)
        channel_id = await alice.open(
            "discussion",
            bob,
            carol,
            expectations=[
                expect("turn_within", "remove", 60),
                expect("max_silence", "auto_close", 90),
            ],
        )
        await trio.sleep(200)
        assert house.hub.find_channel(channel_id) is None
        assert await store.read_under(paths.CHANNELS) == {}
        assert await store.read_under(paths.CURSORS) == {}
        assert len(fired(diary)) == 2
