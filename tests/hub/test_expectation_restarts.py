"""Expectations across restarts and failures of the store: nothing is forgotten or fires twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from trio_hub import (
    DiskKnowledgeStore,
    KnowledgeStore,
    MemoryKnowledgeStore,
    Retention,
)
from trio_hub.errors import AccessDeniedError
from trio_hub.hub import paths
from trio_hub.records import (
    EV_CHANNEL_PARTICIPANT_REMOVED,
    EV_EXPECTATION_VIOLATED,
    EV_TEXT,
)
from trio_hub.testing import FaultyStore

from .expecting import event_types, expect, fired, three, watched
from .peer import House, open_house
from .test_expectation_kinds import Applause
from .test_listeners import Diary

OpenStore = Callable[[], KnowledgeStore]


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
