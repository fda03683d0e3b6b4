"""
The line that is typed and all that stands above it: prompt_toolkit, in a thread of its own.

prompt_toolkit runs on asyncio. Here it has a thread with an event loop of its own, and this class
is all that is known of it outside. The methods can be called from any thread; the callbacks are
called in the thread of `run`.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import History
from prompt_toolkit.output import create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style
from prompt_toolkit.validation import ValidationError, Validator

__all__ = ["Prompt"]

_STYLE: Final = Style.from_dict({"name": "bold", "remark": "italic", "status": "reverse"})


class _Interrupted(Exception):
    """Ctrl-C."""


class Prompt:
    """
    A prompt below, what is printed above it, and a line between them that says how things stand.

    Args:
        name: Whose words are typed; it is the prompt.
        history: The lines that were typed before.
        may_enter: Returns why no further line can be taken now, or "".
        on_line: Gets each line that is entered, in the thread of `run`.
    """

    def __init__(
        self,
        name: str,
        history: History,
        *,
        may_enter: Callable[[], str],
        on_line: Callable[[str], None],
    ) -> None:
        self._name = name
        self._history = history
        self._may_enter = may_enter
        self._on_line = on_line
        self._status = ""
        self._lock = threading.Lock()
        self._to_print: deque[tuple[FormattedText, Callable[[OSError | None], None]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[bool] | None = None
        self._session: PromptSession[str] | None = None
        self._is_over = False

    # From any thread

    def print_soon(self, text: FormattedText, done: Callable[[OSError | None], None]) -> bool:
        """
        Print above the prompt, and call `done` then, with what went wrong, in the prompt's thread.

        Returns False, and does nothing, where the prompt is over.
        """
        with self._lock:
            if self._is_over:
                return False
            self._to_print.append((text, done))
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._print_all)
        return True

    def show_status(self, text: str) -> None:
        """Change what stands above the prompt."""
        with self._lock:
            self._status = text
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._invalidate)

    def resized(self) -> None:
        """The window has another size."""
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._draw_again)

    def leave(self) -> None:
        """Let `run` return, with the terminal as it was before."""
        with self._lock:
            self._is_over = True
            if self._loop is not None and self._task is not None:
                self._loop.call_soon_threadsafe(self._task.cancel)

    # In a thread of its own

    def run(self) -> bool:
        """
        Take lines until Ctrl-D, Ctrl-C, the end of the terminal or `leave`. Blocks.

        Returns:
            Whether it was Ctrl-C.

        Raises:
            OSError: The terminal is gone.
        """
        # Not `sys.stdout`: a terminal that takes nothing would keep its lock, and Python wants that
        # at its end.
        with open(sys.stdout.fileno(), "w", encoding="utf-8", closefd=False) as screen:
            try:
                return asyncio.run(self._take_lines(screen))
            except asyncio.CancelledError:
                return False
            finally:
                with self._lock:
                    self._is_over = True
                    self._loop = None
                # What came at the last moment.
                self._print_all()

    async def _take_lines(self, screen: TextIO) -> bool:
        output = create_output(screen)
        if isinstance(output, Vt100_Output):
            # Terminals that do not say where the cursor is would hold up everything for a second.
            output.enable_cpr = False
        session: PromptSession[str] = PromptSession(
            self._message,
            output=output,
            history=self._history,
            style=_STYLE,
            validator=_Room(self._may_enter),
            validate_while_typing=False,
            enable_suspend=True,
            interrupt_exception=_Interrupted,
        )
        if hasattr(signal, "SIGWINCH"):
            # Whoever has the main thread hears of it, by `resized`. Looking twice a second misses
            # what happens in the first half.
            session.app.terminal_size_polling_interval = None
        with self._lock:
            if self._is_over:
                return False
            self._session = session
            self._task = asyncio.current_task()
            self._loop = asyncio.get_running_loop()
        self._print_all()
        while True:
            try:
                line = await session.prompt_async(set_exception_handler=False)
            except _Interrupted:
                return True
            except EOFError:
                return False
            if line.strip():
                self._on_line(line)

    def _message(self) -> FormattedText:
        assert self._session is not None
        name = ("class:name", f"{self._name}: ")
        # What stays on the screen once a line is entered is only that line.
        if self._session.app.is_done:
            return FormattedText([name])
        return FormattedText([("class:status", f" {self._status} "), ("", "\n"), name])

    def _invalidate(self) -> None:
        if self._session is not None:
            self._session.app.invalidate()

    def _draw_again(self) -> None:
        if self._session is not None and self._session.app.is_running:
            self._session.app.renderer.erase()
            self._invalidate()

    def _print_all(self) -> None:
        while self._to_print:
            text, done = self._to_print.popleft()
            trouble = None
            try:
                self._print(text)
            except OSError as error:
                trouble = error
            done(trouble)
        self._invalidate()

    def _print(self, text: FormattedText) -> None:
        if self._session is None:
            raise OSError("the terminal was never there")
        # As `run_in_terminal` does, but the terminal stays in raw mode: otherwise what is typed at
        # this moment is echoed, and Ctrl-D and Ctrl-C are lost.
        app = self._session.app
        app.renderer.erase()
        app.print_text(FormattedText([*text, ("", "\n")]), style=_STYLE)


class _Room(Validator):
    """Refuses a line for which there is no room; it stays where it was typed."""

    def __init__(self, may_enter: Callable[[], str]) -> None:
        self._may_enter = may_enter

    def validate(self, document: object) -> None:
        """Raise `ValidationError` with the reason."""
        reason = self._may_enter()
        if reason:
            raise ValidationError(message=reason)
