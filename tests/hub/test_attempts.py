"""Who fails to authenticate too often waits; nobody waits for another's failures, nor learns."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_hub import ApiKeyAuth, AuthRegistry, Hub, HubLimits, LocalLink
from trio_hub.errors import AuthError, NotFoundError, RateLimited
from trio_hub.links import LinkEndpoint

from .peer import House, Peer, open_house

KEYS = {"alice": "s3cret", "bob": "t0ken", "carol": "k3y"}


def guarded_house(**limits: Any) -> AbstractAsyncContextManager[House]:
    return open_house(auth=AuthRegistry([ApiKeyAuth(keys=KEYS)]), limits=HubLimits(**limits))


class Renamed:
    """A stream from another address."""

    def __init__(self, stream: Any, peer: str) -> None:
        self._stream = stream
        self.peer = peer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class From:
    """A hub that sees its peers at another address."""

    def __init__(self, hub: Hub, peer: str) -> None:
        self._hub = hub
        self._peer = peer
        self.auth_schemes = hub.auth_schemes

    async def serve(self, endpoint: LinkEndpoint) -> None:
        endpoint.stream = Renamed(endpoint.stream, self._peer)  # type: ignore[assignment]
        await self._hub.serve(endpoint)


async def peer_from(house: House, address: str) -> Peer:
    return await house.peer(link=LocalLink(From(house.hub, address)))


async def register(peer: Peer, name: str, token: str | None = None) -> None:
    block = {"scheme": "api_key", "claim": {"token": token or KEYS[name]}}
    await peer.request("register", passport={"name": name, "auth": block}, resume={})


async def hello(peer: Peer, name: str, token: str, scheme: str = "api_key") -> dict[str, Any]:
    """Say hello, and return the answer."""
    peer.send("hello", name=name, auth_scheme=scheme, auth_claim={"token": token})
    while not (found := [it for it in peer.frames if it["kind"] in ("welcome", "error")]):
        await peer.quiet()
    peer.frames.remove(found[0])
    return found[0]


@pytest.mark.parametrize("failures", [2, 3])
async def test_one_failure_below_the_limit_is_let_in_and_one_at_it_waits(
    failures: int, autojump_clock: MockClock
) -> None:
    async with guarded_house(failed_authentications_per_minute=3) as house:
        await register(await house.peer(), "alice")
        eve = await peer_from(house, "10.0.0.1:1")
        for _ in range(failures):
            assert (await hello(eve, "alice", "guess"))["code"] == "auth_failed"
        answer = await hello(eve, "alice", KEYS["alice"])
        if failures == 2:
            assert answer["kind"] == "welcome"
            return
        assert answer["code"] == "rate_limited"
        # It is not told whether it would have been the right one.
        assert (await hello(eve, "alice", "guess"))["message"] == answer["message"]
        await trio.sleep(answer["retry_after_seconds"])
        assert (await hello(eve, "alice", KEYS["alice"]))["kind"] == "welcome"


async def test_another_connection_from_there_waits_too_and_other_names_and_addresses_do_not(
    autojump_clock: MockClock,
) -> None:
    async with guarded_house(failed_authentications_per_minute=2) as house:
        owner = await peer_from(house, "10.0.0.2:1")
        await register(owner, "alice")
        for port in (1, 2):
            eve = await peer_from(house, f"10.0.0.1:{port}")
            assert (await hello(eve, "alice", "guess"))["code"] == "auth_failed"
        eve = await peer_from(house, "10.0.0.1:3")
        assert (await hello(eve, "alice", "guess"))["code"] == "rate_limited"
        with pytest.raises(RateLimited):
            await register(eve, "alice", "guess")
        # Its neighbour there, and the owner elsewhere, notice nothing.
        await register(await peer_from(house, "10.0.0.1:4"), "bob")
        back = await peer_from(house, "10.0.0.3:1")
        assert (await hello(back, "alice", KEYS["alice"]))["kind"] == "welcome"


@pytest.mark.parametrize("failures", [3, 4])
async def test_an_address_that_fails_in_ever_new_names_waits_at_its_own_limit(
    failures: int, autojump_clock: MockClock
) -> None:
    async with guarded_house(failed_authentications_per_address_per_minute=4) as house:
        eve = await peer_from(house, "10.0.0.1:1")
        for number in range(failures):
            assert (await hello(eve, f"name{number}", "guess"))["code"] == "auth_failed"
        last = await hello(eve, "another", "guess")
        assert last["code"] == ("auth_failed" if failures == 3 else "rate_limited")
        await register(await peer_from(house, "10.0.0.2:1"), "alice")


async def test_those_who_are_right_are_never_counted(autojump_clock: MockClock) -> None:
    limits = {
        "failed_authentications_per_minute": 1,
        "failed_authentications_per_address_per_minute": 1,
    }
    async with guarded_house(**limits) as house:
        await register(await house.peer(), "alice")
        for _ in range(20):
            peer = await house.peer()
            assert (await hello(peer, "alice", KEYS["alice"]))["kind"] == "welcome"


@pytest.mark.parametrize("kept", [1, 2])
async def test_only_so_many_failures_are_remembered(kept: int, autojump_clock: MockClock) -> None:
    limits = {"failed_authentications_per_minute": 1, "failed_authentications_kept_max": kept}
    async with guarded_house(**limits) as house:
        first, second = [await peer_from(house, f"10.0.0.{n}:1") for n in (1, 2)]
        assert (await hello(first, "alice", "guess"))["code"] == "auth_failed"
        assert (await hello(second, "alice", "guess"))["code"] == "auth_failed"
        expected = "auth_failed" if kept == 1 else "rate_limited"
        assert (await hello(first, "alice", "guess"))["code"] == expected


async def test_without_limits_nobody_waits(autojump_clock: MockClock) -> None:
    limits = {
        "failed_authentications_per_minute": None,
        "failed_authentications_per_address_per_minute": None,
    }
    async with guarded_house(**limits) as house:
        eve = await house.peer()
        for _ in range(300):
            assert (await hello(eve, "alice", "guess"))["code"] == "auth_failed"


async def test_what_was_not_even_checked_fills_no_audit_log(autojump_clock: MockClock) -> None:
    async with guarded_house(failed_authentications_per_minute=2) as house:
        eve = await house.peer()
        for _ in range(10):
            await hello(eve, "alice", "guess")
        records = (await house.hub.audit.query(kind="auth_failed")).records
        assert len(records) == 2
        assert house.hub._reception.refusals["hello", "rate_limited"] == 8


@pytest.mark.parametrize(
    ("scheme", "token"), [("api_key", "guess"), ("api_key", ""), ("none", "x"), ("jwt", "x")]
)
async def test_a_hello_does_not_tell_a_stranger_who_is_registered(scheme: str, token: str) -> None:
    async with guarded_house() as house:
        await register(await house.peer(), "alice")
        eve = await house.peer()
        known = await hello(eve, "alice", token, scheme)
        unknown = await hello(eve, "carol", token, scheme)
        assert known["code"] == unknown["code"] == "auth_failed"
        assert known["message"].replace("alice", "carol") == unknown["message"]
        records = (await house.hub.audit.query(kind="auth_failed")).records
        assert [it.details["name"] for it in records] == ["alice", "carol"]


async def test_who_proves_to_be_somebody_is_told_to_register_first() -> None:
    async with guarded_house() as house:
        bob = await house.peer()
        answer = await hello(bob, "bob", KEYS["bob"])
        assert answer["code"] == NotFoundError.code
        assert "register it first" in answer["message"]
        await register(bob, "bob")


async def test_a_refresh_is_not_one_identity_more() -> None:
    async with guarded_house(identities_per_connection_max=1) as house:
        alice = await house.peer()
        await register(alice, "alice")
        assert (await hello(alice, "alice", KEYS["alice"]))["kind"] == "welcome"
        assert (await hello(alice, "bob", KEYS["bob"]))["code"] == "access_denied"


async def test_registering_is_counted_too(autojump_clock: MockClock) -> None:
    async with guarded_house(failed_authentications_per_minute=1) as house:
        eve = await house.peer()
        with pytest.raises(AuthError):
            await register(eve, "alice", "guess")
        with pytest.raises(RateLimited):
            await register(eve, "alice")
