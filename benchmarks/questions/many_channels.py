"""
How many posts a second do many channels take together, each connection awaiting its own?

Both agents of each channel post, on a connection each: 50 channels are 100 connections.
Here a durable hub may let all that wait share one sync.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.plain_load import Agent, Generator


async def ask(generator: Generator, channels: int, posts: int) -> dict[str, float]:
    """Post `posts` in all, evenly from every connection."""
    each = posts // (2 * channels)
    speakers: list[tuple[Agent, str]] = []
    for number in range(channels):
        one = await generator.agent(f"one-{number}")
        other = await generator.agent(f"other-{number}")
        channel_id = await one.open("conversation", other)
        speakers += [(one, channel_id), (other, channel_id)]

    async def speak(agent: Agent, channel_id: str) -> None:
        for _ in range(each):
            await agent.post(channel_id)

    total = each * len(speakers)
    meter = generator.meter()
    async with asyncio.TaskGroup() as group:
        for agent, channel_id in speakers:
            group.create_task(speak(agent, channel_id))
    answered = meter.seconds()
    for agent, _ in speakers:
        await agent.receive(each)
    last = max(agent.last_delivery for agent, _ in speakers)
    return {
        "posts_per_second": total / answered,
        "deliveries_per_second": total / (last - meter.begun),
        **meter.cpu(total),
    }
