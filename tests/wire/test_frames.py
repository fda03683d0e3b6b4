"""Frames survive the wire in both dialects, and AG2 never sees a field that it does not know."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given, strategies as st

from trio_hub.errors import FrameError
from trio_hub.wire.codec import (
    decode_message,
    encode_frame,
    encode_notify,
    encode_result,
    join_frames,
)
from trio_hub.wire.frames import (
    EXTENSIONS,
    Dialect,
    ErrorFrame,
    HelloFrame,
    NotifyFrame,
    PingFrame,
    ReceiptFrame,
    RequestFrame,
    ResponseFrame,
    WelcomeFrame,
)
from trio_hub.wire.validation import encode

from ..strategies import FRAMES, envelopes, frames, ids, json_values, not_negative, texts

#: The fields of AG2 1.2.1's own frames, from its dataclasses. It refuses any other.
AG2_FIELDS: dict[str, set[str]] = {
    "hello": {"name", "auth_scheme", "auth_claim", "since_envelope_id"},
    "welcome": {"endpoint_id", "hub_time"},
    "ping": set(),
    "pong": set(),
    "request": {"request_id", "op", "params"},
    "response": {"request_id", "ok", "result", "error_code", "error_message"},
    "error": {"code", "message", "envelope_id"},
    "notify": {"envelope", "recipient_id"},
    "receipt": {"envelope_id", "status", "recipient_id", "channel_id", "reason"},
}
AG2_ENVELOPE_FIELDS = {
    "channel_id",
    "sender_id",
    "audience",
    "event_type",
    "event_data",
    "envelope_id",
    "task_id",
    "causation_id",
    "trace_id",
    "priority",
    "depth",
    "idempotency_key",
    "created_at",
    "ttl_seconds",
}
#: Smallest form of each frame on the wire -> what it means.
SMALLEST: list[tuple[dict[str, Any], Any]] = [
    ({"kind": "hello", "name": "a"}, HelloFrame(name="a")),
    (
        {"kind": "welcome", "endpoint_id": "e", "hub_time": "t"},
        WelcomeFrame(endpoint_id="e", hub_time="t"),
    ),
    ({"kind": "request", "request_id": "1", "op": "x"}, RequestFrame(request_id="1", op="x")),
    (
        {"kind": "response", "request_id": "1", "ok": True},
        ResponseFrame(request_id="1", ok=True),
    ),
    (
        {"kind": "receipt", "envelope_id": "e", "status": "ack"},
        ReceiptFrame(envelope_id="e", status="ack"),
    ),
    ({"kind": "error", "code": "c", "message": "m"}, ErrorFrame(code="c", message="m")),
    ({"kind": "ping"}, PingFrame()),
]


@pytest.fixture(params=list(Dialect), ids=str)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    chosen: Dialect = request.param
    return chosen


def _plain(frame: Any) -> dict[str, Any]:
    """A frame as data; what is encoded already is decoded, so that spelling does not matter."""
    data = attrs.asdict(frame, recurse=True)
    return {
        name: msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
        for name, value in data.items()
    }


def _without_extensions(frame: Any) -> dict[str, Any]:
    defaults = {
        field.name: field.default
        for field in attrs.fields(type(frame))
        if field.name in EXTENSIONS.get(frame.kind, ())
    }
    return {**_plain(frame), **defaults}


@pytest.mark.parametrize("cls", FRAMES, ids=lambda it: it.kind)
@given(data=st.data())
def test_a_frame_comes_back_as_it_was_in_the_batched_dialect(
    cls: type[Any], data: st.DataObject
) -> None:
    frame = data.draw(FRAMES[cls])
    (decoded,) = decode_message(encode_frame(frame, Dialect.BATCHED).decode(), Dialect.BATCHED)
    assert type(decoded) is cls
    assert _plain(decoded) == _plain(frame)


@pytest.mark.parametrize("cls", FRAMES, ids=lambda it: it.kind)
@given(data=st.data())
def test_a_plain_frame_holds_what_ag2_knows_and_nothing_else(
    cls: type[Any], data: st.DataObject
) -> None:
    frame = data.draw(FRAMES[cls])
    encoded = encode_frame(frame, Dialect.PLAIN).decode()
    assert set(json.loads(encoded)) == AG2_FIELDS[frame.kind] | {"kind"}
    (decoded,) = decode_message(encoded, Dialect.PLAIN)
    assert _plain(decoded) == _without_extensions(frame)


def test_what_is_not_ag2s_is_named_an_extension_and_has_a_default() -> None:
    for cls in FRAMES:
        added = {field.name for field in attrs.fields(cls)} - AG2_FIELDS[cls.kind]
        assert added == EXTENSIONS.get(cls.kind, frozenset())
        for field in attrs.fields(cls):
            if field.name in added:
                assert field.default is not attrs.NOTHING
    assert {cls.kind for cls in FRAMES} == set(AG2_FIELDS)


def test_an_envelope_has_ag2s_fields() -> None:
    assert {field.name for field in attrs.fields(NotifyFrame)} >= {"envelope", "recipient_id"}
    from trio_hub.records import Envelope

    assert {field.name for field in attrs.fields(Envelope)} == AG2_ENVELOPE_FIELDS


@pytest.mark.parametrize(("small", "frame"), SMALLEST, ids=lambda it: getattr(it, "kind", ""))
def test_missing_options_have_defaults_and_unknown_fields_are_ignored(
    small: dict[str, Any], frame: Any, dialect: Dialect
) -> None:
    for message in (small, {**small, "from_the_future": {"deep": [1]}}):
        (decoded,) = decode_message(json.dumps(message), dialect)
        assert _plain(decoded) == _plain(frame)
        assert type(decoded) is type(frame)


@pytest.mark.parametrize("cls", FRAMES, ids=lambda it: it.kind)
def test_every_missing_field_is_named_in_one_error(cls: type[Any], dialect: Dialect) -> None:
    required = [field.name for field in attrs.fields(cls) if field.default is attrs.NOTHING]
    if not required:
        return
    (error,) = decode_message(json.dumps({"kind": cls.kind}), dialect)
    assert isinstance(error, FrameError)
    assert len(error.problems) == len(required)
    for name in required:
        assert any(f"'{name}' is missing" in problem for problem in error.problems)


@given(envelopes, ids, not_negative, st.sampled_from(Dialect))
def test_a_spliced_notify_reads_as_one_that_was_encoded_whole(
    envelope: Any, recipient_id: str, attempt: int, dialect: Dialect
) -> None:
    spliced = encode_notify(encode(envelope), recipient_id, attempt, dialect)
    whole = encode_frame(
        NotifyFrame(envelope=envelope, recipient_id=recipient_id, attempt=attempt), dialect
    )
    assert json.loads(spliced) == json.loads(whole)


@given(texts, json_values)
def test_a_spliced_result_reads_as_a_response(request_id: str, result: Any) -> None:
    (frame,) = decode_message(encode_result(request_id, encode(result)).decode(), Dialect.PLAIN)
    assert isinstance(frame, ResponseFrame)
    assert (frame.request_id, frame.ok) == (request_id, True)
    assert msgspec.json.decode(frame.result) == json.loads(encode(result))
    assert set(json.loads(encode_result(request_id, b"1"))) <= AG2_FIELDS["response"] | {"kind"}


@given(st.lists(frames, max_size=8), st.integers(1, 400))
def test_joined_frames_come_apart_again_in_order_in_as_few_messages_as_fit(
    many: list[Any], limit: int
) -> None:
    encoded = [encode_frame(frame, Dialect.BATCHED) for frame in many]
    messages = join_frames(encoded, Dialect.BATCHED, limit)
    assert b"\n".join(messages).split(b"\n") == (encoded or [b""])
    for message in messages:
        assert len(message) <= limit or message in encoded
    for one, other in pairwise(messages):
        first_of_other = other.split(b"\n")[0]
        assert len(one) + 1 + len(first_of_other) + 1 > limit
    decoded = [
        frame for message in messages for frame in decode_message(message.decode(), Dialect.BATCHED)
    ]
    assert [type(frame) for frame in decoded] == [type(frame) for frame in many]


def test_plain_frames_are_never_joined() -> None:
    assert join_frames([b"{}", b"{}"], Dialect.PLAIN, 1000) == [b"{}", b"{}"]


def test_a_claim_is_left_out_of_the_repr_of_a_hello() -> None:
    assert "hunter2" not in repr(HelloFrame(name="a", auth_claim={"token": "hunter2"}))
