"""
How long does the last page of a long channel take to read?

The last fifty envelopes, once by their position (`read_wal`) and once from the end (`read_tail`,
which only this project's hub knows).
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.plain_load import Generator

_AT_ONCE = 50
_PAGE = 50


async def ask(generator: Generator, envelopes: int, repeats: int) -> dict[str, float]:
    """Fill a channel with `envelopes`, and read its last page `repeats` times; medians count."""
    alice = await generator.agent("alice")
    bob = await generator.agent("bob")
    channel_id = await alice.open("conversation", bob)

    async def speak() -> None:
        for _ in range(envelopes // _AT_ONCE):
            await alice.post(channel_id)
            bob.arrivals.clear()

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(speak())
    posted = envelopes // _AT_ONCE * _AT_ONCE
    await bob.receive(posted)

    async def by_position() -> int:
        # The invite, its ack and `opened` stand before the posts.
        since = posted + 3 - _PAGE
        return len(await alice.call("read_wal", channel_id=channel_id, since=since))

    async def from_the_end() -> int:
        tail: dict[str, Any] = await alice.call("read_tail", channel_id=channel_id, limit=_PAGE)
        return len(tail["envelopes"])

    return {
        "last_50_by_position_ms": await _median_ms(by_position, repeats),
        "last_50_from_the_end_ms": await _median_ms(from_the_end, repeats),
    }


async def _median_ms(read: Callable[[], Awaitable[int]], repeats: int) -> float:
    times: list[float] = []
    for _ in range(repeats):
        begun = time.perf_counter()
        found = await read()
        times.append(time.perf_counter() - begun)
        assert found == _PAGE, found
    return statistics.median(times) * 1e3
