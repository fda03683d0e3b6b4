"""An agent that an operator has shut out is told, let go, and does not come in again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hub import (
    ApiKeyAuth,
    AuditRecord,
    AuthBlock,
    AuthRegistry,
    DiskKnowledgeStore,
    HubClient,
    HubListener,
    LocalLink,
    MemoryKnowledgeStore,
    Passport,
)
from trio_hub.client import ScriptedAgent
from trio_hub.errors import (
    AccessDeniedError,
    AgentRevoked,
    AuthError,
    ProtocolError,
    RateLimited,
    StoreError,
)
from trio_hub.hub import HubLimits, paths
from trio_hub.testing import FaultyStore

from .peer import House, Peer, open_house

NAMES = ("ops", "night", "alice", "bob")


def keys(*names: str) -> AuthRegistry:
    """Everybody has a key."""
    return AuthRegistry([ApiKeyAuth(keys={name: f"key of {name}" for name in NAMES + names})])


def block(name: str) -> dict[str, Any]:
    return {"scheme": "api_key", "claim": {"token": f"key of {name}"}}


async def enter(peer: Peer, name: str) -> str:
    """Register an agent by its key."""
    passport = {"name": name, "auth": block(name)}
    peer.ids[name] = (await peer.request("register", passport=passport, resume={}))["agent_id"]
    return peer.ids[name]


def knock(peer: Peer, name: str, token: str | None = None) -> None:
    claim = {"token": token or f"key of {name}"}
    peer.send("hello", name=name, auth_scheme="api_key", auth_claim=claim, since_envelope_id="")


async def guarded_pair(house: House) -> tuple[Peer, Peer]:
    ops, alice = await house.peer(), await house.peer()
    await enter(ops, "ops")
    await enter(alice, "alice")
    return ops, alice


async def audited(house: House, kind: str) -> list[AuditRecord]:
    while house.hub.audit.waiting:
        await trio.lowlevel.checkpoint()
    return list((await house.hub.audit.query(kind=kind)).records)


# What it does


async def test_whoever_is_there_is_told_why_and_let_go_and_is_not_let_in_again() -> None:
    async with open_house(auth=keys(), operators=["ops"]) as house:
        ops, alice = await guarded_pair(house)
        kept = await ops.request("revoke_agent", name="alice", reason="her laptop was stolen")
        assert (kept["name"], kept["reason"], kept["by"]) == (
            "alice",
            "her laptop was stolen",
            "ops",
        )
        assert "1008 revoked by an operator" in await alice.gone()
        (told,) = [it for it in alice.history if it["kind"] == "error"]
        assert (told["code"], told["name"]) == ("auth_failed", "alice")
        assert "her laptop was stolen" in told["message"]
        assert "ask them" in told["message"]

        again = await house.peer()
        knock(again, "alice")
        refused = await again.expect("error")
        assert (refused["code"], refused["name"]) == ("auth_failed", "alice")
        assert "her laptop was stolen" in refused["message"]
        with pytest.raises(AuthError, match="an operator of this hub has revoked 'alice'"):
            await enter(again, "alice")

        assert (await ops.request("reinstate_agent", name="alice")) == kept
        assert (await ops.request("reinstate_agent", name="alice")) is None
        knock(again, "alice")
        await again.expect("welcome", name="alice")


async def test_what_it_is_owed_is_kept_and_others_go_on_posting_to_it() -> None:
    async with open_house(auth=keys(), operators=["ops"]) as house:
        ops, alice = await guarded_pair(house)
        bob = await house.peer()
        await enter(bob, "bob")
        channel_id = await bob.open("conversation", alice)
        alice.acks = False
        await bob.say(channel_id, "before")
        await alice.hears("before")
        await ops.request("revoke_agent", name="alice", reason="x")
        await bob.say(channel_id, "after")
        await alice.gone()
        assert house.hub.owed_to(alice.id) == 2
        await ops.request("reinstate_agent", name="alice")
        again = await house.peer()
        knock(again, "alice")
        await again.expect("welcome")
        await again.hears("before")
        await again.hears("after")


async def test_of_several_on_one_connection_only_that_one_is_let_go() -> None:
    async with open_house(auth=keys(), operators=["ops"]) as house:
        ops, both = await guarded_pair(house)
        await enter(both, "bob")
        await ops.request("revoke_agent", name="alice", reason="x")
        assert (await both.expect("error"))["name"] == "alice"
        with pytest.raises(AccessDeniedError):
            await both.request("pending_turns_for", agent_id=both.ids["alice"])
        assert await both.request("pending_turns_for", agent_id=both.ids["bob"]) == []


async def test_a_name_that_nobody_has_yet_can_be_revoked_and_registering_anew_lifts_nothing() -> (
    None
):
    async with open_house(auth=keys(), operators=["ops"]) as house:
        await house.hub.revoke_agent("alice", "never wanted")
        alice = await house.peer()
        with pytest.raises(AuthError, match="never wanted"):
            await enter(alice, "alice")
        assert house.hub.find_agent_id("alice") is None
        await house.hub.reinstate_agent("alice")
        await enter(alice, "alice")
        await house.hub.revoke_agent("alice", "not any more")
        await house.hub.unregister(alice.id)
        again = await house.peer()
        with pytest.raises(AuthError, match="not any more"):
            await enter(again, "alice")


async def test_revoking_again_replaces_the_reason() -> None:
    async with open_house() as house:
        await house.hub.revoke_agent("alice", "one", by="ops")
        await house.hub.revoke_agent("alice", "two", by="night")
        found = house.hub.find_revocation("alice")
        assert found is not None
        assert (found.reason, found.by) == ("two", "night")
        assert house.hub.list_revocations().revocations == (found,)


async def test_where_anybody_may_be_anybody_a_revoked_name_is_refused_too() -> None:
    async with open_house() as house:
        alice = await house.join("alice")
        await house.hub.revoke_agent("alice", "x")
        await alice.gone()
        again = await house.peer()
        again.send("hello", name="alice", since_envelope_id="")
        assert "has revoked" in (await again.expect("error"))["message"]
        with pytest.raises(AuthError):
            await again.register("alice")


# Strangers


async def test_a_stranger_is_told_the_same_of_a_revoked_name_as_of_any_other() -> None:
    async with open_house(auth=keys("carol"), operators=["ops"]) as house:
        ops, alice = await guarded_pair(house)
        for name in ("alice", "carol"):
            await ops.request("revoke_agent", name=name, reason="x")
        await alice.gone()
        answers = {}
        for name in ("alice", "ops", "bob", "carol", "nobody"):
            stranger = await house.peer()
            knock(stranger, name, token="wrong")
            told = await stranger.expect("error")
            asking = stranger.ask(
                "register",
                passport={
                    "name": name,
                    "auth": {"scheme": "api_key", "claim": {"token": "wrong"}},
                },
                resume={},
            )
            with pytest.raises(AuthError) as caught:
                await stranger.answer(asking)
            answers[name] = (
                told["code"],
                told["message"].replace(name, "NAME"),
                caught.value.message.replace(name, "NAME"),
            )
        assert len(set(answers.values())) == 1, answers
        assert await audited(house, "revoked_turned_away") == []


async def test_a_revoked_agent_that_does_not_give_up_waits_and_its_neighbours_do_not() -> None:
    async with open_house(
        auth=keys(),
        operators=["ops"],
        limits=HubLimits(
            failed_authentications_per_minute=2, failed_authentications_per_address_per_minute=3
        ),
    ) as house:
        await guarded_pair(house)
        await house.hub.revoke_agent("alice", "x")
        codes = []
        for _ in range(8):
            again = await house.peer()
            knock(again, "alice")
            codes.append((await again.expect("error"))["code"])
        assert set(codes[:2]) == {"auth_failed"}
        assert codes[-1] == RateLimited.code
        turned_away = await audited(house, "revoked_turned_away")
        assert len(turned_away) == codes.count("auth_failed") < 8
        assert {it.details["name"] for it in turned_away} == {"alice"}
        assert await audited(house, "auth_failed") == []
        bob = await house.peer()
        await enter(bob, "bob")


# Operators


async def test_an_operator_may_not_revoke_the_name_it_acts_by_but_another_operator() -> None:
    async with open_house(auth=keys(), operators=["ops", "night"]) as house:
        ops, night = await house.peer(), await house.peer()
        await enter(ops, "ops")
        await enter(night, "night")
        with pytest.raises(AccessDeniedError, match="another operator"):
            await ops.request("revoke_agent", name="ops", reason="x")
        assert house.hub.list_revocations().revocations == ()
        await night.request("revoke_agent", name="ops", reason="compromised")
        await ops.gone()
        with pytest.raises(AuthError, match="compromised"):
            await enter(await house.peer(), "ops")


async def test_of_two_operators_that_revoke_each_other_at_once_one_remains() -> None:
    inner = MemoryKnowledgeStore()
    async with inner:
        store = FaultyStore(inner)
        async with open_house(store, auth=keys(), operators=["ops", "night"]) as house:
            ops, night = await house.peer(), await house.peer()
            await enter(ops, "ops")
            await enter(night, "night")
            with store.hold_commits():
                asked = [
                    (ops, ops.ask("revoke_agent", name="night", reason="x")),
                    (night, night.ask("revoke_agent", name="ops", reason="x")),
                ]
                await wait_all_tasks_blocked()
            await wait_all_tasks_blocked()
            [left] = house.hub.list_revocations().revocations
            winner, loser = (ops, night) if left.name == "night" else (night, ops)
            await winner.answer(dict(asked)[winner])
            await loser.gone()


async def test_only_operators_may() -> None:
    async with (
        open_house(auth=keys(), operators=["ops"]) as house,
        HubClient(LocalLink(house.hub)) as theirs,
        HubClient(LocalLink(house.hub)) as hers,
    ):
        for client, name in ((theirs, "ops"), (hers, "alice")):
            auth = AuthBlock(scheme="api_key", claim={"token": f"key of {name}"})
            await client.register(ScriptedAgent(name, []), Passport(name=name, auth=auth))
        for asking in (
            hers.revoke_agent("bob", "x"),
            hers.reinstate_agent("bob"),
            hers.list_revocations(),
        ):
            with pytest.raises(AccessDeniedError, match="for operators"):
                await asking
        kept = await theirs.revoke_agent("bob", "x")
        await theirs.revoke_agent("alice", "y")
        page = await theirs.list_revocations(limit=1)
        assert ([it.name for it in page.revocations], page.after) == (["alice"], "alice")
        assert (await theirs.list_revocations(after=page.after)).revocations == (kept,)
        assert await theirs.reinstate_agent("bob") == kept
        assert await theirs.reinstate_agent("bob") is None


@pytest.mark.parametrize("name", ["", "0" * 32, "x" * 1001])
async def test_a_revocation_is_of_a_name(name: str) -> None:
    async with open_house() as house:
        with pytest.raises(ProtocolError, match="no name"):
            await house.hub.revoke_agent(name, "x")


@pytest.mark.parametrize("reason", ["", " \n", "x" * 501])
async def test_a_revocation_has_a_reason_of_bounded_length(reason: str) -> None:
    async with open_house() as house:
        with pytest.raises(ProtocolError, match="at most 500"):
            await house.hub.revoke_agent("alice", reason)
        await house.hub.revoke_agent("alice", "x" * 500)


async def test_the_audit_log_says_who_revoked_whom_and_why() -> None:
    async with open_house(auth=keys(), operators=["ops"]) as house:
        ops, alice = await guarded_pair(house)
        await ops.request("revoke_agent", name="alice", reason="her key leaked")
        await ops.request("revoke_agent", name="bob", reason="x")
        await ops.request("reinstate_agent", name="alice")
        records = [
            (it.kind, it.agent_id, it.by, it.details)
            for kind in ("agent_revoked", "agent_reinstated")
            for it in await audited(house, kind)
        ]
        assert records == [
            ("agent_revoked", alice.id, "ops", {"name": "alice", "reason": "her key leaked"}),
            ("agent_revoked", None, "ops", {"name": "bob", "reason": "x"}),
            ("agent_reinstated", alice.id, "ops", {"name": "alice"}),
        ]


async def test_listeners_hear_of_it() -> None:
    heard: list[tuple[str, str, Mapping[str, Any]]] = []

    class Ear(HubListener):
        async def on_agent_event(
            self, agent_id: str, kind: str, payload: Mapping[str, Any]
        ) -> None:
            heard.append((agent_id, kind, payload))

        async def on_connection_event(
            self, connection_id: str, kind: str, payload: Mapping[str, Any]
        ) -> None:
            if kind == "revoked_turned_away":
                heard.append((connection_id, kind, payload))

    async with open_house() as house:
        alice = await house.join("alice")
        await house.enter(house.hub.add_listener(Ear()))
        await house.hub.revoke_agent("alice", "x", by="ops")
        await alice.gone()
        again = await house.peer()
        again.send("hello", name="alice", since_envelope_id="")
        await again.expect("error")
        await house.hub.reinstate_agent("alice", by="ops")
        await wait_all_tasks_blocked()
    assert [kind for _, kind, _ in heard] == [
        "detached",
        "revoked",
        "revoked_turned_away",
        "reinstated",
    ]
    assert heard[1] == (alice.id, "revoked", {"reason": "x", "by": "ops"})
    assert heard[2][2]["name"] == "alice"
    assert heard[3] == (alice.id, "reinstated", {"by": "ops"})


# On disk


async def test_revocations_survive_a_restart_and_so_does_that_one_was_taken_back(
    tmp_path: Path,
) -> None:
    async with open_house(DiskKnowledgeStore(tmp_path / "data"), auth=keys()) as house:
        for name in ("alice", "later/../on", "gone"):
            await house.hub.revoke_agent(name, "x", by="ops")
        before = house.hub.list_revocations()
        await house.hub.reinstate_agent("gone")
    async with open_house(DiskKnowledgeStore(tmp_path / "data"), auth=keys()) as house:
        page = house.hub.list_revocations()
        assert page.revocations == tuple(it for it in before.revocations if it.name != "gone")
        with pytest.raises(AuthError):
            await enter(await house.peer(), "alice")
        assert house.hub.health().problems == ()


@pytest.mark.parametrize("damage", [b"{}", None])
async def test_one_that_cannot_be_read_holds_until_it_is_taken_back(damage: bytes | None) -> None:
    store = MemoryKnowledgeStore()
    async with store:
        async with open_house(store) as house:
            await house.hub.revoke_agent("alice", "x")
        [path] = set(await store.read_under(paths.REVOCATIONS)) - {f"{paths.REVOCATIONS}/names"}
        if damage is None:
            await store.delete(path)
        else:
            await store.write(path, damage)
        async with open_house(store) as house:
            with pytest.raises(AgentRevoked, match="cannot be read"):
                house.hub.check_revoked("alice")
            assert any("'alice' cannot be read" in it for it in house.hub.health().problems)
            await house.hub.reinstate_agent("alice")
        async with open_house(store) as house:
            house.hub.check_revoked("alice")
            assert house.hub.health().problems == ()


@pytest.mark.parametrize("kept", [False, True])
async def test_where_it_could_not_be_kept_nobody_is_let_go_and_trying_again_does(
    kept: bool,
) -> None:
    inner = MemoryKnowledgeStore()
    async with inner:
        store = FaultyStore(inner)
        async with open_house(store) as house:
            alice = await house.join("alice")
            store.fail("commit", after=kept)
            with pytest.raises(StoreError):
                await house.hub.revoke_agent("alice", "x")
            house.hub.check_revoked("alice")
            await alice.quiet()
            await house.hub.revoke_agent("alice", "x")
            await alice.gone()
        async with open_house(inner) as house:
            with pytest.raises(AgentRevoked):
                house.hub.check_revoked("alice")
