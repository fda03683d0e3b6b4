"""Whatever is under way when an agent is revoked, nobody acts for it afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hub import AuthBlock, AuthRegistry, Envelope, MemoryKnowledgeStore, Passport, Resume, Rule
from trio_hub.errors import AccessDeniedError, AuthError
from trio_hub.hub import paths
from trio_hub.records import EV_TEXT
from trio_hub.testing import FaultyStore

from .peer import PATIENCE_SECONDS, House, open_house


class Slow:
    """Accepts everybody, once the test lets it."""

    scheme = "slow"

    def __init__(self) -> None:
        self.asked = trio.Event()
        self.go_on = trio.Event()

    async def validate(self, passport: Passport, claim: Mapping[str, Any]) -> None:
        self.asked.set()
        await self.go_on.wait()


class SlowStore(MemoryKnowledgeStore):
    """Reads no log of a channel as long as the test does not want it to."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = trio.Event()
        self.go_on = trio.Event()
        self.go_on.set()

    async def read_range(self, path: str, start: int, stop: int | None = None) -> list[bytes]:
        if path.startswith(paths.CHANNELS):
            self.reading.set()
            await self.go_on.wait()
        return await super().read_range(path, start, stop)

    def stop(self) -> None:
        """Answer no reading from now on."""
        self.reading, self.go_on = trio.Event(), trio.Event()


def is_there(house: House, agent_id: str) -> bool:
    return house.hub._deliveries.binding_of(agent_id) is not None


# Coming in


@pytest.mark.parametrize("kind", ["hello", "register"])
async def test_one_whose_credential_is_being_checked_is_not_let_in(kind: str) -> None:
    slow = Slow()
    async with open_house(auth=AuthRegistry([slow])) as house:
        alice = await house.peer()
        if kind == "hello":
            await house.hub._registry.register(
                Passport(name="alice", auth=AuthBlock(scheme="slow")), Resume(), Rule(), None
            )
            alice.send("hello", name="alice", auth_scheme="slow", since_envelope_id="")
        else:
            passport = {"name": "alice", "auth": {"scheme": "slow"}}
            asking = alice.ask("register", passport=passport, resume={})
        await slow.asked.wait()
        await house.hub.revoke_agent("alice", "too late")
        slow.go_on.set()
        if kind == "hello":
            assert "too late" in (await alice.expect("error"))["message"]
            agent_id = house.hub.find_agent_id("alice")
            assert agent_id is not None
            assert not is_there(house, agent_id)
        else:
            with pytest.raises(AuthError, match="too late"):
                await alice.answer(asking)
            assert house.hub.find_agent_id("alice") is None


async def test_one_that_is_being_welcomed_is_not_let_in() -> None:
    store = SlowStore()
    async with store:
        async with open_house(store) as house:
            alice, bob = await house.join("alice"), await house.join("bob")
            channel_id = await alice.open("conversation", bob)
            bob.acks = False
            await alice.say(channel_id, "waits for bob")
        async with open_house(store) as house:
            store.stop()
            again = await house.peer()
            again.send("hello", name="bob", since_envelope_id="")
            await store.reading.wait()
            await house.hub.revoke_agent("bob", "too late")
            store.go_on.set()
            assert "too late" in (await again.expect("error"))["message"]
            assert not is_there(house, bob.id)
            assert await again.quiet() == []
            assert again.heard() == []


@pytest.mark.parametrize("first", ["register", "revoke"])
async def test_one_that_is_being_registered_is_there_and_nobody_acts_for_it(first: str) -> None:
    inner = MemoryKnowledgeStore()
    async with inner:
        store = FaultyStore(inner)
        async with open_house(store) as house:
            alice = await house.peer()
            async with trio.open_nursery() as nursery:
                with store.hold_commits():
                    if first == "revoke":
                        nursery.start_soon(house.hub.revoke_agent, "alice", "too late")
                        await wait_all_tasks_blocked()
                    alice.ask("register", passport={"name": "alice"}, resume={})
                    await wait_all_tasks_blocked()
                    if first == "register":
                        nursery.start_soon(house.hub.revoke_agent, "alice", "too late")
                        await wait_all_tasks_blocked()
            agent_id = house.hub.find_agent_id("alice")
            assert agent_id is not None
            assert not is_there(house, agent_id)
            # As the answer to its request or, where it was in for a moment, before it was let go.
            await wait_all_tasks_blocked()
            assert "too late" in str(alice.history)


@pytest.mark.parametrize("pause", range(12))
async def test_however_far_an_attaching_agent_has_come_it_is_gone_afterwards(pause: int) -> None:
    async with open_house() as house:
        alice = await house.join("alice")
        again = await house.peer()
        again.send("hello", name="alice", since_envelope_id="")
        for _ in range(pause):
            await trio.lowlevel.checkpoint()
        await house.hub.revoke_agent("alice", "x")
        await wait_all_tasks_blocked()
        assert not is_there(house, alice.id)
        for peer in (alice, again):
            asking = peer.ask("set_skill", agent_id=alice.id, skill_md="still here")
            await wait_all_tasks_blocked()
            if peer.is_answered(asking):
                with pytest.raises(AccessDeniedError):
                    await peer.answer(asking)
        assert house.hub.get_skill(alice.id) is None


# Requests in flight


async def test_on_a_shared_connection_its_requests_go_no_further_and_others_do() -> None:
    async with open_house() as house:
        carol = await house.peer(accepts=False)
        await carol.register("carol")
        both = await house.peer()
        for name in ("alice", "bob"):
            await both.register(name)

        def open_as(name: str) -> str:
            return both.ask(
                "create_channel",
                creator_id=both.ids[name],
                manifest_type="conversation",
                participants=[carol.id],
            )

        hers, his = open_as("alice"), open_as("bob")
        invites = [
            await carol.hears(event_type="ag2.channel.invite"),
            await carol.hears(event_type="ag2.channel.invite"),
        ]
        await house.hub.revoke_agent("alice", "x")
        with pytest.raises(AuthError, match="create_channel: this connection was let go"):
            await both.answer(hers)
        for invite in invites:
            await carol.answer(carol.answer_invite(invite))
        assert (await both.answer(his))["state"] == "active"


async def test_what_it_was_posting_into_a_channel_that_has_to_be_read_first_is_not_posted() -> None:
    store = SlowStore()
    async with store:
        async with open_house(store) as house:
            alice, bob = await house.join("alice"), await house.join("bob")
            channel_id = await alice.open("conversation", bob)
            await alice.say(channel_id, "before")
            await bob.hears("before")
            await bob.quiet()
            # Nothing waits for her, so that attaching reads nothing.
            await alice.quiet()
        async with open_house(store) as house:
            both = await house.peer()
            both.send("hello", name="alice", since_envelope_id="")
            await both.expect("welcome")
            both.ids["alice"] = alice.id
            await both.request("register", passport={"name": "carol"}, resume={})
            store.stop()
            posting = both.ask_to_say(channel_id, "slipped through")
            await store.reading.wait()
            await house.hub.revoke_agent("alice", "x")
            store.go_on.set()
            with pytest.raises(AccessDeniedError, match="any more"):
                await both.answer(posting)
            log = await house.hub.read_wal(channel_id)
            assert [it.text for it in log if it.event_type == EV_TEXT] == ["before"]


async def test_what_it_had_posted_is_answered_or_durable_and_nothing_comes_after() -> None:
    inner = MemoryKnowledgeStore()
    async with inner:
        store = FaultyStore(inner)
        async with open_house(store) as house:
            alice, bob = await house.join("alice"), await house.join("bob")
            channel_id = await alice.open("conversation", bob)
            async with trio.open_nursery() as nursery:
                with store.hold_commits():
                    alice.ask_to_say(channel_id, "before")
                    await wait_all_tasks_blocked()
                    nursery.start_soon(house.hub.revoke_agent, "alice", "x")
                    await wait_all_tasks_blocked()
            await alice.gone()
            alice.ask_to_say(channel_id, "after")
            await wait_all_tasks_blocked()
            await bob.hears("before")
            assert bob.heard() == ["before"]


# In the process, over a socket


async def test_who_embeds_the_hub_may_still_say_something_for_it() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await house.hub.revoke_agent("alice", "x")
        await house.hub.post_envelope(
            Envelope(
                channel_id=channel_id,
                sender_id=alice.id,
                event_type=EV_TEXT,
                event_data={"text": "alice is not here any more"},
            )
        )
        await bob.hears("alice is not here any more")


async def test_over_a_socket_it_is_told_before_it_is_closed() -> None:
    async with open_house(over="ws") as house:
        alice = await house.join("alice")
        await house.hub.revoke_agent("alice", "x")
        with trio.fail_after(PATIENCE_SECONDS):
            assert "1008" in await alice.gone()
        assert "has revoked 'alice'" in str(alice.history)
        again = await house.peer()
        again.send("hello", name="alice", since_envelope_id="")
        assert "has revoked 'alice'" in (await again.expect("error"))["message"]
