"""A frozen loop moves only while it is asked to, and says clearly when it cannot go on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from trio_hub import Hub, MemoryKnowledgeStore, Passport
from trio_hub.testing.frozen_loop import FrozenLoop, LoopCrashed

QUICK = settings(max_examples=20, stateful_step_count=20, deadline=None)


@pytest.fixture
def loop() -> Iterator[FrozenLoop]:
    with FrozenLoop() as loop:
        yield loop


async def double(number: int) -> int:
    await trio.lowlevel.checkpoint()
    return 2 * number


async def fail(error: Exception) -> None:
    await trio.lowlevel.checkpoint()
    raise error


def test_run_returns_what_the_function_returns(loop: FrozenLoop) -> None:
    assert loop.run(double, 21) == 42


def test_plain_functions_can_wake_tasks_when_they_are_called_inside(loop: FrozenLoop) -> None:
    event = trio.Event()
    heard: list[str] = []

    async def wait() -> None:
        await event.wait()
        heard.append("woken")

    loop.start_soon(wait)
    assert loop.call(event.set) is None
    assert heard == ["woken"]


def test_exceptions_travel_back_as_they_are(loop: FrozenLoop) -> None:
    error = LookupError("nowhere")
    with pytest.raises(LookupError) as caught:
        loop.run(fail, error)
    assert caught.value is error
    assert loop.run(double, 1) == 2


def test_everything_that_a_rule_set_off_has_come_to_rest_when_it_returns(loop: FrozenLoop) -> None:
    steps: list[int] = []

    async def walk() -> None:
        for step in range(100):
            steps.append(step)
            await trio.lowlevel.checkpoint()

    loop.start_soon(walk)
    assert len(steps) == 100


def test_time_and_tasks_stand_still_between_rules(loop: FrozenLoop) -> None:
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            await trio.sleep(1)
            ticks.append(trio.current_time())

    began = loop.now
    loop.start_soon(tick)
    loop.settle()
    assert ticks == []
    assert loop.now == began
    loop.sleep(2.5)
    assert ticks == [began + 1, began + 2]
    assert loop.now == began + 2.5


def test_sleeping_may_take_longer_than_a_rule() -> None:
    with FrozenLoop(rule_seconds_max=10) as loop:
        began = loop.now
        loop.sleep(1000)
        assert loop.now == began + 1000


def test_rule_that_waits_for_what_never_happens_is_too_slow_at_once() -> None:
    with FrozenLoop(rule_seconds_max=60) as loop:
        with pytest.raises(trio.TooSlowError, match="waited for 60 s"):
            loop.run(trio.sleep_forever)
        assert loop.run(double, 3) == 6


def test_background_task_that_raises_ends_the_loop_and_says_so() -> None:
    loop = FrozenLoop()
    error = ValueError("broken")
    with pytest.raises(LoopCrashed, match="broken") as caught:
        loop.start_soon(fail, error)
    assert caught.value.__cause__ is error
    with pytest.raises(LoopCrashed, match="broken"):
        loop.run(double, 1)
    loop.close()


def test_block_is_left_with_its_own_error_when_the_loop_has_crashed() -> None:
    with pytest.raises(LoopCrashed, match="broken"), FrozenLoop() as loop:
        loop.start_soon(fail, ValueError("broken"))


def test_closed_loop_takes_nothing_more() -> None:
    loop = FrozenLoop()
    loop.close()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.run(double, 1)


def test_closing_cancels_what_is_in_the_background() -> None:
    ended: list[str] = []

    async def wait() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("cancelled")

    with FrozenLoop() as loop:
        loop.start_soon(wait)
    assert ended == ["cancelled"]


class Doors:
    """Remembers who came and how they left."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    @asynccontextmanager
    async def door(self, name: str) -> AsyncIterator[str]:
        self.heard.append(f"{name} in")
        try:
            yield name
        except trio.Cancelled:
            self.heard.append(f"{name} thrown out")
            raise
        else:
            self.heard.append(f"{name} out")


def test_what_was_entered_may_be_left_in_any_order(loop: FrozenLoop) -> None:
    doors = Doors()
    first, second = loop.enter(doors.door("first")), loop.enter(doors.door("second"))
    assert (first.value, second.value) == ("first", "second")
    first.exit()
    first.exit()
    second.cancel()
    assert doors.heard == ["first in", "second in", "first out", "second thrown out"]


def test_what_entering_and_leaving_raise_is_raised_by_enter_and_exit(loop: FrozenLoop) -> None:
    @asynccontextmanager
    async def locked() -> AsyncIterator[None]:
        raise PermissionError("locked")
        yield

    @asynccontextmanager
    async def squeaks() -> AsyncIterator[None]:
        yield
        raise OSError("squeak")

    with pytest.raises(PermissionError):
        loop.enter(locked())
    held = loop.enter(squeaks())
    with pytest.raises(OSError, match="squeak"):
        held.exit()
    assert loop.run(double, 1) == 2


class Registrations(RuleBasedStateMachine):
    """The example of the docs: ordinary rules around a hub that stands still between them."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = FrozenLoop()
        self.store = MemoryKnowledgeStore()
        self.names: set[str] = set()
        self.hub = self.loop.enter(Hub.open(self.store))

    @rule(name=st.sampled_from("abc"))
    def register(self, name: str) -> None:
        if name not in self.names:
            self.loop.run(self.hub.value.register, Passport(name=name))
            self.names.add(name)

    @rule()
    def restart(self) -> None:
        self.hub.exit()
        self.hub = self.loop.enter(Hub.open(self.store))

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.loop.sleep(seconds)

    @invariant()
    def everybody_is_there(self) -> None:
        assert {it.name for it in self.hub.value.list_agents()} == self.names

    def teardown(self) -> None:
        self.loop.close()


def test_stateful_tests_remain_ordinary() -> None:
    run_state_machine_as_test(Registrations, settings=QUICK)


def test_stateful_test_finds_and_shrinks_a_bug_that_depends_on_time() -> None:
    class Sleeper(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.loop = FrozenLoop()
            self.began = self.loop.now

        @rule(seconds=st.integers(1, 100))
        def sleep(self, seconds: int) -> None:
            self.loop.sleep(seconds)

        @invariant()
        def still_young(self) -> None:
            assert self.loop.now - self.began <= 150

        def teardown(self) -> None:
            self.loop.close()

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Sleeper, settings=QUICK)


def test_threads_may_be_waited_for_in_real_time() -> None:
    with FrozenLoop(virtual_time=False) as loop:
        assert loop.run(trio.to_thread.run_sync, sum, [1, 2]) == 3
