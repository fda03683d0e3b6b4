"""
How long does `read_wal` take for a channel of 10, 100 and 1,000 envelopes?

What an agent asks for before each turn. The last ten of a thousand are asked for as well:
what a reader wants who knows the rest already.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks.plain_load import median_ms

if TYPE_CHECKING:
    from benchmarks.plain_load import Agent, Generator


async def ask(generator: Generator, repeats: int) -> dict[str, float]:
    """Read channels of three lengths whole, and the tail of the longest."""
    alice = await generator.agent("alice")
    bob = await generator.agent("bob")
    figures: dict[str, float] = {}
    posted = 0
    channel_id = ""
    for length in (10, 100, 1_000):
        channel_id = await alice.open("conversation", bob)
        async with asyncio.TaskGroup() as group:
            for _ in range(length):
                group.create_task(alice.post(channel_id))
        posted += length
        await bob.receive(posted)
        figures[f"read_{length}_ms"] = await _read_ms(alice, channel_id, 0, repeats, length)
    # The invite, its ack and `opened` stand before the posts.
    figures["tail_10_ms"] = await _read_ms(alice, channel_id, 993, repeats, 10)
    return figures


async def _read_ms(agent: Agent, channel_id: str, since: int, repeats: int, at_least: int) -> float:
    async def read() -> None:
        envelopes = await agent.call("read_wal", channel_id=channel_id, since=since)
        assert len(envelopes) >= at_least, len(envelopes)

    return await median_ms(read, repeats)
