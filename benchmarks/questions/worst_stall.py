"""
How long does one client wait while another asks for something heavy?

Many envelopes are stored in one conversation, and there are many channels besides. One client
then sends small requests, each awaited, while another asks for the heavy ones, one kind after the
other. The slowest small answer during each kind is its figure; `idle_ms`, the slowest of as long
a time without any, is what machine and generator contribute.

Both clients live in the generator's process, so its decoding of a heavy answer is part of the
figures: they are upper bounds of what the hub is to blame for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.plain_load import Agent, Generator

#: Enough at the same time that a hub can share its syncs, few enough for its limits.
_SPEAKERS = 100


async def ask(
    generator: Generator, envelopes: int, channels: int, owed: int, repeats: int
) -> dict[str, float]:
    """
    Store `envelopes` and open `channels`, then ask for every heavy thing.

    Args:
        generator: Makes the agents.
        envelopes: How many are stored in the long conversation.
        channels: How many more there are to list, and to close.
        owed: How many of the envelopes are replayed to whoever attaches.
        repeats: How often each heavy thing is asked for, but for the attachment.
    """
    small = await generator.agent("small")
    heavy = await generator.agent("heavy")
    partner = await generator.agent("partner")
    long = await heavy.open("conversation", partner)
    others = [await heavy.open("conversation", partner) for _ in range(channels)]
    await _fill(heavy, long, envelopes)
    await partner.receive(envelopes)
    sleeper = await generator.agent("sleeper")
    owing = await heavy.open("conversation", sleeper)
    await sleeper.leave()
    await _fill(heavy, owing, owed)

    async def read() -> None:
        since = max(0, envelopes - 1_000)
        await heavy.call("read_wal", channel_id=long, since=since, until=since + 1_000)

    async def list_all() -> None:
        await heavy.call("list_channels", agent_id=heavy.agent_id, limit=channels + 2)

    async def find() -> None:
        # Nothing has this cause, so a hub that scans has to scan it all.
        await heavy.call(
            "find_envelope_by_causation",
            channel_id=long,
            sender_id=heavy.agent_id,
            causation_id="0" * 32,
        )

    async def close() -> None:
        await heavy.call("close_channel", channel_id=others.pop(), reason="")

    async def attach() -> None:
        returned = await generator.returning("sleeper")
        await returned.receive(owed)

    async def idle() -> None:
        await asyncio.sleep(0.1)

    figures = {
        "idle_ms": await _worst_ms(small, idle, repeats),
        "read_wal_ms": await _worst_ms(small, read, repeats),
        "list_channels_ms": await _worst_ms(small, list_all, repeats),
        "find_ms": await _worst_ms(small, find, repeats),
        "close_ms": await _worst_ms(small, close, min(repeats, channels)),
        "attach_ms": await _worst_ms(small, attach, 1),
    }
    return {"worst_ms": max(figures.values()), **figures}


async def _fill(agent: Agent, channel_id: str, envelopes: int) -> None:
    async def speak(posts: int) -> None:
        for _ in range(posts):
            await agent.post(channel_id)

    async with asyncio.TaskGroup() as group:
        for number in range(_SPEAKERS):
            group.create_task(speak(envelopes // _SPEAKERS + (number < envelopes % _SPEAKERS)))


async def _worst_ms(small: Agent, heavy: Callable[[], Awaitable[None]], repeats: int) -> float:
    """Return the slowest small answer while `heavy` is done `repeats` times."""
    done = asyncio.Event()

    async def work() -> None:
        try:
            for _ in range(repeats):
                await heavy()
        finally:
            done.set()

    worst = 0.0
    async with asyncio.TaskGroup() as group:
        group.create_task(work())
        while not done.is_set():
            begun = time.perf_counter()
            await small.call("find_agent_id", name="small")
            worst = max(worst, time.perf_counter() - begun)
    return worst * 1e3
