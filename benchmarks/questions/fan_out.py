"""
How many deliveries a second does one channel with many participants make?

The event type is an application's own (`bench.note`), which adapters carry as data from
anybody, so that the turns of a discussion do not enter into it. Each participant has a
connection of its own, and each acks what it gets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.plain_load import Generator


async def ask(generator: Generator, participants: int, posts: int) -> dict[str, float]:
    """Post `posts` notes, each awaited, to `participants` listeners."""
    speaker = await generator.agent("speaker")
    listeners = [await generator.agent(f"listener-{n}") for n in range(participants)]
    channel_id = await speaker.open("discussion", *listeners)
    meter = generator.meter()
    for _ in range(posts):
        await speaker.post(channel_id, "bench.note")
    answered = meter.seconds()
    for listener in listeners:
        await listener.receive(posts)
    last = max(listener.last_delivery for listener in listeners)
    deliveries = posts * participants
    return {
        "deliveries_per_second": deliveries / (last - meter.begun),
        "posts_per_second": posts / answered,
        **meter.cpu(deliveries),
    }
