"""The command itself: a temporary folder, a screen, the story, and how it ended."""

from __future__ import annotations

import math
import tempfile
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

import attrs
import trio

from ...errors import NetworkError
from ..command import Command
from ..signals import stopped_by_signals
from .cast import Cast, Unexpected
from .screen import Screen, make_screen
from .story import tell_story

__all__ = ["DEMO"]

_DESCRIPTION = """\
Show the main job: three processes, two of them killed, every answer delivered exactly once.

Starts a hub on a temporary disk store and two agents, alice and bob, as processes of their own.
Alice asks bob; bob is killed (SIGKILL) after he got the question and before he answered, and
started again. Then the hub is killed between two questions, and started again. What is claimed
is checked against what alice saw and against the log on disk. The exit status is 0 only if all
of it is true. Takes a few seconds; leaves nothing behind.
"""

# Far more than it takes; only a demonstration that hangs gets there.
_PATIENCE_SECONDS_DEFAULT = 60.0


@attrs.define
class _Outcome:
    status: int = 1


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--plain", action="store_true", help="plain lines, also in a terminal")
    parser.add_argument(
        "--patience",
        type=seconds,
        default=_PATIENCE_SECONDS_DEFAULT,
        metavar="SECONDS",
        help="give up after so long (default: %(default)g)",
    )


def seconds(word: str) -> float:
    value = float(word)
    if not 0 < value < math.inf:
        raise ValueError
    return value


def _run(arguments: Namespace) -> int:
    outcome = _Outcome()
    trio.run(partial(_show, plain=arguments.plain, patience=arguments.patience, outcome=outcome))
    return outcome.status


async def _show(*, plain: bool, patience: float, outcome: _Outcome) -> None:
    async with stopped_by_signals(second_ends_at_once=False) as stop:
        with (
            stop.scope,
            tempfile.TemporaryDirectory(prefix="trio_hub-demo-") as folder,
            make_screen(plain=plain) as screen,
        ):
            await _perform(Path(folder), screen, patience)
            outcome.status = screen.conclude()
    if stop.signal is not None:
        # What a shell reports of a program that a signal ended.
        outcome.status = 128 + stop.signal


async def _perform(folder: Path, screen: Screen, patience: float) -> None:
    """Tell the story. What goes wrong in it becomes a check that failed."""
    with trio.move_on_after(patience) as scope:
        try:
            async with Cast.on_stage(folder, screen) as cast:
                await tell_story(cast, screen)
        except (Unexpected, NetworkError) as error:
            screen.check(str(error), False)
    if scope.cancelled_caught:
        screen.check(f"it ends within {patience:g} s", False)


DEMO = Command(
    description=_DESCRIPTION,
    add_arguments=_add_arguments,
    run=_run,
)
