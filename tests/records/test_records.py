"""The records have the fields, the defaults and the JSON forms of wire.md, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given, strategies as st

from trio_hub import records as r
from trio_hub.errors import FrameError
from trio_hub.wire.validation import decode_strictly, encode

from ..counted import compared_at_most, many_ids
from ..strategies import RECORDS

#: Smallest JSON form of each record -> the whole of it, defaults filled in, as wire.md has it.
FULL_FORMS: list[tuple[type[Any], dict[str, Any], dict[str, Any]]] = [
    (
        r.Envelope,
        {
            "channel_id": "c",
            "sender_id": "s",
            "event_type": "ag2.msg.text",
            "event_data": {"text": "hi"},
        },
        {
            "channel_id": "c",
            "sender_id": "s",
            "audience": None,
            "event_type": "ag2.msg.text",
            "event_data": {"text": "hi"},
            "envelope_id": "",
            "task_id": None,
            "causation_id": None,
            "trace_id": None,
            "priority": "normal",
            "depth": 0,
            "idempotency_key": None,
            "created_at": "",
            "ttl_seconds": None,
        },
    ),
    (
        r.Passport,
        {"name": "alice"},
        {
            "name": "alice",
            "owner": "",
            "provider": None,
            "model": None,
            "cost": None,
            "region": None,
            "auth": {
                "scheme": "none",
                "issuer": None,
                "audience": None,
                "key_fingerprint": None,
                "claim": {},
            },
            "kind": None,
            "hub_id": None,
            "version": 1,
            "agent_id": None,
            "created_at": "",
        },
    ),
    (
        r.Resume,
        {},
        {
            "claimed_capabilities": [],
            "domains": [],
            "summary": "",
            "examples": [],
            "observed": {},
            "version": 1,
            "last_updated": "",
        },
    ),
    (
        r.Rule,
        {},
        {
            "version": 1,
            "access": {
                "inbound_from": ["*"],
                "outbound_to": ["*"],
                "channel_types": {"initiate": ["*"], "accept": ["*"]},
            },
            "limits": {
                "max_concurrent_channels": 0,
                "max_concurrent_tasks": 0,
                "channel_ttl_default": "2h",
                "task_ttl_default": "15m",
                "rate": {"per_minute": 0, "burst": 0},
                "delegation_depth": 5,
                "inbox": {"max_pending": 1000, "overflow": "reject", "high_water": None},
            },
        },
    ),
    (
        r.ChannelMetadata,
        {
            "channel_id": "c",
            "manifest": {"type": "consulting"},
            "creator_id": "a",
            "participants": [{"agent_id": "a", "role": "initiator", "order": 0}],
            "state": "pending",
            "created_at": "2026-01-01T00:00:00+00:00",
        },
        {
            "channel_id": "c",
            "manifest": {
                "type": "consulting",
                "version": 1,
                "participants": {"min": 2, "max": None, "roles": []},
                "knobs_schema": {},
                "default_view_policy": "full_transcript",
                "expectations": [],
            },
            "creator_id": "a",
            "participants": [{"agent_id": "a", "role": "initiator", "order": 0, "joined_at": ""}],
            "state": "pending",
            "created_at": "2026-01-01T00:00:00+00:00",
            "expires_at": None,
            "closed_at": None,
            "close_reason": "",
            "parent_channel_id": None,
            "knobs": {},
            "labels": {},
            "required_acks": None,
            "pending_acks": [],
            "rejected_by": [],
        },
    ),
    (
        r.TaskMetadata,
        {"task_id": "t", "owner_id": "a", "spec": {"title": "x"}, "state": "created"},
        {
            "task_id": "t",
            "owner_id": "a",
            "spec": {"title": "x", "description": "", "payload": {}, "capability": None},
            "state": "created",
            "created_at": "",
            "started_at": None,
            "completed_at": None,
            "expires_at": None,
            "last_progress_at": None,
            "progress": {},
            "result": None,
            "error": "",
            "channel_id": None,
        },
    ),
    (
        r.ResumeExample,
        {"title": "x"},
        {
            "title": "x",
            "outcome": "",
            "task_id": None,
            "channel_id": None,
            "when": None,
            "note": "",
        },
    ),
    (
        r.ObservedStat,
        {},
        {"n": 0, "completed": 0, "failed": 0, "expired": 0, "p50_latency_ms": None},
    ),
    (
        r.CostProfile,
        {},
        {"input_per_mtok": None, "output_per_mtok": None, "latency_tier": None},
    ),
    (
        r.Expectation,
        {"name": "reply_within", "on_violation": "warn"},
        {"name": "reply_within", "on_violation": "warn", "params": {}, "applies_to": None},
    ),
    (
        r.OperatorRule,
        {},
        {
            "version": 1,
            "access": {
                "inbound_from": None,
                "outbound_to": None,
                "channel_types": {"initiate": None, "accept": None},
            },
            "limits": {
                "max_concurrent_channels": None,
                "max_concurrent_tasks": None,
                "channel_ttl_max": None,
                "rate": None,
                "delegation_depth": None,
                "inbox": {"max_pending": None, "overflow": None, "high_water": None},
            },
        },
    ),
]


@pytest.mark.parametrize(
    "limits",
    [
        {"delegation_depth": -1},
        {"channel_ttl_max": "soon"},
        {"rate": {"per_minute": -1}},
        {"inbox": {"overflow": "shout"}},
        {"inbox": {"max_pending": -1}},
        {"inbox": {"high_water": 0.5}},
    ],
)
def test_what_makes_no_sense_is_no_operators_rule(limits: dict[str, Any]) -> None:
    with pytest.raises(FrameError):
        decode_strictly(json.dumps({"limits": limits}), r.OperatorRule, "operator rule")


@pytest.mark.parametrize(
    ("cls", "small", "full"), FULL_FORMS, ids=lambda it: getattr(it, "__name__", "")
)
def test_defaults_and_names_are_those_of_the_wire(
    cls: type[Any], small: dict[str, Any], full: dict[str, Any]
) -> None:
    record = decode_strictly(json.dumps(small), cls, "record")
    assert json.loads(encode(record)) == full


@pytest.mark.parametrize(
    ("cls", "small", "full"), FULL_FORMS, ids=lambda it: getattr(it, "__name__", "")
)
def test_each_missing_required_field_is_named(
    cls: type[Any], small: dict[str, Any], full: dict[str, Any]
) -> None:
    required = [field.name for field in attrs.fields(cls) if field.default is attrs.NOTHING]
    assert sorted(required) == sorted(small)
    if not required:
        return
    with pytest.raises(FrameError) as caught:
        decode_strictly("{}", cls, "record")
    for name in required:
        assert f"required field '{name}' is missing" in str(caught.value)


@pytest.mark.parametrize("cls", RECORDS, ids=lambda it: it.__name__)
@given(data=st.data())
def test_every_record_comes_back_as_it_was_and_what_a_newer_peer_adds_is_ignored(
    cls: type[Any], data: st.DataObject
) -> None:
    record = data.draw(RECORDS[cls])
    encoded = encode(record)
    assert decode_strictly(encoded, cls, "record") == record
    newer = {**json.loads(encoded), "from_the_future": [1]}
    assert decode_strictly(json.dumps(newer), cls, "record") == record


@pytest.mark.parametrize("cls", RECORDS, ids=lambda it: it.__name__)
@given(data=st.data())
def test_a_field_of_the_wrong_type_is_refused_never_coerced(
    cls: type[Any], data: st.DataObject
) -> None:
    plain = json.loads(encode(data.draw(RECORDS[cls])))
    strings = [
        field.name
        for field in attrs.fields(attrs.resolve_types(cls))
        if field.type is str and field.name in plain
    ]
    name = data.draw(st.sampled_from(strings)) if strings else None
    if name is None:
        return
    plain[name] = 123
    with pytest.raises(FrameError) as caught:
        decode_strictly(json.dumps(plain), cls, "record")
    assert f"$.{name}" in str(caught.value)


@pytest.mark.parametrize("cls", [cls for cls, _, _ in FULL_FORMS], ids=lambda it: it.__name__)
def test_a_record_cannot_be_changed(cls: type[Any]) -> None:
    small = next(form for known, form, _ in FULL_FORMS if known is cls)
    record = decode_strictly(json.dumps(small), cls, "record")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(record, attrs.fields(cls)[0].name, "other")
    with pytest.raises(AttributeError):
        _ = record.__dict__


# What the validators refuse


@pytest.mark.parametrize(
    ("cls", "spoiled", "says"),
    [
        (r.Passport, {"name": ""}, "name"),
        (r.Passport, {"name": "a", "kind": "robot"}, "kind"),
        (r.Rule, {"limits": {"rate": {"per_minute": -1}}}, "per_minute"),
        (r.Rule, {"limits": {"inbox": {"max_pending": -1}}}, "max_pending"),
        (r.Rule, {"limits": {"inbox": {"overflow": "explode"}}}, "overflow"),
        (r.Rule, {"limits": {"inbox": {"high_water": -1}}}, "high_water"),
        (r.Rule, {"limits": {"delegation_depth": -1}}, "delegation_depth"),
        (r.Rule, {"limits": {"max_concurrent_channels": -1}}, "max_concurrent_channels"),
        (r.Rule, {"limits": {"channel_ttl_default": "soon"}}, "no duration"),
        (r.Rule, {"limits": {"task_ttl_default": -5}}, "no duration"),
        (
            r.Envelope,
            {
                "channel_id": "c",
                "sender_id": "s",
                "event_type": "t",
                "event_data": {},
                "priority": "asap",
            },
            "priority",
        ),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(
    cls: type[Any], spoiled: dict[str, Any], says: str
) -> None:
    with pytest.raises(FrameError) as caught:
        decode_strictly(json.dumps(spoiled), cls, "record")
    assert says in str(caught.value)
    assert "typing." not in str(caught.value)


# Behaviour, what little there is


def test_a_passport_without_a_kind_is_an_agents() -> None:
    assert r.Passport(name="a").effective_kind == "agent"
    assert r.Passport(name="a", kind="human").effective_kind == "human"


def test_a_claim_is_left_out_of_the_repr_and_can_be_taken_off() -> None:
    secret = r.Passport(name="a", auth=r.AuthBlock(scheme="api_key", claim={"token": "hunter2"}))
    assert "hunter2" not in repr(secret)
    public = r.without_claim(secret)
    assert public.auth == r.AuthBlock(scheme="api_key")
    assert secret.auth.claim == {"token": "hunter2"}
    assert r.without_claim(public) is public


@pytest.mark.parametrize(
    ("event_data", "text"),
    [({"text": "a"}, "a"), ({"body": "b"}, "b"), ({}, ""), ({"text": 3}, ""), ({"text": None}, "")],
)
def test_the_text_of_an_envelope_is_its_text_or_body(event_data: dict[str, Any], text: str) -> None:
    assert _envelope(event_data=event_data).text == text


def _envelope(**fields: Any) -> r.Envelope:
    defaults: dict[str, Any] = {
        "channel_id": "c",
        "sender_id": "alice",
        "event_type": r.EV_TEXT,
        "event_data": {},
    }
    return r.Envelope(**{**defaults, **fields})


def test_an_envelope_is_owed_to_everybody_but_its_sender_unless_it_has_an_audience() -> None:
    everybody = _envelope()
    assert r.is_addressed_to(everybody, "bob")
    assert not r.is_addressed_to(everybody, "alice")
    to_bob = _envelope(audience=("bob",))
    assert r.is_addressed_to(to_bob, "bob")
    assert not r.is_addressed_to(to_bob, "carol")
    to_both = _envelope(audience=("alice", "bob"))
    assert r.is_addressed_to(to_both, "alice")
    assert not r.is_addressed_to(_envelope(audience=()), "bob")


@pytest.mark.parametrize("size", [1, 2, 8, 9, 100])
def test_addressees_are_the_audience_however_long_it_is(size: int) -> None:
    ids = [f"agent-{number}" for number in range(size)]
    said = _envelope(audience=tuple(ids * 2))
    before = encode(said)
    for agent_id in [*ids, "mallory", "alice"]:
        assert r.is_addressed_to(said, agent_id) == (agent_id in ids)
        assert said.addressees is not None
        assert (agent_id in said.addressees) == (agent_id in ids)
    # What it remembers of that is nobody else's.
    assert encode(said) == before
    assert decode_strictly(before, r.Envelope, "envelope") == said
    other = attrs.evolve(said, audience=("mallory",) * 2 * size)
    assert r.is_addressed_to(other, "mallory")
    assert not r.is_addressed_to(other, ids[0])
    assert _envelope().addressees is None


def test_a_long_audience_is_not_looked_through_for_each_recipient() -> None:
    said = _envelope(audience=many_ids(1_000) * 10)
    with compared_at_most(30_000):
        assert all(r.is_addressed_to(said, it) for it in many_ids(1_000))
        assert not any(r.is_addressed_to(said, it) for it in many_ids(1_000, "mallory"))


@pytest.mark.parametrize("event_type", [r.EV_CHANNEL_INVITE_ACK, r.EV_CHANNEL_INVITE_REJECT])
def test_the_answer_of_an_invite_is_the_hubs_alone(event_type: str) -> None:
    assert not r.is_addressed_to(_envelope(event_type=event_type), "bob")
    assert not r.is_addressed_to(_envelope(event_type=event_type, audience=("bob",)), "bob")


def test_an_envelope_can_be_read_by_who_said_it_and_whom_it_is_for() -> None:
    to_bob = _envelope(audience=("bob",))
    assert r.is_visible_to(to_bob, "alice")
    assert r.is_visible_to(to_bob, "bob")
    assert not r.is_visible_to(to_bob, "carol")
    assert r.is_visible_to(_envelope(), "carol")


@pytest.mark.parametrize(
    ("event_type", "expected"),
    [
        (r.EV_TEXT, False),
        (r.EV_PACKET, False),
        (r.EV_CONTEXT_SET, False),
        (r.EV_CHANNEL_OPENED, True),
        (r.EV_TASK_CANCEL_REQUEST, True),
        (r.EV_EXPECTATION_VIOLATED, True),
        ("ag2.channelled", False),
        ("app.anything", False),
    ],
)
def test_bookkeeping_is_about_channels_tasks_and_expectations(
    event_type: str, expected: bool
) -> None:
    assert r.is_bookkeeping(event_type) is expected


@pytest.mark.parametrize("state", r.ChannelState)
def test_closed_and_expired_are_final(state: r.ChannelState) -> None:
    channel = r.ChannelMetadata(
        channel_id="c",
        manifest=r.ChannelManifest(type="x"),
        creator_id="a",
        participants=(r.Participant(agent_id="a", role=r.ParticipantRole.INITIATOR, order=0),),
        state=state,
        created_at="",
    )
    assert channel.is_terminal is state.is_terminal is (state in ("closed", "expired"))


def test_what_a_record_remembers_of_itself_is_not_written() -> None:
    channel = r.ChannelMetadata(
        channel_id="c",
        manifest=r.ChannelManifest(type="x"),
        creator_id="a",
        participants=(r.Participant(agent_id="a", role=r.ParticipantRole.INITIATOR, order=0),),
        state=r.ChannelState.ACTIVE,
        created_at="",
    )
    written = encode(channel)
    assert channel.participant_ids == ("a",)
    assert encode(channel) == written
    assert attrs.evolve(channel, participants=()).participant_ids == ()


@pytest.mark.parametrize("state", r.TaskState)
def test_a_task_ends_four_ways(state: r.TaskState) -> None:
    task = r.TaskMetadata(task_id="t", owner_id="a", spec=r.TaskSpec(title="x"), state=state)
    ended = state in ("completed", "failed", "expired", "cancelled")
    assert task.is_terminal is state.is_terminal is ended


def test_records_with_slots_decode_the_hot_path_without_cattrs() -> None:
    # msgspec decodes attrs classes by itself; a record that it cannot take would show here.
    for cls in RECORDS:
        assert msgspec.json.Decoder(cls)
