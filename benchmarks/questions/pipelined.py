"""
How many posts a second go through with this project's own client, when posts need not wait for
one another?

Both agents of each channel post, and each has `window` posts under way. The clock stops when the
last envelope has been heard and its receipt is in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from benchmarks.client_load import ClientLoad
    from trio_hub import Channel

TEXT = "x" * 100


async def ask(
    load: ClientLoad, channels: int, posts: int, clients: int, window: int
) -> dict[str, float]:
    """Post `posts` in all, over `clients` connections."""
    each = posts // (2 * channels)
    connections = [await load.client() for _ in range(clients)]
    speakers: list[Channel] = []
    listeners = []
    for number in range(channels):
        one, heard_by_one = await load.agent(connections[number % clients], f"one-{number}")
        other, heard_by_other = await load.agent(
            connections[(number + 1) % clients], f"other-{number}"
        )
        channel = await one.open(type="conversation", target=other.agent_id)
        speakers += [channel, await other.channel(channel.channel_id)]
        listeners += [heard_by_one, heard_by_other]

    async def speak(channel: Channel, count: int) -> None:
        for _ in range(count):
            await channel.send(TEXT)

    total = (each // window) * window * len(speakers)
    meter = load.meter()
    async with trio.open_nursery() as nursery:
        for channel in speakers:
            for _ in range(window):
                nursery.start_soon(speak, channel, each // window)
    answered = meter.seconds()
    for listener in listeners:
        await listener.wait_for(total // len(listeners))
    # A receipt has no answer; a request behind it on the same connection has one.
    for connection in connections:
        await connection.find_agent_id("one-0")
    settled = meter.seconds()
    return {
        "envelopes_per_second": total / settled,
        "posts_per_second": total / answered,
        **meter.cpu(total),
    }
