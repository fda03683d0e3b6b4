"""Who does not say who it is has a while, and company of a limited size."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hub import ApiKeyAuth, AuthRegistry, HubLimits, MemoryKnowledgeStore, NoAuth

from .peer import House, Peer, connected, open_house

KEYS = {"alice": "s3cret", "bob": "t0ken"}


def guarded_house(**limits: Any) -> AbstractAsyncContextManager[House]:
    return open_house(auth=AuthRegistry([ApiKeyAuth(keys=KEYS)]), limits=HubLimits(**limits))


async def register(peer: Peer, name: str) -> None:
    block = {"scheme": "api_key", "claim": {"token": KEYS[name]}}
    passport = await peer.request("register", passport={"name": name, "auth": block}, resume={})
    peer.ids[name] = passport["agent_id"]


async def test_one_who_shows_no_credential_in_time_is_told_and_shown_the_door(
    autojump_clock: MockClock,
) -> None:
    async with guarded_house(authentication_seconds=10.0) as house:
        alice = await house.peer()
        await register(alice, "alice")
        stranger = await house.peer()
        await trio.sleep(5)
        late = await house.peer()
        await trio.sleep(4.9)
        assert stranger.lost_because is None
        await trio.sleep(0.2)
        assert "no credential" in await stranger.gone()
        (told,) = [it for it in stranger.history if it["kind"] == "error"]
        assert told["code"] == "auth_failed"
        assert "for 10 s: attach or register" in told["message"]
        assert late.lost_because is None
        # Every one has a time of its own, and who has come in by then stays.
        await register(late, "bob")
        await trio.sleep(60)
        assert late.lost_because is None
        assert alice.lost_because is None


@pytest.mark.parametrize("strangers", [3, 4])
async def test_one_stranger_too_many_costs_the_one_who_waited_longest(
    strangers: int, autojump_clock: MockClock
) -> None:
    async with guarded_house(unauthenticated_connections_max=3) as house:
        alice = await house.peer()
        await register(alice, "alice")
        peers = []
        for _ in range(strangers):
            peers.append(await house.peer())
            await wait_all_tasks_blocked()  # The hub has taken it.
        gone = [peer for peer in peers if peer.lost_because is not None]
        assert gone == peers[: strangers - 3]
        # Whoever has a credential gets in past any number of them.
        await register(peers[-1], "bob")
        assert alice.lost_because is None


async def test_a_hello_ends_with_its_connection(autojump_clock: MockClock) -> None:
    """However long it would have waited: a hub with much to do must not work for who is gone."""

    class Stuck(MemoryKnowledgeStore):
        waiting = 0

        async def read_range(self, path: str, start: int, stop: int | None = None) -> list[bytes]:
            self.waiting += 1
            try:
                await trio.sleep(3600)
            finally:
                self.waiting -= 1
            return []

    store = Stuck()
    auth, limits = AuthRegistry([ApiKeyAuth(keys=KEYS)]), HubLimits(authentication_seconds=10.0)
    async with open_house(store, auth=auth, limits=limits) as house:
        alice, bob = await house.peer(), await house.peer(acks=False)
        await register(alice, "alice")
        await register(bob, "bob")
        channel_id = await alice.open("conversation", bob)
        said = await alice.say(channel_id, "hello")
        await bob.quiet()
        bob.cut()
        await bob.gone()
        back = await house.peer()
        claim = {"token": KEYS["bob"]}
        back.send(
            "hello",
            name="bob",
            auth_scheme="api_key",
            auth_claim=claim,
            since_envelope_id={channel_id: said},
        )
        await trio.sleep(5)
        assert store.waiting == 1
        assert "no credential" in await back.gone()
        await wait_all_tasks_blocked()
        assert store.waiting == 0


async def test_who_leaves_makes_room(autojump_clock: MockClock) -> None:
    async with guarded_house(unauthenticated_connections_max=1) as house:
        for _ in range(3):
            async with connected(house.link) as peer:
                await peer.quiet()
                assert peer.lost_because is None


async def test_one_whose_identity_was_taken_over_is_a_stranger_again(
    autojump_clock: MockClock,
) -> None:
    async with guarded_house(
        authentication_seconds=10.0, unauthenticated_connections_max=3
    ) as house:
        alice = await house.peer()
        await register(alice, "alice")
        block = {"auth_scheme": "api_key", "auth_claim": {"token": KEYS["alice"]}}
        peers = [alice]
        for _ in range(5):
            peers.append(await house.peer())
            await peers[-1].hello("alice", **block)
        await wait_all_tasks_blocked()
        # Of five that have lost it, three may stay for a while.
        assert [it.lost_because is None for it in peers] == [False, False, True, True, True, True]
        await trio.sleep(5)
        await register(peers[2], "bob")
        await trio.sleep(6)
        assert [it.lost_because is None for it in peers[2:]] == [True, False, False, True]


async def test_one_who_has_unregistered_is_a_stranger_again(autojump_clock: MockClock) -> None:
    async with guarded_house(authentication_seconds=10.0) as house:
        alice = await house.peer()
        await register(alice, "alice")
        await register(alice, "bob")
        await alice.request("unregister", agent_id=alice.ids["alice"])
        await trio.sleep(20)
        assert alice.lost_because is None
        await alice.request("unregister", agent_id=alice.ids["bob"])
        await trio.sleep(20)
        assert "no credential" in await alice.gone()


async def test_where_anybody_may_be_anybody_nobody_has_to_say_so(
    autojump_clock: MockClock,
) -> None:
    auth = AuthRegistry([ApiKeyAuth(keys=KEYS), NoAuth()])
    async with open_house(auth=auth, limits=HubLimits(authentication_seconds=10.0)) as house:
        peer = await house.peer()
        await trio.sleep(60)
        assert peer.lost_because is None
