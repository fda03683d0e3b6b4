"""
How many deliveries a second does `fan_out` make to this project's own client?

The same notes to the same number of listeners, each of them awaited, and a connection for each
agent; only that both sides speak the batched dialect, and that each envelope goes through a handler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.plain_load import TEXT

if TYPE_CHECKING:
    from benchmarks.client_load import ClientLoad

_NOTE = "bench.note"


async def ask(load: ClientLoad, participants: int, posts: int) -> dict[str, float]:
    """Post `posts` notes, each awaited, to `participants` listeners."""
    speaker, _ = await load.agent(await load.client(), "speaker")
    clients = [await load.client() for _ in range(participants)]
    heard = [
        await load.agent(client, f"listener-{number}") for number, client in enumerate(clients)
    ]
    channel = await speaker.open(type="discussion", target=[agent.agent_id for agent, _ in heard])
    meter = load.meter()
    for _ in range(posts):
        await channel.send(TEXT, event_type=_NOTE)
    answered = meter.seconds()
    for _, listener in heard:
        await listener.wait_for(posts)
    delivered = meter.seconds()
    # A receipt has no answer; a request behind it on the same connection has one.
    for client in clients:
        await client.find_agent_id("speaker")
    deliveries = posts * participants
    return {
        "deliveries_per_second": deliveries / delivered,
        "posts_per_second": posts / answered,
        **meter.cpu(deliveries),
    }
