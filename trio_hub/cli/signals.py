"""SIGTERM and Ctrl-C: the first asks the program to end, a second one ends it at once."""

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
        started: Set by the program, once it looks at `wished` by itself.
    """

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    wished: trio.Event = attrs.field(factory=trio.Event)
    started: bool = False


@asynccontextmanager
async def stopped_by_signals() -> AsyncIterator[Stop]:
    """
    Turn the first signal into a `Stop`, and let the operating system have the second one.

    The second needs no help of ours, so it works even where the program hangs.
    """
    stop = Stop()
    with trio.open_signal_receiver(*_SIGNALS) as signals:
        async with open_plain_nursery() as nursery:
            nursery.start_soon(_wait_for, signals, stop)
            yield stop
            nursery.cancel_scope.cancel()


async def _wait_for(signals: AsyncIterator[int], stop: Stop) -> None:
    async for number in signals:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        _log.info("stopping", signal=signal.Signals(number).name)
        stop.wished.set()
        if not stop.started:
            stop.scope.cancel()
        return
