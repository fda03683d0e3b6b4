"""A wish to end: before the program has started, after it, and once more."""

from __future__ import annotations

import signal

import pytest
import trio

from trio_hub.cli.signals import stopped_by_signals

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])


@BOTH
async def test_before_the_start_everything_is_cancelled(number: int) -> None:
    async with stopped_by_signals(second_ends_at_once=False) as stop:
        with stop.scope:
            signal.raise_signal(number)
            await trio.sleep_forever()
        assert stop.scope.cancelled_caught
        assert stop.signal == number


@BOTH
async def test_after_the_start_the_program_is_only_told(number: int) -> None:
    async with stopped_by_signals(second_ends_at_once=False) as stop:
        with stop.scope:
            stop.started = True
            signal.raise_signal(number)
            await stop.wished.wait()
            await trio.lowlevel.checkpoint()
        assert not stop.scope.cancelled_caught


async def test_a_second_signal_is_ignored_where_it_should_be() -> None:
    async with stopped_by_signals(second_ends_at_once=False) as stop:
        signal.raise_signal(signal.SIGINT)
        await stop.wished.wait()
        signal.raise_signal(signal.SIGTERM)
        await trio.testing.wait_all_tasks_blocked()
        assert stop.signal == signal.SIGINT


async def test_a_second_signal_is_for_the_operating_system_where_it_should_be() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with stopped_by_signals(second_ends_at_once=True) as stop:
        signal.raise_signal(signal.SIGTERM)
        await stop.wished.wait()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
