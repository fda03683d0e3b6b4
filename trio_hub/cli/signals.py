"""SIGTERM and Ctrl-C, as a wish that the program can end with care."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from .._logging import get_logger
from .._nursery import open_plain_nursery

__all__ = ["Stop", "stopped_by_signals"]

_log = get_logger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@attrs.define(eq=False)
class Stop:
    """
    The wish to end, as `stopped_by_signals` gives it.

    Attributes:
        scope: Everything the program does happens inside it. It is cancelled by a wish that
            comes before `started`: what has not begun need not be ended with care.
        wished: Set once it was wished for.
        signal: The number of the signal that came, if one did.
        started: Set by the program, once it looks at `wished` by itself.
    """

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    wished: trio.Event = attrs.field(factory=trio.Event)
    signal: int | None = None
    started: bool = False


@asynccontextmanager
async def stopped_by_signals(*, second_ends_at_once: bool) -> AsyncIterator[Stop]:
    """
    Turn the first signal into a `Stop`.

    Args:
        second_ends_at_once: Let the operating system have a second signal. It needs no help of
            ours, so it works even where the program hangs. Otherwise it is ignored, for a
            program that has something to tidy up and does so in a bounded time.
    """
    stop = Stop()
    with trio.open_signal_receiver(*_SIGNALS) as signals:
        async with open_plain_nursery() as nursery:
            nursery.start_soon(_wait_for, signals, stop, second_ends_at_once)
            yield stop
            nursery.cancel_scope.cancel()


async def _wait_for(signals: AsyncIterator[int], stop: Stop, second_ends_at_once: bool) -> None:
    async for number in signals:
        if stop.signal is not None:
            continue
        if second_ends_at_once:
            for each in _SIGNALS:
                signal.signal(each, signal.SIG_DFL)
        _log.info("stopping", signal=signal.Signals(number).name)
        stop.signal = number
        stop.wished.set()
        if not stop.started:
            stop.scope.cancel()
