"""Running a simulated world so that it is the same each time."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import hypothesis
import trio
from hypothesis import strategies as st

from .clock import LeapingClock

T = TypeVar("T")


class _Bugs(logging.Handler):
    """Hears of what the hub calls a bug of its own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "event", "") in ("operation failed", "a connection failed"):
            error = record.exc_info[1] if record.exc_info else None
            self.found.append(f"the hub reports a bug: {record.getMessage()}: {error!r}")


def run_replayably(main: Callable[[], Awaitable[T]]) -> tuple[T, list[str]]:
    """
    Run a world in virtual time; return what came of it, and the bugs that hubs have reported.

    Trio's scheduler is deterministic inside of a Hypothesis test.
    """
    results: list[T] = []
    bugs = _Bugs()
    logger = logging.getLogger("trio_hub")

    # An explicit example is run once, with Trio's scheduler in a state of its own.
    @hypothesis.settings(
        phases=[hypothesis.Phase.explicit],
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.example(None)
    @hypothesis.given(st.none())
    def once(_: None) -> None:
        results.append(trio.run(main, clock=LeapingClock()))

    # The log of a storm is long, and a seed gives it again to whoever asks.
    level, propagate = logger.level, logger.propagate
    logger.addHandler(bugs)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        once()
    finally:
        logger.removeHandler(bugs)
        logger.setLevel(level)
        logger.propagate = propagate
    (result,) = results
    return result, bugs.found


async def shuffle_the_scheduler(seed: int) -> None:
    """
    Let Trio's scheduler draw a number of times that depends on the seed.

    Its generator begins alike in every run; so seeds differ in this too.
    """

    async def draw(times: int) -> None:
        for _ in range(times):
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(draw, seed % 257)
