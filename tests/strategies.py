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
from trio_hub.testing import strategies as s
from trio_hub.wire import frames as f
from trio_hub.wire.validation import encode

#: Any text that UTF-8 can hold.
texts = s.texts()
#: From 1970 to 2200.
seconds_since_1970 = st.floats(0, 7_258_118_400, allow_nan=False)
iso_times = s.iso_times()
ids = s.ids()
#: Ids that collide often.
few_ids = st.integers(0, 3).map(lambda number: f"{number:032x}")
whole_numbers = st.integers(-(2**63), 2**63 - 1)
not_negative = st.integers(0, 2**53)
fractions = st.floats(allow_nan=False, allow_infinity=False)

json_values = s.json_values()
json_objects = s.json_objects()
text_maps = st.dictionaries(texts, texts, max_size=4)
tuples_of = s.tuples_of
durations = s.durations()

# Records

event_types = s.event_types()
envelopes = s.envelopes()
auth_blocks = s.auth_blocks()
passports = s.passports()
resumes = s.resumes()
rules = s.rules()
manifests = s.channel_manifests()
participants = s.participants()
channels = s.channel_metadata()
tasks = s.task_metadata()
pending_turns = s.pending_turns()

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
        client=st.text(max_size=f.CLIENT_CHARACTERS_MAX),
        connection=not_negative,
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
