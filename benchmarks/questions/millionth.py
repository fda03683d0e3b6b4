"""
Does a channel take posts as fast at its millionth envelope as at its ten-thousandth?

One conversation, one side of which posts all the time, `_AT_ONCE` posts under way, and the other
acks. The rate, the hub's CPU and its memory are taken over the same number of posts near both
lengths; in between it is only filled.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.plain_load import Agent, Generator

_AT_ONCE = 50


async def ask(generator: Generator, early: int, late: int, posts: int) -> dict[str, float]:
    """Measure `posts` posts behind the envelope `early`, and as many behind `late`."""
    alice = await generator.agent("alice")
    bob = await generator.agent("bob")
    channel_id = await alice.open("conversation", bob)
    await fill(alice, bob, channel_id, early)
    at_early = await _measure(generator, alice, bob, channel_id, posts)
    growth = generator.meter()
    await fill(alice, bob, channel_id, late - bob.delivered)
    grown_kb = growth.hub_grown_kb()
    at_late = await _measure(generator, alice, bob, channel_id, posts)
    return {
        "late_over_early_rate": at_late[0] / at_early[0],
        "late_over_early_cpu": at_late[1] / at_early[1] if at_early[1] else float("nan"),
        "early_posts_per_second": at_early[0],
        "late_posts_per_second": at_late[0],
        "early_hub_cpu_us": at_early[1],
        "late_hub_cpu_us": at_late[1],
        "hub_grown_kb": grown_kb,
    }


async def _measure(
    generator: Generator, alice: Agent, bob: Agent, channel_id: str, posts: int
) -> tuple[float, float]:
    """Return posts per second, and the hub's microseconds for each."""
    meter = generator.meter()
    await fill(alice, bob, channel_id, posts)
    return posts / meter.seconds(), meter.cpu(posts)["hub_cpu_us"]


async def fill(alice: Agent, bob: Agent, channel_id: str, posts: int) -> None:
    """Post so many times from one agent, and wait until the other has all of it."""
    wanted = bob.delivered + posts

    async def speak(count: int) -> None:
        for _ in range(count):
            await alice.post(channel_id)
            # Nobody looks at when each of a million came.
            bob.arrivals.clear()

    async with asyncio.TaskGroup() as group:
        for number in range(_AT_ONCE):
            group.create_task(speak(posts // _AT_ONCE + (number < posts % _AT_ONCE)))
    await bob.receive(wanted)
