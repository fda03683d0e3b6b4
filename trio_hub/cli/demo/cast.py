"""
The processes of the demonstration: started, listened to, killed, and in the end all gone.

Every wait is for a line that a process writes. Each process is ended by its own handle, however
the demonstration ends.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

import attrs
import trio

from .lines import LineReader
from .screen import Screen

__all__ = ["Actor", "Cast", "Unexpected"]

# For the end of a process that was asked to end; then it is killed.
_FAREWELL_SECONDS = 5.0
_LISTENING = "trio_hub listening on "


class Unexpected(Exception):
    """The story did not go on as it should have."""


@attrs.define(eq=False)
class Actor:
    """
    One process.

    Attributes:
        name: Who it is on the screen.
        seen: Every event that it said so far.
    """

    name: str
    process: trio.Process
    errors: Path
    seen: list[dict[str, Any]] = attrs.field(factory=list)
    _lines: LineReader = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        assert self.process.stdout is not None
        self._lines = LineReader(self.process.stdout)

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    async def tell(self, **command: Any) -> None:
        """
        Give it a command.

        Raises:
            Unexpected: It has ended.
        """
        assert self.process.stdin is not None
        try:
            await self.process.stdin.send_all(json.dumps(command).encode() + b"\n")
        except trio.BrokenResourceError:
            raise Unexpected(f"{self.name} has ended: {self._last_words()}") from None

    async def hear(self, event: str, **fields: Any) -> dict[str, Any]:
        """
        Return the next event of that kind and with those fields; what it says before is kept.

        Raises:
            Unexpected: It ended without saying it.
        """
        while (line := await self.next_event()) is not None:
            if line["event"] == event and fields.items() <= line.items():
                return line
        raise Unexpected(f"{self.name} ended before it said {event!r}: {self._last_words()}")

    async def next_event(self) -> dict[str, Any] | None:
        """Return what it says next, or None when it has ended."""
        line = await self._lines.next_line()
        if line is None:
            return None
        if line.startswith(_LISTENING):
            event = {"event": "listening", "url": line.removeprefix(_LISTENING)}
        else:
            event = json.loads(line)
        self.seen.append(event)
        return event

    async def kill(self) -> bool:
        """End it with SIGKILL, read what it had said, and return whether it died of that."""
        self.process.kill()
        status = await self.process.wait()
        await self._hear_rest()
        return status == -signal.SIGKILL

    async def dismiss(self) -> int:
        """Ask it to end, let it do so with care, and return its exit status."""
        if self.process.stdin is not None:
            await self.process.stdin.aclose()
        else:
            self.process.terminate()
        await self._hear_rest()
        return await self.process.wait()

    async def _hear_rest(self) -> None:
        while await self.next_event() is not None:
            pass

    def _last_words(self) -> str:
        lines = self.errors.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


@attrs.define(eq=False)
class Cast:
    """Starts processes, and sees to it that they end."""

    folder: Path
    screen: Screen
    _stack: AsyncExitStack
    _started: int = 0

    @classmethod
    @asynccontextmanager
    async def on_stage(cls, folder: Path, screen: Screen) -> AsyncIterator[Cast]:
        """
        Yield a cast; when the block is left, every process that it started is ended.

        Cancellation: they are ended too, in a bounded time.
        """
        async with AsyncExitStack() as stack:
            yield cls(folder, screen, stack)

    async def hub(self, port: int = 0) -> tuple[Actor, str]:
        """Start a hub on the one data directory; return it and its URL once it listens."""
        words = ["-m", "trio_hub", "serve", "--port", str(port)]
        words += ["--data", str(self.folder / "data"), "--log-level", "warning"]
        hub = await self._start("hub", words, stdin=None)
        url: str = (await hub.hear("listening"))["url"]
        return hub, url

    async def agent(self, name: str, url: str, *options: str) -> Actor:
        """Start the process of an agent."""
        module = f"{__package__}.{name}"
        return await self._start(name, ["-m", module, url, *options], stdin=subprocess.PIPE)

    async def _start(self, name: str, words: Sequence[str], stdin: int | None) -> Actor:
        self._started += 1
        errors = self.folder / f"{self._started}-{name}.stderr"
        with errors.open("wb") as stderr:
            process = await _open_process(words, stdin, stderr)
        self._stack.push_async_callback(_end, process)
        return Actor(name, process, errors)


async def _open_process(words: Sequence[str], stdin: int | None, stderr: BinaryIO) -> trio.Process:
    return await trio.lowlevel.open_process(
        [sys.executable, *words],
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        # Out of reach of the terminal's Ctrl-C: it is we who end them.
        process_group=0,
    )


async def _end(process: trio.Process) -> None:
    with trio.CancelScope(shield=True):
        if process.returncode is None:
            process.terminate()
            with trio.move_on_after(_FAREWELL_SECONDS):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                await trio.aclose_forcefully(stream)
