"""What has ended needs no looking after: dates do not wait in memory for what is over."""

from __future__ import annotations

import gc

from trio.testing import MockClock

from trio_hub.hub.timers import Timer

from .peer import open_house


def waiting() -> int:
    """Count the timers that there are in this process."""
    gc.collect()
    return sum(type(it) is Timer for it in gc.get_objects())


async def test_channels_that_end_before_their_dates_leave_no_timer(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        before = waiting()
        for _ in range(200):
            channel_id = await alice.open("conversation", bob, ttl="2h")
            await alice.request("close_channel", channel_id=channel_id)
        assert waiting() <= before + 100


async def test_tasks_that_end_before_their_dates_leave_no_timer(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        alice = await house.join("alice")
        before = waiting()
        for number in range(200):
            task_id = f"errand-{number}"
            errand = {
                "task_id": task_id,
                "owner_id": alice.id,
                "spec": {"title": "an errand"},
                "state": "running",
                "created_at": "2026-01-01T00:00:00+00:00",
                "expires_at": "2126-01-01T00:00:00+00:00",
            }
            await alice.request("observe_task", metadata=errand)
            await alice.request("update_task", task_id=task_id, state="completed")
        assert waiting() <= before + 100
