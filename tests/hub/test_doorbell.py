"""A doorbell wakes whoever has work waiting, once for all of it, and never loses a ring."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from trio_hub.hub.doorbell import Doorbell


async def test_many_rings_wake_once() -> None:
    bell = Doorbell()
    for _ in range(5):
        bell.ring()
    await bell.answer()
    with trio.move_on_after(0) as scope:
        await bell.answer()
    assert scope.cancelled_caught


async def test_a_ring_after_an_answer_is_another_ring() -> None:
    bell = Doorbell()
    answers = 0
    async with trio.open_nursery() as nursery:

        async def answer() -> None:
            nonlocal answers
            while True:
                await bell.answer()
                answers += 1

        nursery.start_soon(answer)
        for _ in range(3):
            await wait_all_tasks_blocked()
            bell.ring()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert answers == 3


async def test_a_cancelled_answer_loses_no_ring() -> None:
    bell = Doorbell()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bell.answer)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    bell.ring()
    await bell.answer()


async def test_several_who_wait_share_the_rings() -> None:
    bell = Doorbell()
    work = list(range(20))
    done: list[int] = []

    async def worker() -> None:
        while True:
            await bell.answer()
            while work:
                done.append(work.pop())
                bell.ring()
                await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(worker)
        await wait_all_tasks_blocked()
        bell.ring()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert sorted(done) == list(range(20))
