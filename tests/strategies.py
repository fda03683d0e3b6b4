"""
Hypothesis strategies for everything that travels: records, frames, messages.

Each makes whatever the wire can carry, not only what is usual: empty strings, any text, any JSON
as an application's data. What a strategy leaves out (lone surrogates, integers beyond 64 bits,
not-a-number) is what JSON or the codec refuses, and has tests of its own.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from trio_hub import records as r
from trio_hub.ids import iso_from_seconds
from trio_hub.wire import frames as f
from trio_hub.wire.validation import encode

#: Any text that UTF-8 can hold.
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
#: From 1970 to 2200.
seconds_since_1970 = st.floats(0, 7_258_118_400, allow_nan=False)
iso_times = seconds_since_1970.map(iso_from_seconds)
ids = st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}")
#: Ids that collide often.
few_ids = st.integers(0, 3).map(lambda number: f"{number:032x}")
whole_numbers = st.integers(-(2**63), 2**63 - 1)
not_negative = st.integers(0, 2**53)
fractions = st.floats(allow_nan=False, allow_infinity=False)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | whole_numbers | fractions | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
json_objects: st.SearchStrategy[dict[str, Any]] = st.dictionaries(texts, json_values, max_size=4)
text_maps = st.dictionaries(texts, texts, max_size=4)


def tuples_of(items: st.SearchStrategy[Any], **limits: int) -> st.SearchStrategy[tuple[Any, ...]]:
    """Make tuples of any length."""
    return st.lists(items, **{"max_size": 4, **limits}).map(tuple)


durations = (
    st.integers(0, 10**6)
    | st.floats(0, 1e6)
    | st.builds(
        lambda number, unit: f"{number}{unit}", st.integers(0, 999), st.sampled_from("smhd")
    )
)

# Records

event_types = (
    st.sampled_from(
        [
            r.EV_TEXT,
            r.EV_PACKET,
            r.EV_CHANNEL_INVITE,
            r.EV_CHANNEL_INVITE_ACK,
            r.EV_CONTEXT_SET,
            "app.x",
        ]
    )
    | texts
)

envelopes = st.builds(
    r.Envelope,
    channel_id=ids | texts,
    sender_id=ids | texts,
    audience=st.none() | tuples_of(ids),
    event_type=event_types,
    event_data=json_objects,
    envelope_id=st.just("") | ids,
    task_id=st.none() | texts,
    causation_id=st.none() | ids,
    trace_id=st.none() | texts,
    priority=st.sampled_from(["background", "normal", "urgent"]),
    depth=whole_numbers,
    idempotency_key=st.none() | texts,
    created_at=st.just("") | iso_times,
    ttl_seconds=st.none() | whole_numbers | fractions,
)

costs = st.builds(
    r.CostProfile,
    input_per_mtok=st.none() | fractions,
    output_per_mtok=st.none() | fractions,
    latency_tier=st.none() | texts,
)
auth_blocks = st.builds(
    r.AuthBlock,
    scheme=texts,
    issuer=st.none() | texts,
    audience=st.none() | texts,
    key_fingerprint=st.none() | texts,
    claim=json_objects,
)
passports = st.builds(
    r.Passport,
    name=texts.filter(bool),
    owner=texts,
    provider=st.none() | texts,
    model=st.none() | texts,
    cost=st.none() | costs,
    region=st.none() | texts,
    auth=auth_blocks,
    kind=st.sampled_from([None, "agent", "human", "remote_agent"]),
    hub_id=st.none() | texts,
    version=whole_numbers,
    agent_id=st.none() | ids,
    created_at=st.just("") | iso_times,
)
resumes = st.builds(
    r.Resume,
    claimed_capabilities=tuples_of(texts),
    domains=tuples_of(texts),
    summary=texts,
    examples=tuples_of(
        st.builds(
            r.ResumeExample,
            title=texts,
            outcome=texts,
            task_id=st.none() | ids,
            channel_id=st.none() | ids,
            when=st.none() | iso_times,
            note=texts,
        ),
        max_size=2,
    ),
    observed=st.dictionaries(
        texts,
        st.builds(
            r.ObservedStat,
            n=not_negative,
            completed=not_negative,
            failed=not_negative,
            expired=not_negative,
            p50_latency_ms=st.none() | not_negative,
        ),
        max_size=2,
    ),
    version=whole_numbers,
    last_updated=st.just("") | iso_times,
)
rules = st.builds(
    r.Rule,
    version=whole_numbers,
    access=st.builds(
        r.AccessBlock,
        inbound_from=tuples_of(texts),
        outbound_to=tuples_of(texts),
        channel_types=st.builds(
            r.ChannelTypeAccess, initiate=tuples_of(texts), accept=tuples_of(texts)
        ),
    ),
    limits=st.builds(
        r.LimitsBlock,
        max_concurrent_channels=not_negative,
        max_concurrent_tasks=not_negative,
        channel_ttl_default=durations,
        task_ttl_default=durations,
        rate=st.builds(r.RateBlock, per_minute=not_negative, burst=not_negative),
        delegation_depth=not_negative,
        inbox=st.builds(
            r.InboxBlock,
            max_pending=not_negative,
            overflow=st.sampled_from(["reject", "drop_oldest", "drop_newest"]),
            high_water=st.none() | not_negative,
        ),
    ),
)
manifests = st.builds(
    r.ChannelManifest,
    type=texts,
    version=whole_numbers,
    participants=st.builds(
        r.ParticipantSchema,
        min=not_negative,
        max=st.none() | not_negative,
        roles=tuples_of(texts),
    ),
    knobs_schema=text_maps,
    default_view_policy=texts,
    expectations=tuples_of(
        st.builds(
            r.Expectation,
            name=texts,
            on_violation=texts,
            params=json_objects,
            applies_to=st.none() | tuples_of(texts),
        ),
        max_size=2,
    ),
)
participants = st.builds(
    r.Participant,
    agent_id=ids,
    role=st.sampled_from(r.ParticipantRole),
    order=not_negative,
    joined_at=st.just("") | iso_times,
)
channels = st.builds(
    r.ChannelMetadata,
    channel_id=ids,
    manifest=manifests,
    creator_id=ids,
    participants=tuples_of(participants),
    state=st.sampled_from(r.ChannelState),
    created_at=iso_times,
    expires_at=st.none() | iso_times,
    closed_at=st.none() | iso_times,
    close_reason=texts,
    parent_channel_id=st.none() | ids,
    knobs=json_objects,
    labels=text_maps,
    required_acks=st.none() | not_negative,
    pending_acks=tuples_of(ids),
    rejected_by=tuples_of(ids),
)
tasks = st.builds(
    r.TaskMetadata,
    task_id=texts,
    owner_id=ids,
    spec=st.builds(
        r.TaskSpec,
        title=texts,
        description=texts,
        payload=json_objects,
        capability=st.none() | texts,
    ),
    state=st.sampled_from(r.TaskState),
    created_at=st.just("") | iso_times,
    started_at=st.none() | iso_times,
    completed_at=st.none() | iso_times,
    expires_at=st.none() | iso_times,
    last_progress_at=st.none() | iso_times,
    progress=json_objects,
    result=json_values,
    error=texts,
    channel_id=st.none() | ids,
)
pending_turns = st.builds(
    r.PendingTurn,
    channel_id=ids,
    triggering_envelope_id=st.none() | ids,
    expected_at=iso_times,
)

#: Every record that travels whole, by its class.
RECORDS: dict[type[Any], st.SearchStrategy[Any]] = {
    r.Envelope: envelopes,
    r.Passport: passports,
    r.Resume: resumes,
    r.Rule: rules,
    r.ChannelManifest: manifests,
    r.ChannelMetadata: channels,
    r.TaskMetadata: tasks,
    r.PendingTurn: pending_turns,
}

# Frames


def raw(values: st.SearchStrategy[Any]) -> st.SearchStrategy[msgspec.Raw]:
    """Make values that are encoded already."""
    return values.map(encode).map(msgspec.Raw)


#: Every frame, by its class.
FRAMES: dict[type[Any], st.SearchStrategy[Any]] = {
    f.HelloFrame: st.builds(
        f.HelloFrame,
        name=texts,
        auth_scheme=texts,
        auth_claim=json_objects,
        since_envelope_id=st.none() | texts | st.dictionaries(ids, ids, max_size=3),
        epoch=st.none() | texts,
    ),
    f.WelcomeFrame: st.builds(
        f.WelcomeFrame,
        endpoint_id=texts,
        hub_time=iso_times,
        name=texts,
        agent_id=ids,
        epoch=texts,
        position_lost=st.booleans(),
    ),
    f.RequestFrame: st.builds(f.RequestFrame, request_id=texts, op=texts, params=raw(json_objects)),
    f.ResponseFrame: st.builds(
        f.ResponseFrame,
        request_id=texts,
        ok=st.booleans(),
        result=raw(json_values),
        error_code=texts,
        error_message=texts,
        retry_after_seconds=st.none() | fractions,
    ),
    f.NotifyFrame: st.builds(
        f.NotifyFrame, envelope=envelopes, recipient_id=texts, attempt=not_negative
    ),
    f.ReceiptFrame: st.builds(
        f.ReceiptFrame,
        envelope_id=texts,
        status=st.sampled_from(["ack", "nack", "progress"]),
        recipient_id=texts,
        channel_id=texts,
        reason=texts,
    ),
    f.ErrorFrame: st.builds(
        f.ErrorFrame,
        code=texts,
        message=texts,
        envelope_id=st.none() | ids,
        name=texts,
        retry_after_seconds=st.none() | fractions,
    ),
    f.PingFrame: st.builds(f.PingFrame),
    f.PongFrame: st.builds(f.PongFrame),
}
frames = st.one_of(*FRAMES.values())

# Messages that nobody should send

#: Messages that are nearly frames: a frame with fields taken away, spoiled, or added.
nearly_frames = st.builds(
    lambda kind, fields: encode({**fields, "kind": kind}).decode(),
    st.sampled_from([cls.kind for cls in FRAMES]) | texts,
    st.dictionaries(
        st.sampled_from(
            ["request_id", "op", "params", "name", "envelope", "status", "ok", "since_envelope_id"]
        ),
        json_values,
    ),
)
#: Any message: text that is anything, JSON that is anything, nearly a frame; binary.
messages = (
    st.text(max_size=200)
    | st.binary(max_size=200)
    | json_values.map(lambda value: encode(value).decode())
    | nearly_frames
)
