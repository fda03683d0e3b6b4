"""Finding others, and what is known of them, over a socket in both dialects."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from trio_hub import (
    HubClient,
    MemoryKnowledgeStore,
    ObservedStat,
    Passport,
    TaskState,
    TrackRecord,
    Turn,
    WsLink,
    serve_ws,
)
from trio_hub.hub import Hub
from trio_hub.wire.frames import Dialect


async def silence(_turn: Turn) -> None:
    return None


@pytest.fixture(params=Dialect)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[HubClient]:
    with trio.fail_after(60):
        async with (
            Hub.open(MemoryKnowledgeStore()) as hub,
            serve_ws(hub, "127.0.0.1", 0) as server,
            HubClient(WsLink(server.url, dialects=[request.param])) as one,
        ):
            yield one


async def test_track_record_has_percentiles_where_the_hub_may_know_them(client: HubClient) -> None:
    alice = await client.register(silence, Passport(name="alice"))
    for latency_ms in (*range(1, 21), None):
        await client.record_observation(
            owner_id=alice.agent_id,
            capability="law",
            outcome=TaskState.COMPLETED,
            latency_ms=latency_ms,
        )
    record = (await client.get_track_record(alice.agent_id))["law"]
    assert (record.n, record.success_rate, record.p50_latency_ms) == (21, 1.0, 10)
    # AG2's hubs say no more than a resume does.
    assert record.p95_latency_ms == (None if client.speaks_plain else 19)
    observed = (await client.get_resume(alice.agent_id)).observed
    assert observed == {"law": ObservedStat(n=21, completed=21, p50_latency_ms=10)}
    assert isinstance(record, TrackRecord)
