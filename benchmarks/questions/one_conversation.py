"""
How many posts a second does one conversation take, when each waits for its answer?

The hardest case for a durable hub: nothing can be batched, so every post pays for its own
sync. Latency is that of a closed loop, from the moment a post is sent to its answer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.plain_load import percentile

if TYPE_CHECKING:
    from benchmarks.plain_load import Generator


async def ask(generator: Generator, posts: int) -> dict[str, float]:
    """Post one after another from one agent to another."""
    alice = await generator.agent("alice")
    bob = await generator.agent("bob")
    channel_id = await alice.open("conversation", bob)
    latencies: list[float] = []
    meter = generator.meter()
    before = meter.begun
    for _ in range(posts):
        await alice.post(channel_id)
        now = time.perf_counter()
        latencies.append(now - before)
        before = now
    answered = meter.seconds()
    await bob.receive(posts)
    return {
        "posts_per_second": posts / answered,
        "deliveries_per_second": posts / (bob.last_delivery - meter.begun),
        **meter.cpu(posts),
        "post_p50_ms": percentile(latencies, 0.50) * 1e3,
        "post_p99_ms": percentile(latencies, 0.99) * 1e3,
    }
