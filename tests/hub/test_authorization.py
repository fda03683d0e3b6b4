"""
Who may call what: every operation, asked by everybody.

Alice is the one that an operation is about: it created the channel and owns the task. Bob is a
member of the channel, Mallory is registered and nothing else, Nobody has not said who it is, and
Ops is an operator of the hub.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from trio_hub import ApiKeyAuth, AuthRegistry, DeliveryPolicy
from trio_hub.errors import AccessDeniedError, NetworkError, NotFoundError
from trio_hub.records import EV_TEXT
from trio_hub.wire.operations import OPERATIONS, Caller

from .peer import House, Peer, open_house

ALICE, BOB, MALLORY, NOBODY, OPS = "alice", "bob", "mallory", "nobody", "ops"
EVERYBODY = (ALICE, BOB, MALLORY, NOBODY, OPS)

#: Who may call, by the last column of wire.md's table.
ALLOWED = {
    Caller.ANY: {ALICE, BOB, MALLORY, NOBODY, OPS},
    Caller.ADMITTED: {ALICE, BOB, MALLORY, NOBODY, OPS},
    Caller.ARRIVING: {ALICE, BOB, MALLORY, NOBODY, OPS},
    Caller.BOUND: {ALICE, BOB, MALLORY, OPS},
    Caller.MEMBER: {ALICE, BOB},
    Caller.SELF: {ALICE},
    Caller.OWNER: {ALICE},
    Caller.OPERATOR: {OPS},
    Caller.SELF_OR_OPERATOR: {ALICE, OPS},
    Caller.MEMBER_OR_OPERATOR: {ALICE, BOB, OPS},
    # None of them is a hub.
    Caller.PEER: set(),
}


@attrs.frozen
class World:
    """One of each."""

    peers: dict[str, Peer]
    channel_id: str
    alice_id: str
    bob_id: str
    letter_id: str


@asynccontextmanager
async def world(*, guarded: bool = False) -> AsyncIterator[World]:
    """
    Open a hub with everybody in it.

    Args:
        guarded: Everybody needs a key; otherwise anybody may be anybody.
    """
    keys = ApiKeyAuth(keys={name: f"key of {name}" for name in EVERYBODY})
    async with open_house(
        auth=AuthRegistry([keys]) if guarded else None,
        operators=[OPS],
        allow_unauthenticated_operators=True,
        delivery=DeliveryPolicy(max_attempts=1),
    ) as house:
        peers = {name: await _come_in(house, name, guarded) for name in EVERYBODY}
        alice, bob = peers[ALICE], peers[BOB]
        channel_id = await alice.open("conversation", bob)
        await alice.request("observe_task", metadata=_task(alice.id, channel_id))
        await alice.request("checkpoint_task", task_id="kept", state={"step": 1})
        yield World(peers, channel_id, alice.id, bob.id, await _let_die(alice, bob, channel_id))


async def _come_in(house: House, name: str, guarded: bool) -> Peer:
    peer = await house.peer()
    if name == NOBODY:
        return peer
    if not guarded:
        await peer.register(name)
        return peer
    block = {"scheme": "api_key", "claim": {"token": f"key of {name}"}}
    passport = await peer.request("register", passport={"name": name, "auth": block}, resume={})
    peer.ids[name] = passport["agent_id"]
    return peer


async def _let_die(alice: Peer, bob: Peer, channel_id: str) -> str:
    """Make a dead letter of Alice, and return the id of its envelope."""
    alice.acks = False
    letter_id = await bob.say(channel_id, "poison")
    alice.nack(await alice.hears("poison"))
    await alice.quiet()
    alice.acks = True
    return letter_id


def _task(owner_id: str, channel_id: str | None, task_id: str = "errand") -> dict[str, Any]:
    return {
        "task_id": task_id,
        "owner_id": owner_id,
        "spec": {"title": "x"},
        "state": "running",
        "channel_id": channel_id,
    }


Params = Callable[[World], dict[str, Any]]

#: What is asked, of Alice, her channel or her task. Every operation has a row.
ROWS: dict[str, Params] = {
    "register": lambda w: {"passport": {"name": "newcomer"}},
    "unregister": lambda w: {"agent_id": w.alice_id},
    "get_agent": lambda w: {"name_or_id": ALICE},
    "find_agent_id": lambda w: {"name": ALICE},
    "names_for": lambda w: {"agent_ids": [w.alice_id]},
    "list_agents": lambda w: {},
    "get_resume": lambda w: {"agent_id": w.alice_id},
    "find_peers": lambda w: {"agent_id": w.alice_id},
    "get_track_record": lambda w: {"agent_id": w.alice_id},
    "get_skill": lambda w: {"agent_id": w.alice_id},
    "get_rule": lambda w: {"agent_id": w.alice_id},
    "set_resume": lambda w: {"agent_id": w.alice_id, "resume": {}},
    "set_skill": lambda w: {"agent_id": w.alice_id, "skill_md": "x"},
    "set_rule": lambda w: {"agent_id": w.alice_id, "rule": {}},
    "get_delivery_rule": lambda w: {"agent_id": w.alice_id},
    "set_delivery_rule": lambda w: {"agent_id": w.alice_id, "rule": {}},
    "create_channel": lambda w: {
        "creator_id": w.alice_id,
        "manifest_type": "conversation",
        "participants": [w.bob_id],
    },
    "get_channel": lambda w: {"channel_id": w.channel_id},
    "close_channel": lambda w: {"channel_id": w.channel_id},
    "list_channels": lambda w: {},
    "post_envelope": lambda w: {
        "envelope": {
            "channel_id": w.channel_id,
            "sender_id": w.alice_id,
            "event_type": EV_TEXT,
            "event_data": {"text": "hi"},
        }
    },
    "read_tail": lambda w: {"channel_id": w.channel_id},
    "read_wal": lambda w: {"channel_id": w.channel_id},
    "read_standing": lambda w: {"channel_id": w.channel_id, "envelope_id": w.letter_id},
    "find_envelope_by_causation": lambda w: {
        "channel_id": w.channel_id,
        "sender_id": w.alice_id,
        "causation_id": "x",
    },
    "can_send": lambda w: {"channel_id": w.channel_id, "sender_id": w.alice_id},
    "pending_turns_for": lambda w: {"agent_id": w.alice_id},
    "report_turn_failure": lambda w: {
        "channel_id": w.channel_id,
        "agent_id": w.alice_id,
        "envelope_id": "x",
        "error": "e",
    },
    "observe_task": lambda w: {"metadata": _task(w.alice_id, w.channel_id, "another")},
    "update_task": lambda w: {"task_id": "errand", "progress": {"half": True}},
    "get_task": lambda w: {"task_id": "errand"},
    "list_tasks": lambda w: {},
    "swap_task_checkpoint": lambda w: {"task_id": "errand", "state": {}, "generation": 0},
    "read_task_generation": lambda w: {"task_id": "errand"},
    "lease_task": lambda w: {"task_id": "errand", "holder": "h", "seconds": 1},
    "release_task": lambda w: {"task_id": "errand", "holder": "h"},
    "wait_task": lambda w: {"task_id": "errand", "wait_seconds": 0},
    "record_observation": lambda w: {
        "owner_id": w.alice_id,
        "capability": "c",
        "outcome": "completed",
        "task_id": "errand",
    },
    "fire_task_event": lambda w: {"task_id": "errand", "kind": "mirror_failed", "payload": {}},
    "checkpoint_task": lambda w: {"task_id": "errand", "state": {"step": 2}},
    "read_task_checkpoint": lambda w: {"task_id": "errand"},
    "set_operator_rule": lambda w: {"name": ALICE, "rule": {}},
    "get_operator_rule": lambda w: {"name": ALICE},
    "list_operator_rules": lambda w: {"after": ALICE},
    "revoke_agent": lambda w: {"name": ALICE, "reason": "why"},
    "reinstate_agent": lambda w: {"name": ALICE},
    "list_revocations": lambda w: {"after": ALICE},
    "get_effective_rule": lambda w: {"agent_id": w.alice_id},
    "list_dead_letters": lambda w: {"agent_id": w.alice_id},
    "read_dead_letter": lambda w: {"agent_id": w.alice_id, "envelope_id": w.letter_id},
    "replay_dead_letter": lambda w: {"agent_id": w.alice_id, "envelope_id": w.letter_id},
    "discard_dead_letter": lambda w: {"agent_id": w.alice_id, "envelope_id": w.letter_id},
    "health": lambda w: {},
    "drain": lambda w: {},
    "read_audit": lambda w: {},
    "cross_envelope": lambda w: {
        "crossing": {
            "path": ["elsewhere"],
            "envelope": {
                "channel_id": w.channel_id,
                "sender_id": "hub://elsewhere/x",
                "event_type": EV_TEXT,
                "event_data": {},
            },
        }
    },
    "cross_agents": lambda w: {"to": "here", "serial": "1"},
    "cross_can_send": lambda w: {"channel_id": w.channel_id, "sender": "hub://elsewhere/x"},
}


def test_every_operation_has_a_row() -> None:
    assert sorted(ROWS) == sorted(OPERATIONS)


@pytest.mark.parametrize("who", EVERYBODY)
@pytest.mark.parametrize("op", sorted(OPERATIONS))
async def test_who_may_may_and_who_may_not_is_refused(op: str, who: str) -> None:
    async with world() as w:
        asking = w.peers[who].ask(op, **ROWS[op](w))
        error: NetworkError | None = None
        try:
            await w.peers[who].answer(asking)
        except NetworkError as raised:
            error = raised
        if who in ALLOWED[OPERATIONS[op].caller]:
            # A task that one may not see is not there.
            hidden = op in ("get_task", "wait_task") and who in (MALLORY, OPS)
            assert type(error) is (NotFoundError if hidden else type(None)), error
        else:
            assert type(error) is AccessDeniedError
        if op == "drain" and error is None:
            return
        # A refusal ends nothing.
        assert await w.peers[who].request("find_agent_id", name="x") is None


# What the table cannot say


@pytest.mark.parametrize("who", [BOB, MALLORY])
async def test_ones_channels_are_ones_own_to_list(who: str) -> None:
    async with world() as w:
        with pytest.raises(AccessDeniedError):
            await w.peers[who].request("list_channels", agent_id=w.alice_id)
        listed = await w.peers[who].request("list_channels")
        assert [it["channel_id"] for it in listed] == ([w.channel_id] if who == BOB else [])


@pytest.mark.parametrize(("who", "sees"), [(ALICE, True), (BOB, True), (MALLORY, False)])
async def test_tasks_are_seen_by_their_owner_and_its_channel(who: str, sees: bool) -> None:
    async with world() as w:
        listed = await w.peers[who].request("list_tasks")
        assert [it["task_id"] for it in listed] == (["errand"] if sees else [])


async def test_a_task_without_a_channel_is_its_owners_alone() -> None:
    async with world() as w:
        alice, bob = w.peers[ALICE], w.peers[BOB]
        await alice.request("observe_task", metadata=_task(w.alice_id, None, "private"))
        assert (await alice.request("get_task", task_id="private"))["owner_id"] == w.alice_id
        with pytest.raises(NotFoundError):
            await bob.request("get_task", task_id="private")


async def test_a_task_is_observed_only_in_a_channel_of_its_owner() -> None:
    async with world() as w:
        mallory = w.peers[MALLORY]
        for channel_id in (w.channel_id, "nowhere"):
            with pytest.raises(AccessDeniedError):
                await mallory.request(
                    "observe_task", metadata=_task(mallory.id, channel_id, "mine")
                )


async def test_nobody_takes_a_task_over_by_observing_it() -> None:
    async with world() as w:
        mallory = w.peers[MALLORY]
        for task_id in ("errand", "kept"):
            with pytest.raises(AccessDeniedError):
                await mallory.request("observe_task", metadata=_task(mallory.id, None, task_id))
        assert (await w.peers[BOB].request("get_task", task_id="errand"))["owner_id"] == w.alice_id


async def test_a_checkpoint_is_for_its_first_writer_and_then_for_the_owner() -> None:
    async with world() as w:
        alice, mallory = w.peers[ALICE], w.peers[MALLORY]
        assert await alice.request("read_task_checkpoint", task_id="kept") == {"step": 1}
        for op, params in (
            ("read_task_checkpoint", {"task_id": "kept"}),
            ("checkpoint_task", {"task_id": "kept", "state": {}}),
        ):
            with pytest.raises(AccessDeniedError):
                await mallory.request(op, **params)
        await alice.request("checkpoint_task", task_id="kept", state={"step": 2})
        assert await alice.request("read_task_checkpoint", task_id="kept") == {"step": 2}


async def test_an_observation_is_not_made_of_somebody_elses_task() -> None:
    async with world() as w:
        mallory = w.peers[MALLORY]
        with pytest.raises(AccessDeniedError):
            await mallory.request(
                "record_observation",
                owner_id=mallory.id,
                capability="c",
                outcome="completed",
                task_id="errand",
            )


async def test_a_failure_is_reported_only_by_a_member() -> None:
    async with world() as w:
        mallory = w.peers[MALLORY]
        with pytest.raises(AccessDeniedError):
            await mallory.request(
                "report_turn_failure",
                channel_id=w.channel_id,
                agent_id=mallory.id,
                envelope_id="x",
            )


@pytest.mark.parametrize("op", [n for n, it in OPERATIONS.items() if it.caller is Caller.ADMITTED])
async def test_who_is_there_is_no_strangers_business_where_credentials_are_wanted(op: str) -> None:
    async with world(guarded=True) as w:
        with pytest.raises(AccessDeniedError, match="wants a credential"):
            await w.peers[NOBODY].request(op, **ROWS[op](w))
        await w.peers[MALLORY].request(op, **ROWS[op](w))


@pytest.mark.parametrize("task_id", ["", "a/b", "..", "with space", "x" * 500, "é"])
async def test_what_could_be_a_path_is_no_task_id(task_id: str) -> None:
    async with world() as w:
        alice = w.peers[ALICE]
        for op, params in (
            ("observe_task", {"metadata": _task(w.alice_id, None, task_id)}),
            ("checkpoint_task", {"task_id": task_id, "state": {}}),
            ("read_task_checkpoint", {"task_id": task_id}),
        ):
            with pytest.raises(NetworkError, match="task id"):
                await alice.request(op, **params)


async def test_a_task_goes_from_start_to_end_and_no_further() -> None:
    async with world() as w:
        alice = w.peers[ALICE]
        await alice.request("update_task", task_id="errand", progress={"half": True})
        await alice.request("update_task", task_id="errand", state="completed", result=[42])
        task = await alice.request("get_task", task_id="errand")
        assert (task["state"], task["result"], task["progress"]) == (
            "completed",
            [42],
            {"half": True},
        )
        assert task["completed_at"]
        assert task["last_progress_at"]
        for op, params in (
            ("update_task", {"task_id": "errand", "state": "running"}),
            ("observe_task", {"metadata": _task(w.alice_id, w.channel_id)}),
        ):
            with pytest.raises(NetworkError, match="has ended"):
                await alice.request(op, **params)
        assert await alice.request("list_tasks", state="running") == []
        assert len(await alice.request("list_tasks", channel_id=w.channel_id)) == 1
        assert await alice.request("list_tasks", agent_id=w.bob_id) == []
