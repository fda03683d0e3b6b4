"""A terminal as Trio sees it: lines come in, what was said and how things stand go out."""

from __future__ import annotations

import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

import trio

from ..._nursery import open_plain_nursery
from .lines import LineScreen
from .screen import safe_line, safe_lines

if sys.platform != "win32":
    import termios

try:
    from prompt_toolkit.formatted_text import FormattedText
    from prompt_toolkit.history import History

    from .prompt import Prompt
    from .typed_history import history_path as history_path, open_history
except ImportError as missing:
    raise ImportError(
        "a terminal needs prompt_toolkit: install trio_hub[chat], or talk line by line with --plain"
    ) from missing

__all__ = ["WAITING_LINES_MAX", "Terminal", "history_path", "open_terminal"]

#: Lines typed in `chat` that wait to be posted; the next one stays where it is typed. More than
#: anybody types; only what is pasted gets there.
WAITING_LINES_MAX: Final = 64
# How long a terminal that takes nothing (stopped, hung) may hold up the end of the program.
_LEAVE_SECONDS_MAX: Final = 2.0


class Terminal:
    """
    A `Screen` with a line to type on; `open_terminal` makes them.

    Once the person has left, what is still to be shown is written below.

    Attributes:
        left: Set when the person has left: Ctrl-D, or the terminal is gone.
    """

    def __init__(self, name: str, history: History) -> None:
        self.left = trio.Event()
        self._over = trio.Event()
        self._after = LineScreen()
        self._token = trio.lowlevel.current_trio_token()
        self._turn = trio.Lock()
        self._lines: deque[str] = deque()
        self._entered = trio.Event()
        self._connection = "connecting"
        self._word = ""
        self._scope = trio.CancelScope(shield=True)
        self._prompt = Prompt(
            safe_line(name), history, may_enter=self._may_enter, on_line=self._enter
        )
        self._show_status()

    # The conversation

    async def lines(self) -> AsyncIterator[str]:
        """Yield the lines that are entered, until the person has left. Cancellation: none is lost."""
        while True:
            while self._lines:
                yield self._lines.popleft()
            if self.left.is_set():
                return
            self._entered = trio.Event()
            if not self._lines:
                await self._entered.wait()

    async def say(self, name: str, text: str) -> None:
        """Show what somebody said. Raises `OSError`. Cancellation: it may be shown all the same."""
        first, *more = safe_lines(text)
        shown = FormattedText(
            [("class:name", f"{safe_line(name)}: "), ("", "\n  ".join([first, *more]))]
        )
        if not await self._print(shown):
            await self._after.say(name, text)

    async def remark(self, text: str) -> None:
        """Show something of the program's own. Raises and Cancellation: as `say`."""
        shown = FormattedText([("class:remark", f"-- {safe_line(text)}")])
        if not await self._print(shown):
            await self._after.remark(text)

    async def show_turn(self, text: str) -> None:
        """Show who has the word, until it is somebody else."""
        self._word = text
        self._show_status()

    def show_connection(self, state: str) -> None:
        """Show how the connection stands. Never waits."""
        self._connection = state
        self._show_status()

    def _show_status(self) -> None:
        parts = [self._connection, self._word]
        self._prompt.show_status(safe_line(" | ".join(filter(None, parts))))

    async def _print(self, text: FormattedText) -> bool:
        printed = trio.Event()
        trouble: list[OSError] = []

        def done(error: OSError | None) -> None:
            if error is not None:
                trouble.append(error)
            self._in_trio(printed.set)

        async with self._turn:
            if not self._prompt.print_soon(text, done):
                return False
            await printed.wait()
        if trouble:
            raise trouble[0]
        return True

    # Its life

    async def run(self) -> None:
        """
        Take lines until the person leaves, or `leave` is called.

        Ctrl-C is as the signal of that name, once the terminal is as it was before.

        Cancellation: passed over; `leave` ends it.
        """
        interrupted = False
        # A terminal that is gone has been left, too.
        with self._scope, suppress(OSError):
            interrupted = await trio.to_thread.run_sync(self._prompt.run, abandon_on_cancel=True)
        self._over.set()
        if interrupted:
            signal.raise_signal(signal.SIGINT)
        else:
            self.left.set()
            self._entered.set()

    async def watch_size(self) -> None:
        """Draw again when the window has another size, until cancelled."""
        if sys.platform != "win32":
            with trio.open_signal_receiver(signal.SIGWINCH) as signals:
                async for _ in signals:
                    self._prompt.resized()

    async def leave(self) -> None:
        """Let `run` end, in a bounded time. Cancellation: as `run`."""
        self._prompt.leave()
        with trio.move_on_after(_LEAVE_SECONDS_MAX, shield=True):
            await self._over.wait()
        self._scope.cancel()

    # In the prompt's thread

    def _may_enter(self) -> str:
        if len(self._lines) < WAITING_LINES_MAX:
            return ""
        return f"{WAITING_LINES_MAX} lines wait to be posted: enter it again later"

    def _enter(self, line: str) -> None:
        self._lines.append(line)
        self._in_trio(lambda: self._entered.set())

    def _in_trio(self, call: Callable[[], None]) -> None:
        # A person may type until the very end.
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(call)


@asynccontextmanager
async def open_terminal(name: str, *, history_file: Path | None) -> AsyncIterator[Terminal]:
    """
    Have the terminal of this process for as long as the block lasts; it is as before afterwards.

    Args:
        name: Who types.
        history_file: Where the lines that are typed are kept; None is nowhere.

    Cancellation: the terminal is put right first, in at most two seconds.
    """
    trouble = ""
    history = open_history(None)
    try:
        history = open_history(history_file)
    except OSError as error:
        trouble = f"what you type is not kept: {error}"
    with _as_before():
        terminal = Terminal(name, history)
        async with open_plain_nursery() as nursery:
            nursery.start_soon(terminal.run)
            nursery.start_soon(terminal.watch_size)
            try:
                if trouble:
                    await terminal.remark(trouble)
                yield terminal
            finally:
                await terminal.leave()
                nursery.cancel_scope.cancel()


@contextmanager
def _as_before() -> Iterator[None]:
    """Put the modes of the terminal back, also where its own thread hangs."""
    if sys.platform == "win32":
        yield
        return
    number = sys.stdin.fileno()
    modes = termios.tcgetattr(number)
    try:
        yield
    finally:
        # One that is gone needs nothing.
        with suppress(termios.error):
            termios.tcsetattr(number, termios.TCSANOW, modes)
