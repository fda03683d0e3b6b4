"""
Every record and frame goes through the other side's reader and writer unchanged.

AG2's readers are dataclass constructors: one unknown field and the frame is lost. So what we
write in the plain dialect is read with AG2's own code here, and what AG2 writes with ours.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from ag2 import network as ag2
from ag2.task import TaskMetadata as AG2TaskMetadata

from trio_hub import records
from trio_hub.protocol import adapters
from trio_hub.wire.codec import decode_message, encode_frame, encode_notify, encode_result
from trio_hub.wire.frames import (
    Dialect,
    ErrorFrame,
    HelloFrame,
    NotifyFrame,
    PingFrame,
    PongFrame,
    ReceiptFrame,
    RequestFrame,
    ResponseFrame,
    WelcomeFrame,
)

pytestmark = pytest.mark.interop

ENVELOPE = records.Envelope(
    channel_id="c" * 32,
    sender_id="a" * 32,
    audience=("b" * 32,),
    event_type="ag2.msg.text",
    event_data={"text": "é✓", "nested": [{"n": None}]},
    envelope_id="e" * 32,
    task_id="t",
    causation_id="d" * 32,
    trace_id="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    priority="urgent",
    depth=2,
    idempotency_key="key",
    created_at="2026-01-01T00:00:00+00:00",
    ttl_seconds=60,
)
RECORDS: list[tuple[Any, Any]] = [
    (ENVELOPE, ag2.Envelope),
    (records.Envelope(channel_id="c", sender_id="a", event_type="x", event_data={}), ag2.Envelope),
    (records.Passport(name="alice"), ag2.Passport),
    (
        records.Passport(
            name="alice",
            owner="acme",
            provider="anthropic",
            model="m",
            cost=records.CostProfile(input_per_mtok=1.5, latency_tier="fast"),
            region="eu",
            auth=records.AuthBlock(scheme="api_key", issuer="i", claim={"token": "x"}),
            kind="human",
            hub_id="h",
            agent_id="a" * 32,
            created_at="2026-01-01T00:00:00+00:00",
        ),
        ag2.Passport,
    ),
    (records.Resume(), ag2.Resume),
    (
        records.Resume(
            claimed_capabilities=("one", "two"),
            domains=("d",),
            summary="s",
            examples=(records.ResumeExample(title="t", when="then"),),
            observed={"one": records.ObservedStat(n=2, completed=1, failed=1, p50_latency_ms=9)},
            version=3,
            last_updated="2026-01-01T00:00:00+00:00",
        ),
        ag2.Resume,
    ),
    (records.Rule(), ag2.Rule),
    (
        records.Rule(
            access=records.AccessBlock(
                inbound_from=("a*",),
                channel_types=records.ChannelTypeAccess(accept=("consulting",)),
            ),
            limits=records.LimitsBlock(
                rate=records.RateBlock(per_minute=6, burst=2),
                inbox=records.InboxBlock(max_pending=3, overflow="drop_oldest", high_water=2),
            ),
        ),
        ag2.Rule,
    ),
    (
        records.ChannelMetadata(
            channel_id="c" * 32,
            manifest=records.ChannelManifest(
                type="consulting",
                participants=records.ParticipantSchema(min=2, max=2, roles=("initiator",)),
                expectations=(
                    records.Expectation(
                        name="reply_within", on_violation="audit", params={"seconds": 5}
                    ),
                ),
            ),
            creator_id="a" * 32,
            participants=(
                records.Participant(
                    agent_id="a" * 32, role=records.ParticipantRole.INITIATOR, order=0
                ),
            ),
            state=records.ChannelState.ACTIVE,
            created_at="2026-01-01T00:00:00+00:00",
            labels={"intent": "i"},
            pending_acks=("b" * 32,),
        ),
        ag2.ChannelMetadata,
    ),
    (
        records.TaskMetadata(
            task_id="t",
            owner_id="a" * 32,
            spec=records.TaskSpec(title="t", payload={"n": 1}, capability="one"),
            state=records.TaskState.RUNNING,
            progress={"percent": 5},
        ),
        AG2TaskMetadata,
    ),
]


@pytest.mark.parametrize(
    ("record", "theirs"), [pytest.param(*pair, id=type(pair[0]).__name__) for pair in RECORDS]
)
def test_a_record_survives_the_way_through_ag2_and_back(record: Any, theirs: Any) -> None:
    written = json.loads(msgspec.json.encode(record))
    rewritten = theirs.from_dict(written).to_dict()
    assert json.loads(json.dumps(rewritten)) == written
    assert msgspec.json.decode(json.dumps(rewritten), type=type(record)) == record


OUR_FRAMES = [
    HelloFrame(name="alice", auth_scheme="api_key", auth_claim={"token": "x"}, epoch="secret"),
    WelcomeFrame(
        endpoint_id="e", hub_time="2026-01-01T00:00:00+00:00", name="alice", position_lost=True
    ),
    RequestFrame(request_id="1", op="get_agent", params=msgspec.Raw(b'{"name_or_id":"bob"}')),
    ResponseFrame(request_id="1", ok=True, result=msgspec.Raw(b"[1]"), retry_after_seconds=2.0),
    NotifyFrame(envelope=ENVELOPE, recipient_id="b", attempt=3),
    ReceiptFrame(envelope_id="e", status="nack", recipient_id="b", channel_id="c", reason="r"),
    ErrorFrame(code="taken_over", message="somebody else", name="alice"),
    PingFrame(),
    PongFrame(),
]


@pytest.mark.parametrize("frame", [pytest.param(f, id=f.kind) for f in OUR_FRAMES])
def test_ag2_reads_each_frame_that_we_write_in_the_plain_dialect(frame: Any) -> None:
    written = json.loads(encode_frame(frame, Dialect.PLAIN))
    read = ag2.decode_frame(written)
    assert json.loads(json.dumps(ag2.encode_frame(read))) == written


def test_ag2_reads_the_frames_that_are_spliced() -> None:
    notify = encode_notify(msgspec.json.encode(ENVELOPE), "b", 7, Dialect.PLAIN)
    read = ag2.decode_frame(json.loads(notify))
    assert isinstance(read, ag2.NotifyFrame)
    assert (read.envelope.event_data, read.recipient_id) == (ENVELOPE.event_data, "b")
    response = ag2.decode_frame(json.loads(encode_result('odd "id"', b'{"n":1}')))
    assert response == ag2.ResponseFrame(request_id='odd "id"', ok=True, result={"n": 1})


AG2_FRAMES = [
    ag2.HelloFrame(name="alice", since_envelope_id=""),
    ag2.HelloFrame(name="alice", auth_claim={"token": "x"}),
    ag2.WelcomeFrame(endpoint_id="e", hub_time="2026-01-01T00:00:00+00:00"),
    ag2.RequestFrame(request_id="1", op="list_agents", params={"limit": 5}),
    ag2.ResponseFrame(request_id="1", ok=False, error_code="not_found", error_message="no"),
    ag2.NotifyFrame(
        envelope=ag2.Envelope(
            channel_id="c", sender_id="a", audience=None, event_type="x", event_data={}
        ),
        recipient_id="b",
    ),
    ag2.ReceiptFrame(envelope_id="e", status="ack", recipient_id="b", channel_id="c"),
    ag2.ErrorFrame(code="auth_failed", message="no"),
    ag2.PingFrame(),
    ag2.PongFrame(),
]


@pytest.mark.parametrize("frame", [pytest.param(f, id=f.kind) for f in AG2_FRAMES])
def test_we_read_each_frame_that_ag2_writes(frame: Any) -> None:
    written = ag2.encode_frame(frame)
    (read,) = decode_message(json.dumps(written), Dialect.PLAIN)
    assert json.loads(encode_frame(read, Dialect.PLAIN)) == json.loads(json.dumps(written))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param(adapters.ConsultingAdapter, ag2.ConsultingAdapter, id="consulting"),
        pytest.param(adapters.ConversationAdapter, ag2.ConversationAdapter, id="conversation"),
        pytest.param(adapters.DiscussionAdapter, ag2.DiscussionAdapter, id="discussion"),
    ],
)
def test_a_channel_type_declares_of_itself_what_ag2_declares(ours: Any, theirs: Any) -> None:
    manifest = json.loads(msgspec.json.encode(ours().manifest))
    assert manifest == json.loads(json.dumps(theirs().manifest.to_dict()))
