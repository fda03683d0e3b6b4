"""
Whether a thing exists is not told to those who may not see it.

Generated from the operation table: every operation is asked by an outsider about a thing that is
there and, in the same words, about one that is not. The two answers are the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from trio_hub.errors import NetworkError
from trio_hub.wire.operations import OPERATIONS, Caller

from .peer import Peer
from .test_authorization import MALLORY, NOBODY, ROWS, Params, World, world

#: Every kind of thing, and how to find it in a world. Each is asked about one at a time.
THINGS = {
    "channel": lambda w: w.channel_id,
    "creator": lambda w: w.alice_id,
    "member": lambda w: w.bob_id,
    "dead letter": lambda w: w.letter_id,
    "task": lambda w: "errand",
    "name": lambda w: "alice",
}

#: What has no such thing in the world, in the same form.
MISSING = {
    "channel": "c" * 32,
    "creator": "a" * 32,
    "member": "b" * 32,
    "dead letter": "d" * 32,
    "task": "chore",
    "name": "zebra",
}

#: What lists can be asked about, beyond their row.
FILTERED: dict[str, list[Params]] = {
    "list_channels": [lambda w: {"agent_id": w.alice_id}],
    "list_tasks": [lambda w: {"channel_id": w.channel_id}, lambda w: {"agent_id": w.alice_id}],
    "read_audit": [lambda w: {"channel_id": w.channel_id}, lambda w: {"agent_id": w.alice_id}],
}

#: Who is registered is for everybody to see that has come in; a new channel names whom it invites.
_AGENTS = frozenset({"creator", "member", "name"})
_OPENING = "create_channel"
_OF_WHO_IS_THERE = (Caller.ADMITTED, Caller.ARRIVING)

#: Ids of tasks are chosen by their owners, so one that is taken has to be refused, as AG2 does.
#: Guessing one tells that somebody has it, and nothing of it.
CHOSEN_BY_CLIENTS = frozenset(
    {
        "observe_task",
        "record_observation",
        "checkpoint_task",
        "read_task_checkpoint",
        "swap_task_checkpoint",
        "read_task_generation",
    }
)


def tells_by_design(op: str, thing: str, *, has_come_in: bool) -> bool:
    """Whether an operation is there to tell that such a thing exists."""
    if thing in _AGENTS:
        invited = op == _OPENING and thing == "member"
        return has_come_in and (OPERATIONS[op].caller in _OF_WHO_IS_THERE or invited)
    return thing == "task" and has_come_in and op in CHOSEN_BY_CLIENTS


@attrs.frozen
class Question:
    """What is asked twice."""

    there: dict[str, Any]
    missing: dict[str, Any]
    existing_id: str
    missing_id: str


def questions(w: World, op: str, own_id: str | None, *, has_come_in: bool) -> Iterator[Question]:
    """Ask about each thing that the parameters of an operation name, also in one's own name."""
    wordings = [ROWS[op](w), *(more(w) for more in FILTERED.get(op, ()))]
    if own_id is not None:
        # As herself, about what is others'.
        wordings += [_replaced(it, w.alice_id, own_id) for it in wordings]
    for wording in wordings:
        for thing, find in THINGS.items():
            if tells_by_design(op, thing, has_come_in=has_come_in):
                continue
            missing = _replaced(wording, find(w), MISSING[thing])
            if missing != wording:
                yield Question(wording, missing, find(w), MISSING[thing])


def _replaced(value: Any, old: str, new: str) -> Any:
    """Return JSON with one of its texts in place of another."""
    match value:
        case dict():
            return {key: _replaced(it, old, new) for key, it in value.items()}
        case list():
            return [_replaced(it, old, new) for it in value]
        case _:
            return new if value == old else value


async def answer_to(peer: Peer, op: str, params: dict[str, Any]) -> str:
    try:
        return json.dumps(await peer.request(op, **params))
    except NetworkError as error:
        return f"{error.code}: {error.message}"


@pytest.mark.parametrize("guarded", [False, True], ids=["open", "guarded"])
@pytest.mark.parametrize("who", [MALLORY, NOBODY])
@pytest.mark.parametrize("op", sorted(OPERATIONS))
async def test_an_outsider_cannot_tell_what_exists_from_what_does_not(
    op: str, who: str, guarded: bool
) -> None:
    async with world(guarded=guarded) as w:
        peer = w.peers[who]
        own_id = peer.id if who == MALLORY else None
        has_come_in = who == MALLORY or not guarded
        for it in questions(w, op, own_id, has_come_in=has_come_in):
            if (
                not has_come_in
                and op in ("find_agent_id", "get_agent")
                and it.existing_id == "alice"
            ):
                continue  # A name that is spelled out; see `test_doorstep`.
            there = await answer_to(peer, op, it.there)
            missing = await answer_to(peer, op, it.missing)
            assert there.replace(it.existing_id, "IT") == missing.replace(it.missing_id, "IT")


def test_most_operations_are_asked_about_something() -> None:
    w = World(peers={}, channel_id="1" * 32, alice_id="2" * 32, bob_id="3" * 32, letter_id="4" * 32)
    asked = {op for op in OPERATIONS if list(questions(w, op, "5" * 32, has_come_in=True))}
    public = {op for op, row in OPERATIONS.items() if row.caller in (Caller.ANY, *_OF_WHO_IS_THERE)}
    # Health is asked without parameters, and no id stands in those of a task that is new.
    # What a peer tells of its own agents names nothing that is here.
    about_nothing = {"health", "drain", "cross_agents"}
    assert set(OPERATIONS) - asked <= public | about_nothing | CHOSEN_BY_CLIENTS
