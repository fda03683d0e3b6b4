"""What expectations cost a hub: nothing while nothing is due, and little at once."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from trio_hub import (
    MemoryKnowledgeStore,
)
from trio_hub.testing import FaultyStore

from .expecting import expect, fired, watched


class Steps(trio.abc.Instrument):
    """Counts how often a task is run."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


async def test_an_idle_hub_does_as_little_with_many_channels_as_with_one(
    autojump_clock: MockClock,
) -> None:
    async def steps_with(channels: int) -> int:
        async with watched(ttl_sweep_interval=1000.0) as (house, diary):
            alice, bob = await house.join("alice"), await house.join("bob")
            for _ in range(channels):
                # The first fires, and the other one waits for longer than anybody looks.
                expected = [expect("max_silence", "audit", it) for it in (20, 10_000)]
                await alice.open("conversation", bob, ttl=0, expectations=expected)
            await alice.quiet()
            await trio.sleep(60)
            assert len(fired(diary)) == channels
            steps = Steps()
            trio.lowlevel.add_instrument(steps)
            await trio.sleep(900)
            trio.lowlevel.remove_instrument(steps)
            return steps.count

    # Those that there are keep up the connections, and a heartbeat more or less may fall into the
    # time; a step for each channel would be a thousand.
    one = await steps_with(1)
    assert await steps_with(1_000) <= one + 100


async def test_many_that_are_due_at_once_do_not_pile_up(autojump_clock: MockClock) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with watched(store) as (house, diary):
        alice, bob = await house.join("alice"), await house.join("bob")
        expected = [expect("max_silence", "warn", 20)]
        for _ in range(200):
            await alice.open("conversation", bob, ttl=0, expectations=expected)
        await alice.quiet()
        with store.hold_commits():
            await trio.sleep(60)
            assert 0 < house.hub.health().commits_waiting <= 64
            assert fired(diary) == []
        await trio.sleep(60)
        assert len(fired(diary)) == 200
