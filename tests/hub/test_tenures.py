"""A credential that ends while somebody acts by it: told, parted with, or refreshed in place."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hub import ApiKeyAuth, AuthError, AuthRegistry, HubListener, JwtAuth, Passport
from trio_hub.auth import Credential, HashedKey, make_key
from trio_hub.errors import AccessDeniedError, ConnectionLost
from trio_hub.hub.tenures import Tenures
from trio_hub.hub.timers import Timers

from .peer import House, Peer, open_house

EPOCH = 1.8e9


def now() -> float:
    """Tell the time by the clock of the test, which does not step."""
    return EPOCH + trio.current_time()


class Passes:
    """Accepts whom it has a credential for; the test may change what became of it."""

    scheme = "pass"

    def __init__(self) -> None:
        self.given: dict[str, Credential] = {}

    async def validate(self, passport: Passport, claim: Mapping[str, Any]) -> Credential | None:
        try:
            return self.given[claim["pass"]]
        except KeyError:
            raise AuthError("no such pass") from None


class Diary(HubListener):
    """Writes down what becomes of connections."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    async def on_connection_event(
        self, connection_id: str, kind: str, payload: Mapping[str, Any]
    ) -> None:
        self.events.append((kind, dict(payload)))


@asynccontextmanager
async def guarded() -> AsyncIterator[tuple[House, Passes]]:
    passes = Passes()
    async with open_house(auth=AuthRegistry([passes]), clock=now) as house:
        yield house, passes


def block(token: str) -> dict[str, Any]:
    return {"scheme": "pass", "claim": {"pass": token}}


async def enter(peer: Peer, name: str, token: str | None = None, **auth: Any) -> None:
    """Register an agent with a pass of its own name, or with another credential."""
    passport = {"name": name, "auth": auth or block(token or name)}
    peer.ids[name] = (await peer.request("register", passport=passport, resume={}))["agent_id"]


async def refresh(peer: Peer, name: str, token: str, since: str | None = None) -> None:
    peer.send(
        "hello",
        name=name,
        auth_scheme="pass",
        auth_claim={"pass": token},
        since_envelope_id=since,
    )
    await peer.expect("welcome", name=name)


async def audited(house: House, kind: str) -> list[Any]:
    while house.hub.audit.waiting:
        await trio.lowlevel.checkpoint()
    return list((await house.hub.audit.query(kind=kind)).records)


async def test_one_that_expires_is_told_and_closed_at_that_moment(
    autojump_clock: MockClock,
) -> None:
    async with guarded() as (house, passes):
        diary = Diary()
        async with house.hub.add_listener(diary):
            passes.given = {"alice": Credential(expires_at=now() + 100), "bob": Credential()}
            alice, bob = await house.peer(), await house.peer()
            await enter(alice, "alice")
            await enter(bob, "bob")
            await trio.sleep(99.9)
            assert alice.lost_because is None
            await trio.sleep(0.2)
            assert "1008 the credential has expired" in await alice.gone()
            (told,) = [it for it in alice.history if it["kind"] == "error"]
            assert told["code"] == "auth_failed"
            assert "acted for 'alice' has expired" in told["message"]
            await trio.sleep(1000)
            assert bob.lost_because is None
            (record,) = await audited(house, "credential_expired")
            assert record.agent_id == alice.id
            assert record.details["name"] == "alice"
        ((_, payload),) = [it for it in diary.events if it[0] == "credential_expired"]
        assert payload["agent_id"] == alice.id


async def test_one_that_is_revoked_is_told_and_closed_at_once(autojump_clock: MockClock) -> None:
    async with guarded() as (house, passes):
        passes.given = {"alice": Credential(expires_at=now() + 100)}
        alice = await house.peer()
        await enter(alice, "alice")
        passes.given["alice"].revoke()
        assert "1008 the credential was revoked" in await alice.gone()
        (record,) = await audited(house, "revoked")
        assert record.agent_id == alice.id
        await trio.sleep(1000)
        # It ends once.
        assert await audited(house, "credential_expired") == []


async def test_of_several_on_one_connection_only_that_one_is_let_go(
    autojump_clock: MockClock,
) -> None:
    async with guarded() as (house, passes):
        passes.given = {"alice": Credential(), "bob": Credential()}
        both = await house.peer()
        await enter(both, "alice")
        await enter(both, "bob")
        passes.given["alice"].revoke()
        told = await both.expect("error")
        assert told["name"] == "alice"
        with pytest.raises(AccessDeniedError):
            await both.request("pending_turns_for", agent_id=both.ids["alice"])
        assert await both.request("pending_turns_for", agent_id=both.ids["bob"]) == []
        # Whoever has come in again by a good one is not held to the old one.
        passes.given["new"] = Credential()
        await refresh(both, "alice", "new", since="")
        assert await both.request("pending_turns_for", agent_id=both.ids["alice"]) == []
        passes.given["bob"].revoke()
        passes.given["new"].revoke()
        await both.gone()


async def test_a_new_one_on_the_same_connection_leaves_no_gap(autojump_clock: MockClock) -> None:
    async with guarded() as (house, passes):
        passes.given = {
            "alice": Credential(expires_at=now() + 100),
            "next": Credential(expires_at=now() + 500),
            "bob": Credential(),
        }
        alice, bob = await house.peer(acks=False), await house.peer()
        await enter(alice, "alice")
        await enter(bob, "bob")
        channel = await bob.open("conversation", alice)
        await bob.say(channel, "one")
        in_hand = await alice.hears("one")
        await refresh(alice, "alice", "next")
        await bob.say(channel, "two")
        await alice.hears("two")
        await trio.sleep(1)
        # What was on its way went on: nothing came twice, and its receipt counts.
        assert alice.heard() == ["one", "two"]
        alice.ack(in_hand)
        await trio.sleep(300)
        assert alice.lost_because is None
        # The one that was shown first has no say any more.
        passes.given["alice"].revoke()
        await alice.quiet()
        await trio.sleep(300)
        assert "expired" in await alice.gone()


async def test_a_refused_refresh_changes_nothing(autojump_clock: MockClock) -> None:
    async with guarded() as (house, passes):
        passes.given = {"alice": Credential(expires_at=now() + 100)}
        alice = await house.peer()
        await enter(alice, "alice")
        alice.send("hello", name="alice", auth_scheme="pass", auth_claim={"pass": "wrong"})
        assert (await alice.expect("error"))["code"] == "auth_failed"
        assert await alice.request("pending_turns_for", agent_id=alice.id) == []
        await trio.sleep(101)
        await alice.gone()


async def test_one_that_was_taken_over_does_not_cost_the_new_connection(
    autojump_clock: MockClock,
) -> None:
    async with guarded() as (house, passes):
        passes.given = {"alice": Credential(), "new": Credential()}
        old, new = await house.peer(), await house.peer()
        await enter(old, "alice")
        await refresh(new, "alice", "new", since="")
        passes.given["alice"].revoke()
        await new.quiet()
        assert new.lost_because is None
        passes.given["new"].revoke()
        await new.gone()


async def test_one_that_ends_while_its_hello_is_looked_at_gets_nobody_in(
    autojump_clock: MockClock,
) -> None:
    async with guarded() as (house, passes):
        passes.given = {"alice": Credential(expires_at=now() - 1), "bob": Credential()}
        passes.given["bob"].revoke()
        for name in ("alice", "bob"):
            peer = await house.peer()
            with pytest.raises(ConnectionLost, match="the credential"):
                await enter(peer, name)


async def test_one_who_has_left_or_is_gone_for_good_is_watched_no_more(
    autojump_clock: MockClock,
) -> None:
    async with guarded() as (house, passes):
        passes.given = {it: Credential(expires_at=now() + 5) for it in ("alice", "bob")}
        alice, bob = await house.peer(), await house.peer()
        await enter(alice, "alice")
        await enter(bob, "bob")
        alice.cut()
        await alice.gone()
        await bob.request("unregister", agent_id=bob.id)
        await wait_all_tasks_blocked()
        for credential in passes.given.values():
            assert not credential._watchers
        await trio.sleep(10)
        assert bob.lost_because is None
        assert await audited(house, "credential_expired") == []


async def test_keys_that_are_replaced(autojump_clock: MockClock) -> None:
    def key(name: str) -> tuple[str, HashedKey]:
        return make_key(name, now())

    token, alice_key = key("alice")
    auth = ApiKeyAuth({"bob": "b"}, hashed=[alice_key], clock=now)
    async with open_house(auth=AuthRegistry([auth]), clock=now) as house:
        alice, bob = await house.peer(), await house.peer()
        await enter(alice, "alice", scheme="api_key", claim={"token": token})
        await enter(bob, "bob", scheme="api_key", claim={"token": "b"})
        # One more key of the same name, and the old one gets an end: a rotation.
        _, new = key("alice")
        ends = "2027-01-15T08:01:40+00:00"  # EPOCH and 100 s.
        old = HashedKey(
            key_id=alice_key.key_id,
            name="alice",
            sha256=alice_key.sha256,
            created_at=alice_key.created_at,
            expires_at=ends,
        )
        auth.replace({"bob": "b"}, [old, new])
        await trio.sleep(99)
        assert alice.lost_because is None
        await trio.sleep(2)
        assert "expired" in await alice.gone()
        auth.replace({"bob": "c"}, [new])
        assert "revoked" in await bob.gone()


async def test_tokens_end_when_they_would_be_refused(autojump_clock: MockClock) -> None:
    import time

    # PyJWT looks at the real clock, which hardly moves meanwhile.
    began = time.time()

    def real_now() -> float:
        return began + trio.current_time() - start

    start = trio.current_time()
    private = ec.generate_private_key(ec.SECP256R1())
    public = {**ECAlgorithm.to_jwk(private.public_key(), as_dict=True), "kid": "one"}
    other = ec.generate_private_key(ec.SECP256R1())
    others = {**ECAlgorithm.to_jwk(other.public_key(), as_dict=True), "kid": "two"}
    keys = json.dumps({"keys": [public, others]})
    auth = JwtAuth(keys, issuer="us", audience="hub", leeway_seconds=30)

    def token(name: str, key: Any, kid: str, seconds: float) -> str:
        claims = {"iss": "us", "aud": "hub", "sub": name, "exp": int(began + seconds)}
        return jwt.encode(claims, key, algorithm="ES256", headers={"kid": kid})

    async with open_house(auth=AuthRegistry([auth]), clock=real_now) as house:
        alice, bob = await house.peer(), await house.peer()
        for peer, name, key, kid in ((alice, "alice", private, "one"), (bob, "bob", other, "two")):
            claim = {"token": token(name, key, kid, 1000)}
            await enter(peer, name, scheme="jwt", claim=claim)
        await trio.sleep(500)
        auth.replace(json.dumps({"keys": [public]}))
        assert "revoked" in await bob.gone()
        await trio.sleep(528)
        assert alice.lost_because is None
        await trio.sleep(3)
        assert "expired" in await alice.gone()


async def test_timers_do_not_pile_up_and_none_is_missed(autojump_clock: MockClock) -> None:
    ended: list[str] = []
    timers = Timers(30.0, on_wake=lambda: None)
    tenures = Tenures(now, timers, lambda agent_id, _how: ended.append(agent_id))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        # Ever earlier ones: each needs a timer of its own, and none outlives its date.
        for seconds in (100, 90, 80):
            tenures.hold(str(seconds), Credential(expires_at=now() + seconds))
        for _ in range(1000):
            tenures.hold("refreshed", Credential(expires_at=now() + 1_000_000))
        assert len(timers._heap) == 3
        await trio.sleep(101)
        assert ended == ["80", "90", "100"]
        assert len(timers._heap) == 1
        assert len(tenures) == 1
        nursery.cancel_scope.cancel()


def test_a_credential_tells_changes_only() -> None:
    changes: list[str] = []
    credential = Credential(expires_at=5.0)
    credential.watch("me", lambda: changes.append(repr(credential)))
    credential.expires_at = 5.0
    credential.expires_at = 6.0
    credential.revoke()
    credential.revoke()
    credential.unwatch("me")
    credential.unwatch("me")
    credential.expires_at = 7.0
    assert changes == ["<Credential, expires at 6.0>", "<Credential, revoked>"]
