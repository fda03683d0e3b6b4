"""A bell that rings when the earliest date has come, however dates and the wall clock move."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hub.hub.date_bell import DateBell
from trio_hub.hub.timers import Timers


class Dates:
    """Dates that change, a wall clock that can be set, and when there was a ring."""

    def __init__(self) -> None:
        self.ahead = 1000.0
        self.dates: list[float] = []
        self.rings: list[float] = []

    def clock(self) -> float:
        return self.ahead + trio.current_time()

    def earliest(self) -> float | None:
        return min(self.dates, default=None)

    async def answer(self, bell: DateBell) -> None:
        while True:
            await bell.answer()
            self.rings.append(round(self.clock()))
            self.dates = [it for it in self.dates if it > self.clock()]
            bell.dates_changed()


@asynccontextmanager
async def answered() -> AsyncIterator[tuple[Dates, DateBell]]:
    dates = Dates()
    timers = Timers(1e6, on_wake=lambda: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        bell = DateBell(timers, dates.clock, dates.earliest)
        nursery.start_soon(dates.answer, bell)
        yield dates, bell
        nursery.cancel_scope.cancel()


async def test_it_rings_for_each_date_and_for_none_that_has_gone(
    autojump_clock: MockClock,
) -> None:
    async with answered() as (dates, bell):
        dates.dates = [1010, 1020, 1030, 1040]
        bell.dates_changed()
        await trio.sleep(15)
        dates.dates.remove(1030)
        await trio.sleep(100)
        assert dates.rings == [1010, 1020, 1040]


async def test_a_date_that_is_past_rings_at_once(autojump_clock: MockClock) -> None:
    async with answered() as (dates, bell):
        dates.dates = [5]
        bell.dates_changed()
        await wait_all_tasks_blocked()
        assert dates.rings == [1000]


async def test_where_the_clock_has_stepped_ahead_a_look_finds_what_is_due(
    autojump_clock: MockClock,
) -> None:
    async with answered() as (dates, bell):
        dates.dates = [1500]
        bell.dates_changed()
        bell.look()
        await wait_all_tasks_blocked()
        assert dates.rings == []
        dates.ahead += 600
        bell.look()
        await wait_all_tasks_blocked()
        assert dates.rings == [1600]


async def test_it_can_be_rung_where_nothing_has_a_date(autojump_clock: MockClock) -> None:
    async with answered() as (dates, bell):
        bell.look()
        bell.dates_changed()
        await trio.sleep(100)
        assert dates.rings == []
        bell.ring()
        await wait_all_tasks_blocked()
        assert dates.rings == [1100]
