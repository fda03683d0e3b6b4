"""Who may be whom, under which name, and how they are found."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from typing import Any
from unittest import mock

import pytest
import trio

from trio_hub import ApiKeyAuth, AuthRegistry, HubLimits, MemoryKnowledgeStore, NoAuth, Passport
from trio_hub.errors import AccessDeniedError, AuthError, NotFoundError, ProtocolError, StoreError
from trio_hub.hub import registry
from trio_hub.hub.mailbox import Mailbox
from trio_hub.hub.measured import COUNTED_TASKS_MAX
from trio_hub.ids import ID_PATTERN
from trio_hub.testing import FaultyStore

from .peer import Peer, open_house


async def test_registering_stamps_the_passport_and_binds_it_here(any_house: Any) -> None:
    async with any_house() as house:
        peer = await house.peer()
        passport = await peer.request("register", passport={"name": "alice"}, resume={})
        assert ID_PATTERN.fullmatch(passport["agent_id"])
        assert passport["created_at"]
        assert passport["name"] == "alice"
        # Bound: what only the agent itself may do is allowed.
        assert await peer.request("pending_turns_for", agent_id=passport["agent_id"]) == []


async def test_a_name_is_taken_once() -> None:
    async with open_house() as house:
        alice = await house.join("alice")
        other = await house.peer()
        with pytest.raises(ProtocolError, match="'alice' is already registered"):
            await other.register("alice")
        await alice.request("unregister", agent_id=alice.id)
        await other.register("alice")


async def test_two_who_want_a_name_at_once_do_not_both_get_it() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with open_house(store) as house:
        one, two = await house.peer(), await house.peer()
        with store.hold_commits():
            first = one.ask("register", passport={"name": "alice"}, resume={})
            await one.quiet()
            second = two.ask("register", passport={"name": "alice"}, resume={})
            with pytest.raises(ProtocolError, match="already registered"):
                await two.answer(second)
            assert not one.is_answered(first)
        await one.answer(first)


async def test_a_registration_that_was_not_kept_leaves_the_name_free() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with open_house(store) as house:
        peer = await house.peer()
        store.fail("commit")
        with pytest.raises(StoreError):
            await peer.register("alice")
        assert await peer.request("find_agent_id", name="alice") is None
        await peer.register("alice")


@pytest.mark.parametrize("name", ["", "0" * 32])
async def test_a_name_that_is_none_or_looks_like_an_id_is_refused(name: str) -> None:
    async with open_house() as house:
        peer = await house.peer()
        with pytest.raises(ProtocolError):
            await peer.register(name)


async def test_a_name_that_no_operator_could_revoke_is_refused_and_not_quoted_whole() -> None:
    async with open_house() as house:
        peer = await house.peer()
        with pytest.raises(ProtocolError, match="at most 1000") as refused:
            await peer.register("n" * 1_000_000)
        assert len(str(refused.value)) < 200
        with pytest.raises(ProtocolError, match="at most 1000"):
            await house.hub.register(Passport(name="n" * 1_001))
        name = "n" * 1_000
        await peer.register(name)
        await house.hub.revoke_agent(name, "it is over")
        assert await peer.gone()


async def test_an_agent_whose_name_is_longer_than_is_taken_now_stays() -> None:
    store = MemoryKnowledgeStore()
    with mock.patch.object(registry, "NAME_CHARACTERS_MAX", 2_000):
        async with open_house(store) as house:
            await house.join("n" * 1_001)
    async with open_house(store) as house:
        await house.back("n" * 1_001)


@pytest.mark.parametrize("name", ["Ålice", "a/b", "..", "with space", "x" * 500, "\u2028"])
async def test_any_other_name_is_a_name(name: str) -> None:
    store = MemoryKnowledgeStore()
    async with open_house(store) as house:
        peer = await house.join(name)
        assert (await peer.request("get_agent", name_or_id=name))["agent_id"] == peer.id
    async with open_house(store) as house:
        await house.back(name)


async def test_a_claim_is_checked_and_then_nowhere() -> None:
    store = MemoryKnowledgeStore()
    auth = AuthRegistry([ApiKeyAuth(keys={"alice": "s3cret"})])
    async with open_house(store, auth=auth) as house:
        peer = await house.peer()
        block = {"scheme": "api_key", "claim": {"token": "wrong"}}
        with pytest.raises(AuthError):
            await peer.request("register", passport={"name": "alice", "auth": block}, resume={})
        block = {"scheme": "api_key", "claim": {"token": "s3cret"}}
        passport = await peer.request(
            "register", passport={"name": "alice", "auth": block}, resume={}
        )
        assert passport["auth"]["claim"] == {}
        shown = await peer.request("get_agent", name_or_id="alice")
        assert shown["auth"] == {**passport["auth"], "claim": {}}
        assert "s3cret" not in str(peer.history)
        async with store:
            documents = await store.read_under("/")
        assert documents
        assert not any(b"s3cret" in data for data in documents.values())


async def test_a_hello_needs_the_scheme_and_the_claim_of_its_registration() -> None:
    auth = AuthRegistry([ApiKeyAuth(keys={"alice": "s3cret"}), NoAuth()])
    async with open_house(auth=auth) as house:
        await house.hub.register(Passport(name="bob"))
        first = await house.peer()
        block = {"scheme": "api_key", "claim": {"token": "s3cret"}}
        await first.request("register", passport={"name": "alice", "auth": block}, resume={})
        peer = await house.peer()
        peer.send("hello", name="alice")
        assert (await peer.expect("error"))["code"] == "auth_failed"
        peer.send("hello", name="alice", auth_scheme="api_key", auth_claim={"token": "no"})
        assert (await peer.expect("error"))["code"] == "auth_failed"
        peer.send("hello", name="bob", auth_scheme="api_key", auth_claim={"token": "s3cret"})
        assert (await peer.expect("error"))["code"] == "auth_failed"
        # Nothing was bound by any of it, and the first connection still acts for alice.
        with pytest.raises(AccessDeniedError):
            await peer.request("list_channels")
        assert await first.quiet() == []
        peer.send("hello", name="alice", auth_scheme="api_key", auth_claim={"token": "s3cret"})
        await peer.expect("welcome")


async def test_a_hello_of_nobody_is_refused_and_the_connection_lives() -> None:
    async with open_house() as house:
        peer = await house.peer()
        peer.send("hello", name="nobody")
        error = await peer.expect("error")
        assert error["code"] == "not_found"
        assert "nobody" in error["message"]
        await peer.register("somebody")


async def test_several_identities_share_a_connection_and_their_number_has_a_limit() -> None:
    async with open_house(limits=HubLimits(identities_per_connection_max=2)) as house:
        peer = await house.join("alice", "bob")
        with pytest.raises(AccessDeniedError, match="acts for 2 agents"):
            await peer.register("carol")
        other = await house.join("carol")
        assert await other.request("names_for", agent_ids=[*peer.ids.values(), "x"]) == {
            peer.ids["alice"]: "alice",
            peer.ids["bob"]: "bob",
            "x": "x",
        }


async def test_agents_are_found_by_what_they_can_do() -> None:
    async with open_house() as house:
        peer = await house.peer()
        for name, kind, resume in (
            ("ann", None, {"claimed_capabilities": ["law"], "summary": "Knows contracts"}),
            ("ben", "human", {"domains": ["Gardening"]}),
            ("cid", "agent", {"claimed_capabilities": ["law", "tax"]}),
        ):
            await peer.request("register", passport={"name": name, "kind": kind}, resume=resume)

        async def found(**params: Any) -> list[str]:
            return [it["name"] for it in await peer.request("list_agents", **params)]

        assert await found() == ["ann", "ben", "cid"]
        assert await found(capability="law") == ["ann", "cid"]
        assert await found(capability="law", query="CONTRACTS") == ["ann"]
        assert await found(query="garden") == ["ben"]
        assert await found(kind="human") == ["ben"]
        assert await found(kind="agent") == ["ann", "cid"]
        assert await found(limit=1) == ["ann"]
        assert await found(limit=0) == []
        assert await found(limit=None, sort_by="name") == ["ann", "ben", "cid"]
        assert await found(sort_by="created_at") == ["ann", "ben", "cid"]
        with pytest.raises(ProtocolError, match="sort_by"):
            await found(sort_by="height")
        ann_id = await peer.request("find_agent_id", name="ann")
        await peer.request(
            "record_observation", owner_id=ann_id, capability="tax", outcome="completed"
        )
        assert await found(capability="tax", sort_by="observed") == ["ann", "cid"]


async def test_what_one_says_about_oneself_can_be_replaced() -> None:
    store = MemoryKnowledgeStore()
    async with open_house(store) as house:
        alice = await house.join("alice")
        me = {"agent_id": alice.id}
        await alice.request("set_resume", **me, resume={"summary": "better", "version": 77})
        resume = await alice.request("get_resume", **me)
        assert (resume["summary"], resume["version"]) == ("better", 2)
        assert await alice.request("get_skill", **me) is None
        await alice.request("set_skill", **me, skill_md="# How")
        assert await alice.request("get_skill", **me) == "# How"
        await alice.request("set_rule", **me, rule={"limits": {"delegation_depth": 2}})
        assert (await alice.request("get_rule", **me))["limits"]["delegation_depth"] == 2
    async with open_house(store) as house:
        back = await house.back("alice")
        assert (await back.request("get_resume", **me))["summary"] == "better"
        assert await back.request("get_skill", **me) == "# How"
        await back.request("set_skill", **me, skill_md=None)
        assert await back.request("get_skill", **me) is None
        assert (await back.request("get_rule", **me))["limits"]["delegation_depth"] == 2


async def test_observations_are_counted_by_how_they_ended() -> None:
    async with open_house() as house:
        alice = await house.join("alice")
        async with trio.open_nursery() as nursery:
            for outcome in ("completed", "completed", "failed", "expired", "cancelled"):
                nursery.start_soon(
                    lambda outcome=outcome: alice.request(
                        "record_observation",
                        owner_id=alice.id,
                        capability="law",
                        outcome=outcome,
                        latency_ms=12,
                    )
                )
        resume = await alice.request("get_resume", agent_id=alice.id)
        assert resume["observed"]["law"] == {
            "n": 5,
            "completed": 2,
            "failed": 1,
            "expired": 1,
            "p50_latency_ms": 12,
        }


async def observe(peer: Peer, durations: Iterable[int | None], capability: str = "law") -> None:
    for latency_ms in durations:
        await peer.request(
            "record_observation",
            owner_id=peer.id,
            capability=capability,
            outcome="completed",
            latency_ms=latency_ms,
        )


async def test_how_long_tasks_took_is_known_over_restarts_and_not_just_the_last() -> None:
    store = MemoryKnowledgeStore()
    slow_once = [*range(10, 109), 60_000]
    async with open_house(store) as house:
        await observe(await house.join("alice"), [None, *slow_once[:50]])
    async with open_house(store) as house:
        alice = await house.back("alice")
        await observe(alice, slow_once[50:])
        await observe(alice, [7], "../tax?")
        record = await alice.request("get_track_record", agent_id=alice.id)
        law = record["law"]
        assert (law["n"], law["completed"], law["failed"]) == (101, 101, 0)
        exact = {50: slow_once[49], 95: slow_once[94], 99: slow_once[98]}
        for percent, duration in exact.items():
            assert law[f"p{percent}_latency_ms"] == pytest.approx(duration, rel=0.01, abs=0.5)
        assert record["../tax?"]["p99_latency_ms"] == 7
        resume = await alice.request("get_resume", agent_id=alice.id)
        # What AG2 knows of, and nothing else.
        assert resume["observed"]["law"] == {
            name: law[name] for name in ("n", "completed", "failed", "expired", "p50_latency_ms")
        }
        # A new resume leaves it as it is.
        await alice.request("set_resume", agent_id=alice.id, resume={"summary": "Lawyer."})
        assert await alice.request("get_track_record", agent_id=alice.id) == record
        await alice.request("unregister", agent_id=alice.id)
        assert [it for it in await store.read_under("/agents") if alice.id in it] == []


async def test_a_task_counts_once_however_often_it_is_told() -> None:
    store = MemoryKnowledgeStore()

    async def tell(peer: Peer, capability: str, task_id: str | None, outcome: str) -> None:
        await peer.request(
            "record_observation",
            owner_id=peer.id,
            capability=capability,
            outcome=outcome,
            latency_ms=1,
            task_id=task_id,
        )

    async with open_house(store) as house:
        alice = await house.join("alice")
        await tell(alice, "law", "t1", "completed")
        await tell(alice, "law", "t1", "expired")
        await tell(alice, "tax", "t1", "completed")
        await tell(alice, "law", None, "completed")
    async with open_house(store) as house:
        alice = await house.back("alice")
        await tell(alice, "law", "t1", "completed")
        await tell(alice, "law", None, "completed")
        record = await alice.request("get_track_record", agent_id=alice.id)
        assert {name: (it["n"], it["completed"]) for name, it in record.items()} == {
            "law": (3, 3),
            "tax": (1, 1),
        }
        # What is remembered is bounded: a task of long ago counts anew.
        for number in range(COUNTED_TASKS_MAX):
            await tell(alice, "law", f"other {number}", "failed")
        await tell(alice, "law", "t1", "completed")
        record = await alice.request("get_track_record", agent_id=alice.id)
        assert record["law"]["n"] == 3 + COUNTED_TASKS_MAX + 1
        with pytest.raises(ProtocolError, match="task_id"):
            await tell(alice, "law", "x" * 201, "completed")


async def test_damaged_durations_are_measured_anew_and_the_counts_stay() -> None:
    store = MemoryKnowledgeStore()
    async with open_house(store) as house:
        alice = await house.join("alice")
        await observe(alice, [5, 6], "law")
        await observe(alice, [9], "tax")
        [path] = [
            it
            for it, data in (await store.read_under("/agents")).items()
            if b"law" in data and "/latencies/" in it
        ]
    for damage in (b"{", b'{"capability": "law", "latencies": {"counts": {"99999": 1}}}'):
        async with store:
            await store.write(path, damage)
        async with open_house(store) as house:
            [problem] = house.hub.health().problems
            assert alice.id in problem
            assert "measured anew" in problem
            alice = await house.back("alice")
            record = await alice.request("get_track_record", agent_id=alice.id)
            assert (record["law"]["n"], record["law"]["p95_latency_ms"]) == (2, None)
            # The median that was known stays until there is a better one.
            assert record["law"]["p50_latency_ms"] == 5
            assert record["tax"]["p95_latency_ms"] == 9


async def test_capabilities_that_are_counted_are_bounded() -> None:
    async with open_house(limits=HubLimits(observed_capabilities_max=2)) as house:
        alice = await house.join("alice")
        await observe(alice, [1], "law")
        await observe(alice, [1], "tax")
        with pytest.raises(ProtocolError, match="'art' would be one too many"):
            await observe(alice, [1], "art")
        await observe(alice, [2], "law")
        with pytest.raises(ProtocolError, match="capability"):
            await observe(alice, [1], "x" * 201)
        record = await alice.request("get_track_record", agent_id=alice.id)
        assert {name: it["n"] for name, it in record.items()} == {"law": 2, "tax": 1}


async def test_the_mailbox_of_who_was_unregistered_does_not_stay_in_memory() -> None:
    async with open_house() as house:
        alice, gone = await house.join("alice"), set()
        for _ in range(3):
            bob = await house.join("bob")
            channel_id = await alice.open("conversation", bob)
            await alice.say(channel_id, "hi")
            await bob.hears("hi")
            await bob.quiet()
            gone.add(bob.id)
            await alice.request("close_channel", channel_id=channel_id)
            await bob.request("unregister", agent_id=bob.id)
            await bob.quiet()
        gc.collect()
        there = {it.agent_id for it in gc.get_objects() if type(it) is Mailbox}
        assert alice.id in there
        assert there.isdisjoint(gone)


async def test_who_is_unregistered_is_nobody_any_more() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        bob_id = bob.id
        await bob.request("unregister", agent_id=bob_id)
        for op, params in (
            ("get_agent", {"name_or_id": "bob"}),
            ("get_resume", {"agent_id": bob_id}),
        ):
            with pytest.raises(NotFoundError):
                await alice.request(op, **params)
        with pytest.raises(AccessDeniedError):
            await bob.say(channel_id, "still here?")
        # What was said stays, and the others may go on.
        await alice.say(channel_id, "goodbye")
        assert len(await alice.request("read_wal", channel_id=channel_id)) == 4
        stranger = await house.peer()
        stranger.send("hello", name="bob")
        assert (await stranger.expect("error"))["code"] == "not_found"


@pytest.mark.parametrize(
    ("op", "params"),
    [
        ("get_agent", {"name_or_id": "nobody"}),
        ("get_resume", {"agent_id": "nobody"}),
        ("get_skill", {"agent_id": "nobody"}),
        ("get_track_record", {"agent_id": "nobody"}),
        ("get_rule", {"agent_id": "nobody"}),
    ],
)
async def test_who_is_not_there_is_not_found(op: str, params: dict[str, Any]) -> None:
    async with open_house() as house:
        peer = await house.peer()
        with pytest.raises(NotFoundError, match="nobody"):
            await peer.request(op, **params)
        assert await peer.request("find_agent_id", name="nobody") is None
