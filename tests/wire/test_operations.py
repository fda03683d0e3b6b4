"""The table of operations is wire.md's, row by row, and every row has what it needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from trio_hub.errors import FrameError
from trio_hub.hub.operations import OperationHandlers
from trio_hub.wire.operations import OPERATIONS, Caller
from trio_hub.wire.validation import decode_strictly, encode

ENVELOPE = {"channel_id": "c", "sender_id": "s", "event_type": "t", "event_data": {}}
TASK = {"task_id": "t", "owner_id": "o", "spec": {"title": "x"}, "state": "created"}

#: Every operation: who may call, the smallest parameters, and whom or what they are about.
TABLE: dict[str, tuple[Caller, dict[str, Any], str | None]] = {
    "register": (Caller.ANY, {"passport": {"name": "a"}}, None),
    "unregister": (Caller.SELF, {"agent_id": "a"}, "a"),
    "get_agent": (Caller.ARRIVING, {"name_or_id": "a"}, None),
    "find_agent_id": (Caller.ARRIVING, {"name": "a"}, None),
    "names_for": (Caller.ADMITTED, {"agent_ids": ["a"]}, None),
    "list_agents": (Caller.ADMITTED, {}, None),
    "get_resume": (Caller.ARRIVING, {"agent_id": "a"}, None),
    "find_peers": (Caller.SELF, {"agent_id": "a"}, "a"),
    "get_track_record": (Caller.ADMITTED, {"agent_id": "a"}, None),
    "get_skill": (Caller.ADMITTED, {"agent_id": "a"}, None),
    "get_rule": (Caller.ARRIVING, {"agent_id": "a"}, None),
    "set_resume": (Caller.SELF, {"agent_id": "a", "resume": {}}, "a"),
    "set_skill": (Caller.SELF, {"agent_id": "a"}, "a"),
    "set_rule": (Caller.SELF, {"agent_id": "a", "rule": {}}, "a"),
    "get_delivery_rule": (Caller.SELF_OR_OPERATOR, {"agent_id": "a"}, "a"),
    "set_delivery_rule": (Caller.SELF_OR_OPERATOR, {"agent_id": "a", "rule": {}}, "a"),
    "create_channel": (
        Caller.SELF,
        {"creator_id": "a", "manifest_type": "consulting", "participants": ["b"]},
        "a",
    ),
    "get_channel": (Caller.MEMBER_OR_OPERATOR, {"channel_id": "c"}, "c"),
    "close_channel": (Caller.MEMBER, {"channel_id": "c"}, "c"),
    "list_channels": (Caller.BOUND, {}, None),
    "post_envelope": (Caller.SELF, {"envelope": ENVELOPE}, "s"),
    "read_wal": (Caller.MEMBER_OR_OPERATOR, {"channel_id": "c"}, "c"),
    "read_tail": (Caller.MEMBER_OR_OPERATOR, {"channel_id": "c"}, "c"),
    "find_envelope_by_causation": (
        Caller.MEMBER_OR_OPERATOR,
        {"channel_id": "c", "sender_id": "a", "causation_id": "e"},
        "c",
    ),
    "read_standing": (Caller.MEMBER, {"channel_id": "c", "envelope_id": "e"}, "c"),
    "can_send": (Caller.SELF_OR_OPERATOR, {"channel_id": "c", "sender_id": "a"}, "a"),
    "pending_turns_for": (Caller.SELF, {"agent_id": "a"}, "a"),
    "report_turn_failure": (
        Caller.SELF,
        {"channel_id": "c", "agent_id": "a", "envelope_id": "e"},
        "a",
    ),
    "observe_task": (Caller.SELF, {"metadata": TASK}, "o"),
    "update_task": (Caller.OWNER, {"task_id": "t"}, "t"),
    "get_task": (Caller.BOUND, {"task_id": "t"}, None),
    "list_tasks": (Caller.BOUND, {}, None),
    "swap_task_checkpoint": (
        Caller.OWNER,
        {"task_id": "t", "state": {}, "generation": 0},
        "t",
    ),
    "read_task_generation": (Caller.OWNER, {"task_id": "t"}, "t"),
    "lease_task": (Caller.OWNER, {"task_id": "t", "holder": "h", "seconds": 1}, "t"),
    "release_task": (Caller.OWNER, {"task_id": "t", "holder": "h"}, "t"),
    "wait_task": (Caller.BOUND, {"task_id": "t"}, None),
    "record_observation": (
        Caller.SELF,
        {"owner_id": "a", "capability": "c", "outcome": "completed"},
        "a",
    ),
    "fire_task_event": (Caller.OWNER, {"task_id": "t", "kind": "mirror_failed"}, "t"),
    "checkpoint_task": (Caller.OWNER, {"task_id": "t", "state": {}}, "t"),
    "read_task_checkpoint": (Caller.OWNER, {"task_id": "t"}, "t"),
    "set_operator_rule": (Caller.OPERATOR, {"name": "a", "rule": None}, None),
    "get_operator_rule": (Caller.OPERATOR, {"name": "a"}, None),
    "list_operator_rules": (Caller.OPERATOR, {}, None),
    "revoke_agent": (Caller.OPERATOR, {"name": "a", "reason": "r"}, None),
    "reinstate_agent": (Caller.OPERATOR, {"name": "a"}, None),
    "list_revocations": (Caller.OPERATOR, {}, None),
    "get_effective_rule": (Caller.SELF_OR_OPERATOR, {"agent_id": "a"}, "a"),
    "list_dead_letters": (Caller.SELF_OR_OPERATOR, {}, None),
    "read_dead_letter": (Caller.SELF_OR_OPERATOR, {"agent_id": "a", "envelope_id": "e"}, "a"),
    "replay_dead_letter": (Caller.SELF_OR_OPERATOR, {"agent_id": "a", "envelope_id": "e"}, "a"),
    "discard_dead_letter": (Caller.SELF_OR_OPERATOR, {"agent_id": "a", "envelope_id": "e"}, "a"),
    "health": (Caller.OPERATOR, {}, None),
    "drain": (Caller.OPERATOR, {}, None),
    "read_audit": (Caller.OPERATOR, {}, None),
    "cross_envelope": (Caller.PEER, {"crossing": {"path": ["h"], "envelope": ENVELOPE}}, None),
    "cross_agents": (Caller.PEER, {"to": "h", "serial": "1"}, None),
    "cross_can_send": (Caller.PEER, {"channel_id": "c", "sender": "hub://h/a"}, None),
}

#: Operations that AG2 does not have. It must go on without them.
OURS = {
    "read_tail",
    "find_peers",
    "get_track_record",
    "read_standing",
    "wait_task",
    "swap_task_checkpoint",
    "read_task_generation",
    "lease_task",
    "release_task",
    "get_delivery_rule",
    "set_delivery_rule",
    "set_operator_rule",
    "get_operator_rule",
    "list_operator_rules",
    "revoke_agent",
    "reinstate_agent",
    "list_revocations",
    "get_effective_rule",
    "list_dead_letters",
    "read_dead_letter",
    "replay_dead_letter",
    "discard_dead_letter",
    "health",
    "drain",
    "read_audit",
    "cross_envelope",
    "cross_agents",
    "cross_can_send",
}


#: How many AG2 1.2.1 has. None of them may go away.
AG2_OPERATION_COUNT = 30


def test_every_operation_has_a_row_here() -> None:
    assert sorted(TABLE) == sorted(OPERATIONS)
    assert not OURS - set(TABLE)
    assert len(set(TABLE) - OURS) == AG2_OPERATION_COUNT


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_the_row_says_who_may_call_and_about_whom(name: str) -> None:
    row = OPERATIONS[name]
    caller, smallest, subject = TABLE[name]
    params = decode_strictly(json.dumps(smallest), row.params, "params")
    assert (row.name, row.caller, row.subject(params)) == (name, caller, subject)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_the_smallest_params_are_exactly_the_required_ones(name: str) -> None:
    row = OPERATIONS[name]
    required = {field.name for field in attrs.fields(row.params) if field.default is attrs.NOTHING}
    assert required == set(TABLE[name][1])
    if required:
        with pytest.raises(FrameError) as caught:
            decode_strictly("{}", row.params, "params")
        assert len(caught.value.problems) == len(required)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_params_with_every_option_null_are_taken_as_ag2_sends_them(name: str) -> None:
    row = OPERATIONS[name]
    optional = {
        field.name: None
        for field in attrs.fields(attrs.resolve_types(row.params))
        if field.default is not attrs.NOTHING and "None" in str(field.type)
    }
    decode_strictly(json.dumps({**TABLE[name][1], **optional}), row.params, "params")


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_params_come_back_as_they_were(name: str) -> None:
    row = OPERATIONS[name]
    params = decode_strictly(json.dumps(TABLE[name][1]), row.params, "params")
    assert decode_strictly(encode(params), row.params, "params") == params


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_the_row_can_be_printed_on_a_reference_page(name: str) -> None:
    row = OPERATIONS[name]
    assert row.summary.endswith(".")
    assert row.summary[0].isupper()
    assert row.result
    assert row.params.__doc__


def test_every_operation_has_a_handler_and_every_handler_an_operation() -> None:
    handlers = {
        name
        for name, value in vars(OperationHandlers).items()
        if callable(value) and not name.startswith("_") and name != "table"
    }
    # Posting has a way of its own, without a task for each.
    assert handlers == set(OPERATIONS) - {"post_envelope"}


def test_no_operation_is_known_only_to_its_handler_module() -> None:
    # The names on the wire are API: a row that is renamed must be renamed here by hand too.
    import trio_hub.wire.operations as module

    source = Path(module.__file__).read_text()
    for name in TABLE:
        assert f'"{name}"' in source
