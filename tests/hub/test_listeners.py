"""Listeners: told of every transition, in order, and unable to get in anybody's way."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_hub import (
    AccessBlock,
    ApiKeyAuth,
    AuthRegistry,
    Envelope,
    HubListener,
    InboxBlock,
    LimitsBlock,
    ListenerHealth,
    MemoryKnowledgeStore,
    ProtocolError,
    RateBlock,
    RateLimited,
    Rule,
)
from trio_hub.errors import AuthError
from trio_hub.records import EV_TEXT
from trio_hub.testing import FaultyStore

from .peer import PATIENCE_SECONDS, House, open_house


class Diary(HubListener):
    """Writes down all that it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[Any, ...]]] = []
        self._news = trio.Event()

    def of(self, event: str) -> list[tuple[Any, ...]]:
        return [about for name, about in self.heard if name == event]

    def kinds(self, event: str) -> list[str]:
        """The kinds of the events that have one."""
        return [about[1] for about in self.of(event)]

    async def hears(self, event: str, count: int = 1) -> tuple[Any, ...]:
        """Wait until it has heard of something so often; returns the last one."""
        with trio.fail_after(PATIENCE_SECONDS):
            while len(self.of(event)) < count:
                await self._news.wait()
        return self.of(event)[count - 1]

    def _note(self, event: str, about: tuple[Any, ...]) -> None:
        self.heard.append((event, about))
        self._news.set()
        self._news = trio.Event()


def _noting(event: str) -> Any:
    async def method(self: Diary, *about: Any) -> None:
        self._note(event, about)

    return method


for _event in [name for name in vars(HubListener) if name.startswith("on_")]:
    setattr(Diary, _event, _noting(_event))


class Posts(HubListener):
    """Hears of posts only, and lets each wait until it is let go."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.go = trio.Event()

    async def on_envelope_posted(self, envelope: Envelope, metadata: Any) -> None:
        await self.go.wait()
        self.heard.append(envelope.text)


@asynccontextmanager
async def watched(**options: Any) -> AsyncIterator[tuple[House, Diary]]:
    diary = Diary()
    async with open_house(listeners=[diary], **options) as house:
        yield house, diary


def health_of(house: House, name: str) -> ListenerHealth:
    (health,) = [it for it in house.hub.health().listeners if it.name == name]
    return health


# What is told


async def test_a_post_is_told_once_it_is_durable_and_in_the_order_of_the_log() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with watched(store=store) as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await alice.quiet()
        before = len(diary.of("on_envelope_posted"))
        with store.hold_commits():
            requests = [alice.ask_to_say(channel_id, str(n)) for n in range(3)]
            await alice.quiet()
            assert len(diary.of("on_envelope_posted")) == before
        for request in requests:
            await alice.answer(request)
        await diary.hears("on_envelope_posted", before + 3)
        told = diary.of("on_envelope_posted")
        assert [it.text for it, _ in told if it.event_type == EV_TEXT] == ["0", "1", "2"]
        assert [it for it, _ in told] == await house.hub.read_wal(channel_id)
        assert {it.channel_id for _, it in told} == {channel_id}


async def test_a_refused_post_is_told_with_the_error_that_its_sender_was_told() -> None:
    async with watched() as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("consulting", bob)
        with pytest.raises(ProtocolError):
            await bob.say(channel_id, "unasked")
        envelope, reason = await diary.hears("on_envelope_rejected")
        assert envelope.text == "unasked"
        assert isinstance(reason, ProtocolError)
        rule = Rule(limits=LimitsBlock(rate=RateBlock(per_minute=1, burst=1)))
        await house.hub.set_rule(alice.id, rule)
        await alice.say(channel_id, "what?")
        with pytest.raises(RateLimited):
            await alice.say(channel_id, "well?")
        _, reason = await diary.hears("on_envelope_rejected", 2)
        assert isinstance(reason, RateLimited)


async def test_the_life_of_a_channel_is_told() -> None:
    async with watched() as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await alice.request("close_channel", channel_id=channel_id, reason="done")
        assert (await diary.hears("on_channel_event", 3))[2]["reason"] == "done"
        assert diary.kinds("on_channel_event") == ["created", "opened", "closed"]
        assert {about[0] for about in diary.of("on_channel_event")} == {channel_id}
        await house.hub.create_channel(
            creator_id=alice.id,
            manifest_type="conversation",
            participants=[bob.id],
            required_acks=0,
            ttl="0.01s",
        )
        await diary.hears("on_channel_event", 6)
        assert diary.kinds("on_channel_event")[3:] == ["created", "opened", "expired"]


async def test_a_channel_is_not_told_of_anew_when_it_is_read_after_a_restart() -> None:
    store = MemoryKnowledgeStore()
    async with store:
        async with open_house(store) as house:
            alice, bob = await house.join("alice"), await house.join("bob")
            channel_id = await alice.open("conversation", bob)
        async with watched(store=store) as (house, diary):
            alice = await house.back("alice")
            await alice.say(channel_id, "hi")
            await diary.hears("on_envelope_posted")
            await alice.quiet()
            assert diary.kinds("on_channel_event") == []


async def test_what_happens_to_an_identity_is_told() -> None:
    async with watched() as (house, diary):
        alice = await house.join("alice")
        await alice.request("set_rule", agent_id=alice.id, rule={})
        await alice.request("set_resume", agent_id=alice.id, resume={"summary": "knows"})
        await alice.request("set_skill", agent_id=alice.id, skill_md="# knows")
        await alice.request(
            "record_observation", owner_id=alice.id, capability="x", outcome="completed"
        )
        again = await house.back("alice")
        again.cut()
        await diary.hears("on_agent_event", 9)
        third = await house.back("alice")
        await third.request("unregister", agent_id=third.id)
        await diary.hears("on_agent_event", 11)
        assert diary.kinds("on_agent_event") == [
            "registered",
            "attached",
            "rule_set",
            "resume_set",
            "skill_set",
            "observation_recorded",
            "attached",
            "taken_over",
            "detached",
            "attached",
            "unregistered",
        ]
        assert {about[0] for about in diary.of("on_agent_event")} == {alice.id}


async def test_connections_and_refused_credentials_are_told() -> None:
    auth = AuthRegistry([ApiKeyAuth(keys={"alice": "s3cret"})])
    async with watched(auth=auth) as (house, diary):
        peer = await house.peer()
        passport = {"name": "alice", "auth": {"scheme": "api_key", "claim": {"token": "wr0ng"}}}
        with pytest.raises(AuthError):
            await peer.request("register", passport=passport, resume={})
        peer.cut()
        await peer.gone()
        await diary.hears("on_connection_event", 3)
        assert diary.kinds("on_connection_event") == ["opened", "auth_failed", "closed"]
        assert "wr0ng" not in repr(diary.heard)


async def test_tasks_and_failed_turns_are_told() -> None:
    async with watched() as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        task = {"task_id": "t", "owner_id": alice.id, "spec": {"title": "x"}, "state": "created"}
        await alice.request("observe_task", metadata=task)
        for change in ({"state": "running"}, {"progress": {"n": 1}}, {"state": "completed"}):
            await alice.request("update_task", task_id="t", **change)
        await diary.hears("on_task_event", 4)
        assert diary.kinds("on_task_event") == ["created", "started", "progress", "completed"]
        await bob.request(
            "report_turn_failure",
            channel_id=channel_id,
            agent_id=bob.id,
            envelope_id="e",
            error="oh no",
        )
        assert await diary.hears("on_turn_failed") == (channel_id, bob.id, "e", "oh no")


async def test_pressure_and_dead_letters_are_told() -> None:
    async with watched() as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob", acks=False)
        channel_id = await alice.open("conversation", bob)
        inbox = InboxBlock(max_pending=4, high_water=2, overflow="drop_newest")
        await house.hub.set_rule(bob.id, Rule(limits=LimitsBlock(inbox=inbox)))
        for number in range(6):
            await alice.say(channel_id, str(number))
        # The opening of the channel is among what waits.
        letter = (await diary.hears("on_dead_letter"))[0]
        assert (letter.agent_id, letter.channel_id) == (bob.id, channel_id)
        assert letter.reason.startswith("dropped")
        ((agent_id, pending, cap),) = diary.of("on_inbox_pressure")
        assert (agent_id, pending, cap) == (bob.id, 2, 4)


async def test_an_envelope_that_a_recipient_does_not_admit_is_told() -> None:
    async with watched() as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await house.hub.set_rule(bob.id, Rule(access=AccessBlock(inbound_from=())))
        await alice.say(channel_id, "hi")
        envelope, recipient_id, reason = await diary.hears("on_dispatch_failed")
        assert (envelope.text, recipient_id) == ("hi", bob.id)
        assert "inbound_from" in reason.message


# Who is told


async def test_a_slow_listener_delays_nobody_and_what_it_misses_is_counted() -> None:
    slow = Posts()
    async with open_house() as house, house.hub.add_listener(slow, queue_max=3):
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        for number in range(20):
            await alice.say(channel_id, str(number))
        await bob.quiet()
        assert bob.heard() == [str(n) for n in range(20)]
        health = health_of(house, "Posts")
        told = len(await house.hub.read_wal(channel_id))
        # One is being told, three wait.
        assert (health.waiting, health.dropped) == (3, told - 4)
        slow.go.set()
        with trio.fail_after(PATIENCE_SECONDS):
            while health_of(house, "Posts").told < 4:
                await alice.quiet()
        assert health_of(house, "Posts").dropped == told - 4


async def test_a_listener_that_raises_is_logged_and_lives_on_and_hurts_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Grumpy(HubListener):
        def __init__(self) -> None:
            self.asked = 0

        async def on_envelope_posted(self, envelope: Envelope, metadata: Any) -> None:
            self.asked += 1
            raise ValueError("not today")

    grumpy, diary = Grumpy(), Diary()
    async with open_house(listeners=[grumpy, diary]) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        with caplog.at_level(logging.ERROR):
            channel_id = await alice.open("conversation", bob)
            await alice.say(channel_id, "1")
            await alice.say(channel_id, "2")
            posts = len(await house.hub.read_wal(channel_id))
            await diary.hears("on_envelope_posted", posts)
            await alice.quiet()
        assert grumpy.asked == posts
        health = health_of(house, Grumpy.__qualname__)
        assert (health.failed, health.told, health.dropped) == (posts, 0, 0)
        assert sum("a listener failed" in it.message for it in caplog.records) == posts


async def test_a_listener_is_told_only_while_it_is_added() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        posts = Posts()
        posts.go.set()
        await alice.say(channel_id, "before")
        async with house.hub.add_listener(posts):
            await alice.say(channel_id, "meanwhile")
        await alice.say(channel_id, "after")
        await alice.quiet()
        assert posts.heard == ["meanwhile"]
        assert house.hub.health().listeners == ()


async def test_leaving_does_not_wait_for_ever_for_a_listener_that_hangs(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        async with house.hub.add_listener(Posts()):
            await alice.say(channel_id, "hi")
            began = trio.current_time()
        assert trio.current_time() - began < 5


async def test_what_happens_until_the_hub_closes_is_told_before_it_has_closed() -> None:
    posts = Posts()
    posts.go.set()
    async with open_house(listeners=[posts]) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await alice.say(channel_id, "last words")
    assert posts.heard[-1] == "last words"


async def test_what_a_listener_does_not_override_is_not_queued_for_it() -> None:
    class Deaf(HubListener):
        pass

    async with open_house(listeners=[Deaf()]) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        await alice.open("conversation", bob)
        health = health_of(house, Deaf.__qualname__)
        assert (health.waiting, health.told, health.dropped) == (0, 0, 0)


async def test_what_is_no_listener_is_refused() -> None:
    async with open_house() as house:
        with pytest.raises(TypeError, match=r"inherit from trio_hub\.HubListener"):
            async with house.hub.add_listener(object()):  # type: ignore[arg-type]
                pass


async def test_every_method_of_a_listener_does_nothing_by_itself() -> None:
    listener = HubListener()
    for name in [it for it in vars(HubListener) if it.startswith("on_")]:
        method = getattr(listener, name)
        count = method.__code__.co_argcount - 1
        assert await method(*[None] * count) is None
