"""
How long until each of many idle agents has one message, and does anybody lose its connection?

The agents share a few connections. One speaker has a conversation with each of them, and posts
once into every one, many at a time. A connection that ends makes the question fail.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.plain_load import Generator

_AT_ONCE = 100


async def ask(generator: Generator, agents: int, connections: int) -> dict[str, float]:
    """Post once to each of `agents`, on `connections` in all."""
    each = agents // connections
    speaker = await generator.agent("speaker")
    before = generator.meter()
    holders = [await generator.agent(f"holder-{number}") for number in range(connections)]
    idle: list[str] = []
    for holder in holders:
        idle += [await holder.register_another(f"{holder.name}-{n}") for n in range(each)]
    grown_kb = before.hub_grown_kb()
    channel_ids: list[str] = []
    for some in _in_parts(idle):
        opened = (speaker.open_with("conversation", agent_id) for agent_id in some)
        channel_ids += await asyncio.gather(*opened)
    meter = generator.meter()
    for some in _in_parts(channel_ids):
        await asyncio.gather(*(speaker.post(channel_id) for channel_id in some))
    answered = meter.seconds()
    for holder in holders:
        await holder.receive(each)
    last = max(holder.last_delivery for holder in holders)
    return {
        "all_delivered_seconds": last - meter.begun,
        "posts_per_second": len(idle) / answered,
        **meter.cpu(len(idle)),
        "kb_per_agent_before": grown_kb / len(idle),
        "kb_per_agent_and_channel_after": before.hub_grown_kb() / len(idle),
    }


def _in_parts(of: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(of), _AT_ONCE):
        yield of[start : start + _AT_ONCE]
