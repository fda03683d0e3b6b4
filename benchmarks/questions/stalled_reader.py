"""
What does one participant that reads nothing cost the others, and the hub?

One channel with many participants, and notes posted at a steady pace, which leaves the hub time
to spare. Each delivery is measured from when its note was *to be* posted. First everybody reads
and acks; then one of them stops reading its socket, and the same is done once more. The pace and
the hub are the same, so the ratio of the two is what the stalled one costs the others; how much
more the hub's memory grew is what it costs the hub.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from benchmarks.plain_load import percentile

if TYPE_CHECKING:
    from benchmarks.plain_load import Agent, Generator

_POSTS_PER_SECOND = 30


async def ask(generator: Generator, participants: int, posts: int) -> dict[str, float]:
    """Post `posts` notes to `participants` listeners, then again while one reads nothing."""
    speaker = await generator.agent("speaker")
    *others, stalled = [await generator.agent(f"listener-{n}") for n in range(participants)]
    channel_id = await speaker.open("discussion", *others, stalled)
    await _p99_ms(speaker, others, channel_id, posts // 10)  # warm up
    meter = generator.meter()
    without = await _p99_ms(speaker, others, channel_id, posts)
    grown_without = meter.hub_grown_kb()
    stalled.stop_reading()
    meter = generator.meter()
    beside = await _p99_ms(speaker, others, channel_id, posts)
    return {
        "p99_ratio": beside / without,
        "p99_without_ms": without,
        "p99_beside_ms": beside,
        "hub_grown_without_kb": grown_without,
        "hub_grown_beside_kb": meter.hub_grown_kb(),
        "stalled_got": stalled.delivered - posts - posts // 10,
        **meter.cpu(posts * participants),
    }


async def _p99_ms(speaker: Agent, listeners: list[Agent], channel_id: str, posts: int) -> float:
    for listener in listeners:
        listener.arrivals = []
    before = listeners[0].delivered
    due: list[float] = []
    async with asyncio.TaskGroup() as group:
        begun = time.perf_counter()
        for number in range(posts):
            due.append(begun + number / _POSTS_PER_SECOND)
            await asyncio.sleep(due[-1] - time.perf_counter())
            # One speaker's posts stand in the log in the order in which they were sent.
            group.create_task(speaker.post(channel_id, "bench.note"))
    for listener in listeners:
        await listener.receive(before + posts)
    late = [
        arrival - meant
        for listener in listeners
        for arrival, meant in zip(listener.arrivals, due, strict=True)
    ]
    return percentile(late, 0.99) * 1000
