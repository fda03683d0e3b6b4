"""Lines in from stdin and out to a terminal or a pipe, without holding up anything else."""

from __future__ import annotations

import codecs
import os
from collections.abc import AsyncIterator
from typing import Final

import trio

from ..command import CommandError
from .screen import safe_line, safe_lines

__all__ = ["LINE_CHARACTERS_MAX", "LineScreen", "typed_lines"]

_READ_BYTES: Final = 65536
#: The longest line that `chat` takes from a pipe; more is no line, and would fill the memory.
LINE_CHARACTERS_MAX: Final = 1_000_000
_STDOUT: Final = 1
_STDERR: Final = 2


async def typed_lines(file_number: int = 0) -> AsyncIterator[str]:
    """
    Yield what is typed, line by line, without empty ones; it ends where the input ends.

    Raises:
        CommandError: A line is too long to be one.

    Cancellation: a line that is being typed is lost.
    """
    # Not `sys.stdin`: a thread that waits in it holds a lock that Python wants at its end.
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest = ""
    ended = False
    while not ended:
        chunk = await trio.to_thread.run_sync(
            os.read, file_number, _READ_BYTES, abandon_on_cancel=True
        )
        ended = not chunk
        *lines, rest = (rest + decoder.decode(chunk, final=ended)).split("\n")
        if len(rest) > LINE_CHARACTERS_MAX:
            raise CommandError(f"a line has more than {LINE_CHARACTERS_MAX:,} characters")
        for line in [*lines, rest] if ended else lines:
            if line.strip():
                yield line.rstrip("\r")


class LineScreen:
    """
    A `Screen` of lines: what was said goes to stdout, remarks of the program's own to stderr.

    A person who stops the output (Ctrl-S, a pager) stops whoever shows something here, and nothing
    else.
    """

    def __init__(self) -> None:
        self._turn = trio.Lock()

    async def say(self, name: str, text: str) -> None:
        """
        Show what somebody said: its name in front, further lines of it indented.

        Raises:
            BrokenPipeError: Nobody reads any more.

        Cancellation: it may be shown in part.
        """
        first, *more = safe_lines(text)
        await self._write(_STDOUT, [f"{safe_line(name)}: {first}", *(f"  {it}" for it in more)])

    async def remark(self, text: str) -> None:
        """Show how things stand. Raises and Cancellation: as `say`."""
        await self._write(_STDERR, [f"-- {safe_line(text)}"])

    async def show_turn(self, text: str) -> None:
        """Remark who has the word. Raises and Cancellation: as `say`."""
        if text:
            await self.remark(text)

    def show_connection(self, state: str) -> None:
        """Pass over it: what is worth a line is remarked."""

    async def _write(self, file_number: int, lines: list[str]) -> None:
        content = "".join(f"{line}\n" for line in lines).encode("utf-8", errors="replace")
        async with self._turn:
            await trio.to_thread.run_sync(_write_all, file_number, content, abandon_on_cancel=True)


def _write_all(file_number: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(file_number, left) :]
