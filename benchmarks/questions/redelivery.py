"""
How long until agents that come back have everything that was posted while they were away?

Each recipient has a conversation of its own with one speaker. All of them leave, the speaker
posts, then all come back at once and ask for what is unacked. Measured from the first of them
that connects to the last envelope that arrives.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.plain_load import Generator


async def ask(generator: Generator, recipients: int, each: int) -> dict[str, float]:
    """Post `each` envelopes to each of `recipients`, and let them fetch them."""
    await prepare(generator, recipients, each)
    return await come_back(generator, recipients, each)


async def prepare(generator: Generator, recipients: int, each: int) -> None:
    """Register, open, leave, post."""
    speaker = await generator.agent("speaker")
    channel_ids: list[str] = []
    for number in range(recipients):
        recipient = await generator.agent(f"recipient-{number}")
        channel_ids.append(await speaker.open("conversation", recipient))
        await recipient.leave()

    async def speak(channel_id: str, posts: int) -> None:
        for _ in range(posts):
            await speaker.post(channel_id)

    # Enough at the same time that a hub can share its syncs, few enough for its limits.
    speakers = max(1, 100 // recipients)
    for start in range(0, recipients, 100):
        async with asyncio.TaskGroup() as group:
            for channel_id in channel_ids[start : start + 100]:
                for number in range(speakers):
                    posts = each // speakers + (number < each % speakers)
                    group.create_task(speak(channel_id, posts))


async def come_back(generator: Generator, recipients: int, each: int) -> dict[str, float]:
    """Connect all recipients at once, and wait until each has what it is owed."""
    meter = generator.meter()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(generator.returning(f"recipient-{number}"))
            for number in range(recipients)
        ]
    attached = meter.seconds()
    agents = [task.result() for task in tasks]
    for agent in agents:
        await agent.receive(each)
    last = max(agent.last_delivery for agent in agents)
    return {
        "all_delivered_seconds": last - meter.begun,
        "all_attached_seconds": attached,
        **meter.cpu(recipients * each),
    }
