"""What looks when the next date has come misses none, however dates and the wall clock move."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio
from trio.testing import MockClock

from trio_hub.hub.timers import NextLook, Timers


class Watch:
    """A wall clock that can be set, and when there was a look at it."""

    def __init__(self) -> None:
        self.ahead = 1000.0
        self.looks: list[float] = []

    def __call__(self) -> float:
        return self.ahead + trio.current_time()

    def look(self) -> None:
        self.looks.append(round(self()))


@asynccontextmanager
async def looking() -> AsyncIterator[tuple[Watch, NextLook, Timers]]:
    watch = Watch()
    timers = Timers(1e6, on_wake=lambda: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        yield watch, NextLook(timers, watch, watch.look), timers
        nursery.cancel_scope.cancel()


async def test_one_look_serves_all_that_are_no_earlier(autojump_clock: MockClock) -> None:
    async with looking() as (watch, next_look, _):
        for date in (1020, 1010, 1010, 1015, None, 1020):
            next_look.at(date)
        await trio.sleep(100)
        # Nobody asked for another one when it came; the timer for 1020 was called off.
        assert watch.looks == [1010]
        next_look.at(1005)
        assert watch.looks == [1010, 1100]


async def test_a_date_that_comes_twice_is_looked_at_twice(autojump_clock: MockClock) -> None:
    async with looking() as (watch, next_look, _):
        next_look.at(1010)
        await trio.sleep(12)
        watch.ahead -= 10
        next_look.at(1010)
        await trio.sleep(100)
        assert watch.looks == [1010, 1010]


async def test_what_is_called_off_is_not_called_and_not_kept(autojump_clock: MockClock) -> None:
    called: list[int] = []
    async with looking() as (_, next_look, timers):
        kept = [timers.call_in(100 + it, partial(called.append, it)) for it in range(3)]
        for number in range(1000):
            timers.call_in(50, partial(called.append, number)).cancel()
            next_look.at(3000 - number)
        assert len(timers) < 100
        kept[1].cancel()
        kept[1].cancel()
        await trio.sleep(200)
        assert called == [0, 2]
        kept[0].cancel()
        await trio.sleep(5000)
        assert len(timers) == 0


async def test_dates_that_come_nearer_are_each_looked_at(autojump_clock: MockClock) -> None:
    async with looking() as (watch, next_look, timers):
        for date in range(1100, 1000, -1):
            next_look.at(date)
        await trio.sleep(200)
        assert watch.looks == [1001]
        assert len(timers) == 0
