"""
What does a participant that reads nothing cost the hub, where what it is sent is large?

One speaker posts notes of so many kilobytes into a conversation with one that has stopped reading
its socket; each post is awaited. What counts is by how much the hub's resident memory has grown
when all have been answered. Then the other one reads, and must have all of them. A hub that keeps
the speaker waiting for the reader answers fewer: those are counted, and nothing more is asked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.plain_load import Generator

_PATIENCE_SECONDS = 20.0


async def ask(generator: Generator, posts: int, kilobytes: int) -> dict[str, float]:
    """Post `posts` notes of `kilobytes` to one that reads nothing; then let it read."""
    speaker = await generator.agent("speaker")
    stalled = await generator.agent("stalled")
    channel_id = await speaker.open("conversation", stalled)
    text = "x" * (kilobytes * 1000)
    answered = 0

    async def post(times: int) -> None:
        nonlocal answered
        for _ in range(times):
            await speaker.post(channel_id, "bench.note", text)
            answered += 1

    # What a hub takes for the first of anything is not what it takes for a stalled reader.
    warm_up = max(1, posts // 10)
    await post(warm_up)
    await stalled.receive(warm_up)
    meter = generator.meter()
    stalled.stop_reading()
    answered = 0
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await post(posts)
    except TimeoutError:
        delivered = float("nan")
    grown_kb = meter.hub_grown_kb()
    if answered == posts:
        stalled.go_on_reading()
        await stalled.receive(warm_up + posts)
        delivered = stalled.last_delivery - meter.begun
    return {
        "hub_grown_mb": grown_kb / 1000,
        "posts_answered": answered,
        "all_delivered_seconds": delivered,
    }
