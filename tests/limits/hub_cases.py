"""What one hub takes."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hub import (
    ApiKeyAuth,
    AuthRegistry,
    DeliveryPolicy,
    HubLimits,
    MemoryKnowledgeStore,
    OperatorRule,
)
from trio_hub.errors import AccessDeniedError, ProtocolError, TooLarge
from trio_hub.hub import paths
from trio_hub.ids import seconds_from_id
from trio_hub.testing import FaultyStore
from trio_hub.wire.validation import encode

from ..hub.peer import House, Peer, open_house
from .registry import case, text

KEYS = {"alice": "s3cret", "bob": "t0ken"}
START = 1_700_000_000.5


def hub_time() -> float:
    return START + trio.current_time()


def house_of(store: Any = None, **limits: Any) -> AbstractAsyncContextManager[House]:
    return open_house(store, limits=HubLimits(**limits))


def guarded_house(**limits: Any) -> AbstractAsyncContextManager[House]:
    return open_house(auth=AuthRegistry([ApiKeyAuth(keys=KEYS)]), limits=HubLimits(**limits))


async def pair(house: House) -> tuple[Peer, Peer, str]:
    alice, bob = await house.join("alice"), await house.join("bob")
    return alice, bob, await alice.open("conversation", bob)


async def registers(peer: Peer, name: str) -> None:
    block = {"scheme": "api_key", "claim": {"token": KEYS[name]}}
    await peer.request("register", passport={"name": name, "auth": block}, resume={})


async def is_let_in(peer: Peer, name: str, token: str) -> str:
    """Say hello; return the code of the error, or "welcome"."""
    peer.send("hello", name=name, auth_scheme="api_key", auth_claim={"token": token})
    while not (found := [it for it in peer.frames if it["kind"] in ("welcome", "error")]):
        await peer.quiet()
    peer.frames.remove(found[0])
    return str(found[0].get("code", "welcome"))


@case(HubLimits, "envelope_bytes_max")
async def envelope_bytes() -> None:
    # One clock that stands still, so that times are equally long.
    async with open_house(clock=lambda: START) as house:
        alice, _, channel_id = await pair(house)
        await alice.say(channel_id, text(1000))
        channel = house.hub.channels.find(channel_id)
        assert channel is not None
        records = await house.hub.channels.read(channel, channel.length - 1, channel.length)
        size = len(records[0].raw)
    limits = HubLimits(envelope_bytes_max=size)
    async with open_house(clock=lambda: START, limits=limits) as house:
        alice, _, channel_id = await pair(house)
        await alice.say(channel_id, text(1000))
        with pytest.raises(TooLarge):
            await alice.say(channel_id, text(1001))


@case(HubLimits, "requests_in_flight_max")
async def requests_in_flight() -> None:
    for unanswered in (1, 2, 3):
        store = FaultyStore(MemoryKnowledgeStore())
        async with house_of(store, requests_in_flight_max=3) as house:
            busy, other = await house.join("busy"), await house.join("other")
            with store.hold_commits():
                for _ in range(unanswered):
                    busy.ask("set_skill", agent_id=busy.id, skill_md="x")
                await other.quiet()
                # It is one more, and itself answered at once where it is read.
                late = busy.ask("find_agent_id", name="busy")
                await other.quiet()
                assert busy.is_answered(late) == (unanswered < 3)


@case(HubLimits, "request_bytes_in_flight_max")
async def request_bytes_in_flight() -> None:
    for fits in (True, False):
        store = FaultyStore(MemoryKnowledgeStore())
        async with house_of(store, request_bytes_in_flight_max=1_000) as house:
            busy, other = await house.join("busy"), await house.join("other")
            params = {"agent_id": busy.id, "skill_md": ""}
            # A character of a request's id counts for four bytes.
            rest = 1_000 - len(json.dumps(params)) - 4 * len("busy")
            params["skill_md"] = "x" * (rest - fits)
            with store.hold_commits():
                busy.send("request", request_id="busy", op="set_skill", params=params)
                await other.quiet()
                late = busy.ask("find_agent_id", name="busy")
                await other.quiet()
                assert busy.is_answered(late) == fits


@case(HubLimits, "malformed_frames_per_minute", virtual=True)
async def malformed_frames() -> None:
    async with house_of(malformed_frames_per_minute=3) as house:
        rude = await house.join("rude")
        for _ in range(3):
            rude.send_text("no frame")
        await rude.quiet()
        assert rude.lost_because is None
        rude.send_text("no frame")
        assert "too many malformed frames" in await rude.gone()


@case(HubLimits, "authentication_seconds", virtual=True)
async def authentication() -> None:
    async with guarded_house(authentication_seconds=10.0) as house:
        stranger = await house.peer()
        await trio.sleep(9.99)
        assert stranger.lost_because is None
        await trio.sleep(0.02)
        assert "no credential" in await stranger.gone()


@case(HubLimits, "unauthenticated_connections_max", virtual=True)
async def unauthenticated_connections() -> None:
    async with guarded_house(unauthenticated_connections_max=3) as house:
        peers = []
        for _ in range(3):
            peers.append(await house.peer())
            await wait_all_tasks_blocked()
        assert [it.lost_because for it in peers] == [None] * 3
        await house.peer()
        await peers[0].gone()
        assert [it.lost_because for it in peers[1:]] == [None] * 2


@case(HubLimits, "names_before_authentication_max")
async def names_before_authentication() -> None:
    async with guarded_house(names_before_authentication_max=3) as house:
        peer = await house.peer()
        for number in range(3):
            assert await peer.request("find_agent_id", name=f"n{number}") is None
        with pytest.raises(AccessDeniedError):
            await peer.request("find_agent_id", name="n3")


@case(HubLimits, "failed_authentications_per_minute", virtual=True)
async def failed_authentications() -> None:
    for failures, answer in ((2, "welcome"), (3, "rate_limited")):
        async with guarded_house(failed_authentications_per_minute=3) as house:
            await registers(await house.peer(), "alice")
            eve = await house.peer()
            for _ in range(failures):
                assert await is_let_in(eve, "alice", "guess") == "auth_failed"
            assert await is_let_in(eve, "alice", KEYS["alice"]) == answer


@case(HubLimits, "failed_authentications_per_address_per_minute", virtual=True)
async def failed_authentications_per_address() -> None:
    for failures, answer in ((2, "welcome"), (3, "rate_limited")):
        async with guarded_house(failed_authentications_per_address_per_minute=3) as house:
            await registers(await house.peer(), "alice")
            eve = await house.peer()
            for number in range(failures):
                assert await is_let_in(eve, f"name{number}", "guess") == "auth_failed"
            assert await is_let_in(eve, "alice", KEYS["alice"]) == answer


@case(HubLimits, "failed_authentications_kept_max", virtual=True)
async def failed_authentications_kept() -> None:
    limits = {"failed_authentications_per_minute": 1, "failed_authentications_kept_max": 3}
    for others, answer in ((2, "rate_limited"), (3, "auth_failed")):
        async with guarded_house(**limits) as house:
            eve = await house.peer()
            for name in ("alice", *(f"name{number}" for number in range(others))):
                assert await is_let_in(eve, name, "guess") == "auth_failed"
            assert await is_let_in(eve, "alice", "guess") == answer


@case(HubLimits, "identities_per_connection_max")
async def identities_per_connection() -> None:
    async with house_of(identities_per_connection_max=2) as house:
        peer = await house.join("alice", "bob")
        with pytest.raises(AccessDeniedError):
            await peer.register("carol")


@case(HubLimits, "participants_max")
async def participants() -> None:
    async with house_of(participants_max=2) as house:
        alice, bob, carol = [await house.join(it) for it in ("alice", "bob", "carol")]
        await alice.open("discussion", bob)
        with pytest.raises(ProtocolError):
            await alice.open("discussion", bob, carol)
        channel_id = await alice.open("discussion", bob)
        await alice.say(channel_id, "hi", audience=[bob.id] * 2)
        with pytest.raises(ProtocolError):
            await alice.say(channel_id, "hi", audience=[bob.id] * 3)


def expectation(seconds: float) -> dict[str, Any]:
    return {"name": "max_silence", "on_violation": "audit", "params": {"seconds": seconds}}


@case(HubLimits, "expectations_max")
async def expectations() -> None:
    async with house_of(expectations_max=2) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        await alice.open("conversation", bob, expectations=[expectation(60)] * 2)
        with pytest.raises(ProtocolError):
            await alice.open("conversation", bob, expectations=[expectation(60)] * 3)


@case(HubLimits, "expectation_seconds_min")
async def expectation_seconds() -> None:
    async with house_of(expectation_seconds_min=5) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        await alice.open("conversation", bob, expectations=[expectation(5)])
        with pytest.raises(ProtocolError):
            await alice.open("conversation", bob, expectations=[expectation(4.99)])


@case(HubLimits, "page_records_max")
async def page_records() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with house_of(store, page_records_max=8) as house:
        alice, _, channel_id = await pair(house)
        while len(await alice.request("read_wal", channel_id=channel_id)) < 8:
            await alice.say(channel_id, "more")
        for reads in (1, 2):
            before = store.operations["read_range"]
            await alice.request("read_wal", channel_id=channel_id)
            assert store.operations["read_range"] - before == reads
            tail = await alice.request("read_tail", channel_id=channel_id, limit=100)
            assert (len(tail["envelopes"]), tail["start"]) == (8, reads - 1)
            await alice.say(channel_id, "one past it")


@case(HubLimits, "dead_letters_per_agent_max")
async def dead_letters() -> None:
    once = DeliveryPolicy(max_attempts=1)
    limits = HubLimits(dead_letters_per_agent_max=2)
    async with open_house(delivery=once, limits=limits) as house:
        alice, bob, channel_id = await pair(house)
        await bob.quiet()
        bob.acks = False
        died: list[str] = []
        for number in range(3):
            died.append(await alice.say(channel_id, str(number)))
            bob.nack(await bob.hears(str(number)))
            await bob.quiet()
            letters = house.hub.list_dead_letters().letters
            assert [it.envelope_id for it in letters] == died[-2:]


async def observes(alice: Peer, number: int, state: str, **fields: Any) -> None:
    metadata = {
        **fields,
        "task_id": f"t{number}",
        "owner_id": alice.id,
        "spec": {"title": str(number)},
        "state": state,
    }
    await alice.request("observe_task", metadata=metadata)


@case(HubLimits, "agents_per_answer_max")
async def agents_per_answer() -> None:
    async with house_of(agents_per_answer_max=2) as house:
        peers = []
        for name, shown in (("a", ["a"]), ("b", ["a", "b"]), ("c", ["a", "b"])):
            peers.append(await house.join(name))
            for limit in (None, 100):
                listed = await peers[0].request("list_agents", limit=limit)
                assert [it["name"] for it in listed] == shown
        rest = await peers[0].request("list_agents", after=peers[1].id)
        assert [it["name"] for it in rest] == ["c"]


@case(HubLimits, "names_per_request_max")
async def names_per_request() -> None:
    async with house_of(names_per_request_max=2) as house:
        alice = await house.join("alice")
        ids = [alice.id, "other"]
        assert await alice.request("names_for", agent_ids=ids) == {
            alice.id: "alice",
            "other": "other",
        }
        with pytest.raises(ProtocolError):
            await alice.request("names_for", agent_ids=[*ids, "third"])


@case(HubLimits, "channels_per_answer_max")
async def channels_per_answer() -> None:
    async with house_of(channels_per_answer_max=2) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        opened = []
        for shown in (1, 2, 2):
            opened.append(await alice.open("conversation", bob))
            for limit in (None, 100):
                listed = await alice.request("list_channels", agent_id=alice.id, limit=limit)
                assert [it["channel_id"] for it in listed] == opened[:shown]
        after = f"{listed[-1]['created_at']} {listed[-1]['channel_id']}"
        rest = await alice.request("list_channels", agent_id=alice.id, after=after)
        assert [it["channel_id"] for it in rest] == opened[2:]


@case(HubLimits, "turns_per_answer_max")
async def turns_per_answer() -> None:
    async with house_of(turns_per_answer_max=2) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        opened = []
        for shown in (1, 2, 2):
            opened.append(await alice.open("consulting", bob))
            await alice.say(opened[-1], "well?")
            turns = await bob.request("pending_turns_for", agent_id=bob.id)
            assert [it["channel_id"] for it in turns] == sorted(opened)[:shown]
        rest = await bob.request(
            "pending_turns_for", agent_id=bob.id, after=turns[-1]["channel_id"]
        )
        assert [it["channel_id"] for it in rest] == sorted(opened)[2:]


@case(HubLimits, "task_bytes_max")
async def task_bytes() -> None:
    async with open_house(clock=lambda: START) as house:
        alice = await house.join("alice")
        await observes(alice, 0, "running")
        await alice.request("update_task", task_id="t0", progress={"a": text(100)})
        size = len(encode(house.hub.tasks.get("t0")))
    limits = HubLimits(task_bytes_max=size)
    async with open_house(clock=lambda: START, limits=limits) as house:
        alice = await house.join("alice")
        await observes(alice, 0, "running")
        await alice.request("update_task", task_id="t0", progress={"a": text(100)})
        for more in ({"a": text(101)}, {"b": ""}):
            with pytest.raises(TooLarge):
                await alice.request("update_task", task_id="t0", progress=more)
        with pytest.raises(TooLarge):
            await observes(alice, 1, "running", progress={"a": text(size)})
        # It can end all the same.
        await alice.request("update_task", task_id="t0", state="completed")


@case(HubLimits, "tasks_per_answer_max")
async def tasks_per_answer() -> None:
    async with house_of(tasks_per_answer_max=2) as house:
        alice = await house.join("alice")
        for number, shown in ((0, 1), (1, 2), (2, 2)):
            await observes(alice, number, "running")
            tasks = await alice.request("list_tasks", agent_id=alice.id)
            assert len(tasks) == shown


@case(HubLimits, "ended_tasks_per_owner_max")
async def ended_tasks() -> None:
    async with house_of(ended_tasks_per_owner_max=2) as house:
        alice = await house.join("alice")
        for number, kept in ((0, ["t0"]), (1, ["t0", "t1"]), (2, ["t1", "t2"])):
            await observes(alice, number, "running")
            await alice.request("update_task", task_id=f"t{number}", state="completed")
            await alice.quiet()
            tasks = await alice.request("list_tasks", agent_id=alice.id)
            assert [it["task_id"] for it in tasks] == kept


@case(HubLimits, "observed_capabilities_max")
async def observed_capabilities() -> None:
    async with house_of(observed_capabilities_max=2) as house:
        alice = await house.join("alice")

        async def observe(capability: str) -> None:
            await alice.request(
                "record_observation",
                owner_id=alice.id,
                capability=capability,
                outcome="completed",
            )

        for capability in ("law", "tax", "law"):
            await observe(capability)
        with pytest.raises(ProtocolError):
            await observe("art")


@case(HubLimits, "operator_rules_max")
async def operator_rules() -> None:
    async with house_of(operator_rules_max=2) as house:
        for name in ("alice", "bob"):
            await house.hub.set_operator_rule(name, OperatorRule())
        with pytest.raises(ProtocolError):
            await house.hub.set_operator_rule("carol", OperatorRule())


@case(HubLimits, "revocations_max")
async def revocations() -> None:
    async with house_of(revocations_max=2) as house:
        for name in ("alice", "bob"):
            await house.hub.revoke_agent(name, "no reason")
        with pytest.raises(ProtocolError):
            await house.hub.revoke_agent("carol", "no reason")


@case(HubLimits, "snapshot_records", virtual=True)
async def snapshot_records() -> None:
    store = MemoryKnowledgeStore()
    async with house_of(store, snapshot_records=8) as house:
        alice, _, channel_id = await pair(house)
        channel = house.hub.channels.find(channel_id)
        assert channel is not None
        while channel.length < 8:
            await trio.sleep(60)
            assert await store.read(paths.snapshot(channel_id)) is None
            await alice.say(channel_id, "more")
        await trio.sleep(60)
        assert await store.read(paths.snapshot(channel_id)) is not None


@case(HubLimits, "cursor_flush_seconds", virtual=True)
async def cursor_flush() -> None:
    store = MemoryKnowledgeStore()
    async with house_of(store, cursor_flush_seconds=5.0) as house:
        alice, bob, channel_id = await pair(house)
        await trio.sleep(60)
        path = paths.cursor(bob.id, channel_id)
        before = await store.read(path)
        await alice.say(channel_id, "hi")
        await bob.hears("hi")
        await bob.quiet()
        await trio.sleep(4.9)
        assert await store.read(path) == before
        await trio.sleep(0.2)
        assert await store.read(path) != before


@case(HubLimits, "id_lease_seconds", virtual=True)
async def id_lease() -> None:
    store = MemoryKnowledgeStore()
    async with open_house(store, clock=hub_time, limits=HubLimits(id_lease_seconds=10.0)) as house:
        alice, _, channel_id = await pair(house)
        floor = await store.read(paths.ID_FLOOR)
        assert floor is not None
        assert seconds_from_id(floor.decode()) - hub_time() == pytest.approx(10.0, abs=0.1)
        await trio.sleep(9.9)
        await alice.say(channel_id, "still leased")
        assert await store.read(paths.ID_FLOOR) == floor
        await trio.sleep(0.2)
        await alice.say(channel_id, "a new lease")
        assert await store.read(paths.ID_FLOOR) != floor
