"""A bell that a thread rings and a task hears."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from trio_hub.stores._thread_bell import ThreadBell, open_bell


@pytest.fixture
async def bell() -> ThreadBell:
    bell = open_bell()
    if bell is None:
        pytest.skip("there is none on this system")
    return bell


async def test_task_hears_each_time_that_a_thread_rings(bell: ThreadBell) -> None:
    for _ in range(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bell.heard)
            await trio.testing.wait_all_tasks_blocked()
            threading.Thread(target=bell.ring).start()
    bell.close()


async def test_rings_that_nobody_has_heard_are_one_and_block_nobody(bell: ThreadBell) -> None:
    for _ in range(1000):
        bell.ring()
    with trio.fail_after(10):
        await bell.heard()
    heard = 0
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def hear_on() -> None:
                nonlocal heard
                while True:
                    await bell.heard()
                    heard += 1

            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert heard == 0
    bell.close()


async def test_ring_is_not_lost_with_a_hearer_that_is_cancelled(bell: ThreadBell) -> None:
    bell.ring()
    with trio.CancelScope() as scope:
        scope.cancel()
        await bell.heard()
    assert scope.cancelled_caught
    with trio.fail_after(10):
        await bell.heard()
    bell.close()


async def test_who_hears_is_told_when_the_bell_is_closed(bell: ThreadBell) -> None:
    told = trio.Event()

    async def hear() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await bell.heard()
        told.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hear)
        await trio.testing.wait_all_tasks_blocked()
        assert not told.is_set()
        bell.close()
    assert told.is_set()
