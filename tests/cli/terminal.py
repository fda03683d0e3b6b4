"""A person at a terminal: a pty, what stands on its screen, and keys to press."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pyte
import trio

from .program import PATIENCE_SECONDS

__all__ = ["Terminal", "at_terminal"]

# Of the 4 KiB that Linux holds ready to be read from a pty.
_HELD_BYTES = 4000
# What a program with a line to edit says to a terminal that it takes.
_TAKES_PASTES = b"\x1b[?2004h"


@attrs.define(eq=False)
class Terminal:
    """
    A program in a terminal of its own.

    Attributes:
        process: The program.
        raw: All that it has written.
        screen: What of that stands on the screen now.
    """

    process: trio.Process
    _ours: int
    _theirs: int
    _before: list[Any]
    screen: pyte.Screen
    _stream: pyte.ByteStream
    raw: bytearray = attrs.field(factory=bytearray)

    @property
    def lines(self) -> list[str]:
        """What stands on the screen, without what is empty."""
        return [line.rstrip() for line in self.screen.display if line.strip()]

    async def see(self, *texts: str) -> None:
        """Return once all of this stands on the screen."""
        with trio.move_on_after(PATIENCE_SECONDS):
            while not all(any(text in line for line in self.lines) for text in texts):
                await self._read()
            return
        raise AssertionError(f"{texts} are not to be seen: {self.lines}")

    async def see_lines(self, *lines: str) -> None:
        """Return once the last lines on the screen are these."""
        with trio.move_on_after(PATIENCE_SECONDS):
            while self.lines[-len(lines) :] != list(lines):
                await self._read()
            return
        raise AssertionError(f"{lines} are not to be seen: {self.lines}")

    async def write(self, keys: str) -> None:
        """Press keys."""
        await trio.lowlevel.wait_writable(self._ours)
        assert os.write(self._ours, keys.encode()) == len(keys.encode())

    async def write_and_see_it_drawn(self, keys: str) -> None:
        """
        Press keys after which the program takes the terminal once more, and return when it has.

        What is typed in between is echoed by the terminal itself.
        """
        taken = self.raw.count(_TAKES_PASTES)
        await self.write(keys)
        with trio.fail_after(PATIENCE_SECONDS):
            while self.raw.count(_TAKES_PASTES) == taken:
                await self._read()

    def resize(self, *, columns: int) -> None:
        """Give the window another width."""
        self.screen.resize(columns=columns)
        _set_size(self._ours, self.screen.lines, columns)

    async def is_full(self) -> None:
        """Return once the program has written as much as is held for it without being read."""
        with trio.fail_after(PATIENCE_SECONDS):
            while _readable(self._ours) < _HELD_BYTES:
                await trio.lowlevel.checkpoint()

    @property
    def modes_are_as_before(self) -> bool:
        """Whether the terminal echoes, edits lines and so on as at first."""
        return termios.tcgetattr(self._theirs) == self._before

    async def end(self) -> int:
        """Return the exit status, once the program has ended and put the terminal right."""
        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                # Or it could not write its last words.
                nursery.start_soon(self._read_on)
                status = await self.process.wait()
                nursery.cancel_scope.cancel()
        # What it wrote last is there already.
        os.set_blocking(self._ours, False)
        try:
            while chunk := os.read(self._ours, 65536):
                self._take(chunk)
        except BlockingIOError:
            pass
        assert self.modes_are_as_before
        # Keys are as before, and so is the cursor.
        assert self.raw.rfind(_TAKES_PASTES) <= self.raw.rfind(b"\x1b[?2004l")
        assert not self.screen.cursor.hidden
        return status

    async def _read_on(self) -> None:
        while True:
            await self._read()

    async def _read(self) -> None:
        await trio.lowlevel.wait_readable(self._ours)
        self._take(os.read(self._ours, 65536))

    def _take(self, chunk: bytes) -> None:
        self.raw += chunk
        self._stream.feed(chunk)


@asynccontextmanager
async def at_terminal(
    words: Sequence[str], *, rows: int = 24, columns: int = 100, **environment: str
) -> AsyncIterator[Terminal]:
    """Run a program in a terminal for as long as the block lasts."""
    ours, theirs = pty.openpty()
    _set_size(ours, rows, columns)
    before = termios.tcgetattr(theirs)
    process = await trio.lowlevel.open_process(
        ["setsid", "--ctty", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", **environment},
    )
    screen = pyte.Screen(columns, rows)
    try:
        yield Terminal(process, ours, theirs, before, screen, pyte.ByteStream(screen))
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.wait()
        os.close(ours)
        os.close(theirs)


def _readable(file_number: int) -> int:
    (held,) = struct.unpack("i", fcntl.ioctl(file_number, termios.FIONREAD, b"\0" * 4))
    return int(held)


def _set_size(file_number: int, rows: int, columns: int) -> None:
    fcntl.ioctl(file_number, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
