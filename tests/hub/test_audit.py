"""The audit log: whole, in order, chained, without what was said, whatever the disk does."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_hub import (
    ApiKeyAuth,
    AuditRecord,
    AuthRegistry,
    DiskKnowledgeStore,
    Hub,
    HubClient,
    InboxBlock,
    KnowledgeStore,
    LimitsBlock,
    LocalLink,
    MemoryKnowledgeStore,
    Passport,
    RateBlock,
    Rule,
)
from trio_hub.errors import AccessDeniedError, AuthError, ProtocolError
from trio_hub.hub import AuditLog, paths
from trio_hub.hub.audit_chain import ChainCheck, seal
from trio_hub.hub.committer import Committer
from trio_hub.stores.disk import DATABASE_NAME
from trio_hub.testing import FaultyStore

from .peer import PATIENCE_SECONDS, open_house


async def written(hub: Hub) -> list[AuditRecord]:
    """Wait until all that was recorded is durable, and return it."""
    with trio.fail_after(PATIENCE_SECONDS):
        while hub.audit.waiting:
            await trio.lowlevel.checkpoint()
    return list((await hub.audit.query(limit=10_000)).records)


async def kinds(hub: Hub) -> list[str]:
    return [record.kind for record in await written(hub)]


@asynccontextmanager
async def audit_log(store: KnowledgeStore) -> AsyncIterator[AuditLog]:
    """An audit log and what it needs, without a hub."""
    async with store, trio.open_nursery() as nursery:
        committer = Committer(store)
        audit = AuditLog(store, committer, lambda: 1e9)
        assert await audit.load() == []
        nursery.start_soon(committer.run)
        nursery.start_soon(audit.run)
        yield audit
        await committer.flushed()
        nursery.cancel_scope.cancel()


async def raw_records(store: KnowledgeStore) -> list[bytes]:
    return await store.read_range(paths.AUDIT_LOG, 0)


def check(raws: list[bytes]) -> ChainCheck:
    chain = ChainCheck()
    for raw in raws:
        if not chain.add(raw):
            break
    return chain


# What is recorded


async def test_the_life_of_agents_and_channels_is_audited_and_says_who_did_it() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await alice.request("close_channel", channel_id=channel_id)
        limited = Rule(limits=LimitsBlock(rate=RateBlock(per_minute=5)))
        await house.hub.set_rule(alice.id, limited, by="the night watch")
        await alice.request("set_rule", agent_id=alice.id, rule={})
        await alice.request("set_skill", agent_id=alice.id, skill_md="# s")
        await alice.request("set_resume", agent_id=alice.id, resume={})
        await bob.request("unregister", agent_id=bob.id)
        records = await written(house.hub)
        assert [it.kind for it in records] == [
            "agent_registered",
            "agent_registered",
            "channel_created",
            "channel_closed",
            "rule_changed",
            "rule_changed",
            "skill_set",
            "resume_set",
            "agent_unregistered",
        ]
        created = records[2]
        assert (created.channel_id, created.by) == (channel_id, alice.id)
        assert created.details["participants"] == [alice.id, bob.id]
        first, second = records[4:6]
        assert (first.agent_id, first.by) == (alice.id, "the night watch")
        assert first.details == {"changed": ["limits.rate.per_minute"]}
        assert second.by == alice.id
        assert [it.position for it in records] == list(range(len(records)))


async def test_a_refused_credential_is_in_the_log_before_the_refusal_is_answered() -> None:
    auth = AuthRegistry([ApiKeyAuth(keys={"alice": "s3cret-of-alice"})])
    async with open_house(auth=auth) as house:
        peer = await house.peer()
        passport = {"name": "alice", "auth": {"scheme": "api_key"}}
        for token in ("wr0ng", "s3cret-of-alice"):
            passport["auth"] = {"scheme": "api_key", "claim": {"token": token}}
            try:
                await peer.request("register", passport=passport, resume={})
            except AuthError:
                assert len(house.hub.audit) == 1
        peer.send("hello", name="alice", auth_scheme="api_key", auth_claim={"token": "wr0ng"})
        await peer.expect("error")
        records = await written(house.hub)
        assert [it.kind for it in records] == ["auth_failed", "agent_registered", "auth_failed"]
        assert records[0].details["name"] == "alice"
        assert records[0].details["peer"]
        text = repr(records)
        assert "wr0ng" not in text
        assert "s3cret" not in text


async def test_a_name_that_is_taken_over_is_audited_with_both_connections() -> None:
    async with open_house() as house:
        await house.join("alice")
        again = await house.back("alice")
        *_, record = await written(house.hub)
        assert record.kind == "taken_over"
        assert record.agent_id == again.id
        assert record.details["lost_by"] != record.details["taken_by"]


async def test_what_cannot_be_delivered_is_audited_and_no_word_of_it() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob", acks=False)
        channel_id = await alice.open("conversation", bob)
        inbox = InboxBlock(max_pending=2, overflow="drop_newest")
        await house.hub.set_rule(bob.id, Rule(limits=LimitsBlock(inbox=inbox)))
        for number in range(4):
            await alice.say(channel_id, f"s3cret {number}")
        await bob.request(
            "report_turn_failure",
            channel_id=channel_id,
            agent_id=bob.id,
            envelope_id="e",
            error="s3cret",
        )
        records = [it for it in await written(house.hub) if it.channel_id == channel_id]
        assert "dropped" in [it.kind for it in records]
        assert records[-1].kind == "turn_failed"
        assert "s3cret" not in repr(records)


async def test_what_an_operator_does_is_audited() -> None:
    async with open_house(operators=["root"], allow_unauthenticated_operators=True) as house:
        root, alice = await house.join("root"), await house.join("alice")
        await root.request("health")
        await root.request("list_dead_letters", agent_id=alice.id)
        await alice.request("list_dead_letters", agent_id=alice.id)
        records = [it for it in await written(house.hub) if it.kind == "operator_action"]
        assert [(it.by, it.agent_id, it.details) for it in records] == [
            ("root", None, {"operation": "health"}),
            ("root", alice.id, {"operation": "list_dead_letters"}),
        ]


async def test_a_task_that_ends_is_audited() -> None:
    async with open_house() as house:
        alice = await house.join("alice")
        task = {"task_id": "t", "owner_id": alice.id, "spec": {"title": "x"}, "state": "running"}
        await alice.request("observe_task", metadata=task)
        await alice.request("update_task", task_id="t", state="failed", error="s3cret")
        *_, record = await written(house.hub)
        assert (record.kind, record.agent_id) == ("task_terminated", alice.id)
        assert record.details == {"task_id": "t", "outcome": "failed"}


async def test_an_application_can_add_records_of_its_own() -> None:
    async with open_house() as house:
        ticket = house.hub.audit.record("key_rotated", by="ops", details={"key": "k7"})
        await house.hub.audit.written(ticket)
        (record,) = (await house.hub.audit.query(kind="key_rotated")).records
        assert (record.by, record.details) == ("ops", {"key": "k7"})


# Asking


async def test_the_log_is_asked_by_kind_agent_channel_and_time() -> None:
    store = MemoryKnowledgeStore()
    now = [1e9]
    async with open_house(store, clock=lambda: now[0]) as house:
        audit = house.hub.audit
        for number in range(10):
            now[0] += 60
            audit.record(
                f"kind{number % 2}",
                agent_id=f"a{number % 3}",
                channel_id=f"c{number % 5}",
                by="a9",
                details={"n": number},
            )
        everything = await written(house.hub)

        async def numbers(**criteria: Any) -> list[int]:
            return [it.details["n"] for it in (await audit.query(**criteria)).records]

        assert await numbers(kind="kind1") == [1, 3, 5, 7, 9]
        assert await numbers(agent_id="a2") == [2, 5, 8]
        assert await numbers(agent_id="a9") == list(range(10))
        assert await numbers(channel_id="c4", kind="kind0") == [4]
        assert await numbers(since=everything[3].at, until=everything[6].at) == [3, 4, 5]
        assert await numbers(kind="no such") == []


async def test_the_log_is_read_in_pages_from_its_end_and_each_record_once() -> None:
    async with open_house() as house:
        audit = house.hub.audit
        for number in range(1234):
            audit.record("odd" if number % 2 else "even", details={"n": number})
        await written(house.hub)
        for kind, expected in (("odd", range(1, 1234, 2)), (None, range(1234))):
            found: list[int] = []
            before = None
            while before != 0:
                page = await audit.query(kind=kind, limit=100, before=before)
                assert len(page.records) <= 100
                found[:0] = [it.details["n"] for it in page.records]
                before = page.start
            assert found == list(expected)


async def test_a_tail_hears_of_every_record_once_however_slow_it_is() -> None:
    async with open_house() as house:
        audit = house.hub.audit
        audit.record("before")
        await written(house.hub)
        tail, everything = audit.tail(), audit.tail(since=0)
        for number in range(1500):
            audit.record("meanwhile", details={"n": number})
        await written(house.hub)
        with trio.fail_after(PATIENCE_SECONDS):
            heard = [(await anext(tail)).details["n"] for _ in range(1500)]
            assert heard == list(range(1500))
            assert (await anext(everything)).kind == "before"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: _note_later(house.hub))
                assert (await anext(tail)).kind == "later"


async def _note_later(hub: Hub) -> None:
    await trio.testing.wait_all_tasks_blocked()
    hub.audit.record("later")


async def test_an_operator_reads_the_log_over_the_wire_and_nobody_else() -> None:
    async with (
        open_house(operators=["ops"], allow_unauthenticated_operators=True) as house,
        HubClient(LocalLink(house.hub)) as client,
        HubClient(LocalLink(house.hub)) as other,
    ):
        await client.register_human(Passport(name="ops"))
        await other.register_human(Passport(name="alice"))
        page = await client.read_audit(kind="agent_registered", limit=1)
        assert [it.details["name"] for it in page.records] == ["alice"]
        rest = await client.read_audit(kind="agent_registered", before=page.start)
        assert [it.details["name"] for it in rest.records] == ["ops"]
        # Reading it is something that an operator does.
        assert (await client.read_audit(kind="operator_action")).records[0].by == "ops"
        with pytest.raises(ProtocolError, match="'noon' is no time"):
            await client.read_audit(since="noon")
        with pytest.raises(AccessDeniedError):
            await other.read_audit()


# The chain


async def test_the_chain_goes_on_after_a_restart() -> None:
    store = MemoryKnowledgeStore()
    async with store:
        for name in ("alice", "bob"):
            async with open_house(store) as house:
                await house.join(name)
                await written(house.hub)
        raws = await raw_records(store)
        async with open_house(store) as house:
            assert (await house.hub.audit.verify()).problem is None
            health = house.hub.health()
    assert len(raws) == 2
    chain = check(raws)
    assert chain.problem is None
    assert (health.audit_records, health.audit_head) == (2, chain.head)


def chained(count: int) -> list[bytes]:
    raws, head = [], ""
    for position in range(count):
        record = AuditRecord(
            position=position,
            at="2026-01-01T00:00:00+00:00",
            kind="k",
            details={"n": position},
            previous=head,
        )
        raw, sealed = seal(record)
        head = sealed.hash
        raws.append(raw)
    return raws


def reseal(raw: bytes, **changes: Any) -> bytes:
    fields = json.loads(raw) | changes
    return seal(AuditRecord(**fields))[0]


def changed(raws: list[bytes]) -> list[bytes]:
    return [*raws[:3], raws[3].replace(b'"n":3', b'"n":7'), *raws[4:]]


def removed(raws: list[bytes]) -> list[bytes]:
    return raws[:3] + raws[4:]


def renumbered(raws: list[bytes]) -> list[bytes]:
    return raws[:3] + [reseal(it, position=n) for n, it in enumerate(raws[4:], 3)]


def inserted(raws: list[bytes]) -> list[bytes]:
    return [*raws[:3], raws[2], *raws[3:]]


def swapped(raws: list[bytes]) -> list[bytes]:
    return [*raws[:3], raws[4], raws[3], *raws[5:]]


def garbled(raws: list[bytes]) -> list[bytes]:
    return [*raws[:3], b"{}", *raws[4:]]


@pytest.mark.parametrize("tamper", [changed, removed, renumbered, inserted, swapped, garbled])
def test_whatever_is_done_to_a_record_the_first_bad_one_is_named(tamper: Any) -> None:
    raws = chained(6)
    assert check(raws).problem is None
    chain = check(tamper(raws))
    assert chain.problem is not None
    assert chain.records == 3


def test_a_record_that_was_written_anew_with_its_hash_shows_at_the_next_one() -> None:
    raws = chained(6)
    chain = check([*raws[:3], reseal(raws[3], kind="other"), *raws[4:]])
    assert chain.records == 4
    assert chain.problem is not None
    assert "does not follow" in chain.problem


def test_a_log_cut_short_has_another_head() -> None:
    raws = chained(6)
    whole, short = check(raws), check(raws[:-1])
    assert short.problem is None
    assert (short.records, short.head) != (whole.records, whole.head)


async def test_a_damaged_record_costs_itself_and_the_hub_opens(tmp_path: Path) -> None:
    store = DiskKnowledgeStore(tmp_path)
    async with audit_log(store) as audit:
        for number in range(5):
            audit.record("k", details={"n": number})
    damage(tmp_path, 2)
    async with open_house(DiskKnowledgeStore(tmp_path)) as house:
        chain = await house.hub.audit.verify()
        assert chain.records == 2
        assert chain.problem is not None
        assert "cannot be read" in chain.problem
        found = (await house.hub.audit.query(kind="k")).records
        assert [it.details["n"] for it in found] == [0, 1, 3, 4]
        await house.join("alice")
        assert (await kinds(house.hub))[-1] == "agent_registered"


def damage(directory: Path, position: int) -> None:
    """Change a record of the audit log behind the store's back."""
    with closing(sqlite3.connect(directory / DATABASE_NAME)) as database, database:
        touched = database.execute(
            "UPDATE records SET record = CAST('x' AS BLOB) "
            "WHERE place = (SELECT log_id << 32 FROM logs WHERE path = ?) + ?",
            (paths.AUDIT_LOG, position),
        )
        assert touched.rowcount == 1


# A disk that fails


@pytest.mark.parametrize("after", [False, True], ids=["not kept", "kept all the same"])
async def test_no_record_is_lost_or_doubled_when_a_commit_fails(
    after: bool, autojump_clock: MockClock
) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with audit_log(store) as audit:
        audit.record("k", details={"n": 0})
        await trio.testing.wait_all_tasks_blocked()
        store.fail("commit", after=after)
        for number in range(1, 4):
            audit.record("k", details={"n": number})
        await trio.testing.wait_all_tasks_blocked()
        audit.record("k", details={"n": 4})
        await trio.sleep(5)
        assert audit.waiting == 0
        raws = await raw_records(store)
        assert [json.loads(it)["details"]["n"] for it in raws] == list(range(5))
        assert check(raws).problem is None


async def test_records_wait_for_a_disk_that_stays_broken_and_are_written_when_it_works(
    autojump_clock: MockClock,
) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with audit_log(store) as audit:
        store.fail_commits("the disk is full")
        for number in range(3):
            ticket = audit.record("k", details={"n": number})
            with trio.fail_after(PATIENCE_SECONDS):
                # Whoever waits does not wait for the disk to be mended.
                await audit.written(ticket)
        await trio.sleep(30)
        assert audit.waiting == 3
        store.heal()
        await trio.sleep(30)
        assert audit.waiting == 0
        raws = await raw_records(store)
        assert [json.loads(it)["details"]["n"] for it in raws] == [0, 1, 2]
        assert check(raws).problem is None


async def test_those_who_come_in_wait_while_too_many_records_wait_for_the_disk() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with open_house(store) as house:
        await house.join("alice")
        await written(house.hub)
        with store.hold_commits():
            for _ in range(10_001):
                house.hub.audit.record("flood")
            peer = await house.peer()
            peer.send("hello", name="alice", since_envelope_id="")
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not [it for it in peer.history if it["kind"] == "welcome"]
        await peer.expect("welcome")


async def test_a_post_never_waits_for_the_audit_log() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await written(house.hub)
        before = len(house.hub.audit)
        for number in range(10):
            await alice.say(channel_id, str(number))
        await bob.quiet()
        assert len(house.hub.audit) == before
        assert house.hub.audit.waiting == 0


async def test_a_log_that_cannot_be_read_when_the_hub_opens_is_a_problem_not_an_end(
    autojump_clock: MockClock,
) -> None:
    inner = MemoryKnowledgeStore()
    async with inner:
        async with audit_log(inner) as audit:
            audit.record("k")
        store = FaultyStore(inner)
        store.fail("length")
        async with open_house(store) as house:
            assert [it for it in house.hub.health().problems if "audit log" in it]
            await house.join("alice")
            await trio.sleep(5)
            assert await kinds(house.hub) == ["k", "agent_registered"]
            assert (await house.hub.audit.verify()).problem is None
