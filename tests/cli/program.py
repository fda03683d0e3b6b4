"""The program as its users run it: a process with a command line, lines, signals and a status."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

__all__ = ["Ended", "Running", "run", "running", "write_whole"]

# Far more than anything here takes; only what hangs gets there.
PATIENCE_SECONDS = 60.0
_LISTENING = "trio_hub listening on "


@attrs.frozen
class Ended:
    """How a program ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def complaint(self) -> str:
        """The one line that it complained with."""
        assert self.status == 2, self
        assert self.stdout == "", self
        [line] = self.stderr.splitlines()
        assert line.startswith("trio_hub: "), self
        return line


@attrs.define(eq=False)
class Running:
    """A hub that is running."""

    process: trio.Process
    first_line: str
    _stdout: bytearray
    _stderr: Path

    @property
    def url(self) -> str:
        """Where it listens, by its own word."""
        return self.first_line.removeprefix(_LISTENING)

    @property
    def port(self) -> int:
        """The port of `url`."""
        return int(self.url.rpartition(":")[2])

    @property
    def log(self) -> str:
        """What it has written to stderr."""
        return self._stderr.read_text()

    async def end(self, number: int = signal.SIGTERM) -> Ended:
        """Send it a signal, and return how it ended, in a bounded time."""
        self.process.send_signal(number)
        with trio.fail_after(PATIENCE_SECONDS):
            assert self.process.stdout is not None
            async for chunk in self.process.stdout:
                self._stdout += chunk
            status = await self.process.wait()
        return Ended(status, self._stdout.decode(), self.log)


def command(*words: str | Path) -> list[str]:
    """Return the command line that runs the program."""
    return [sys.executable, "-m", "trio_hub", *map(str, words)]


async def run(*words: str | Path) -> Ended:
    """Run the program to its end."""
    with trio.fail_after(PATIENCE_SECONDS):
        done = await trio.run_process(
            command(*words), capture_stdout=True, capture_stderr=True, check=False
        )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


@asynccontextmanager
async def running(tmp_path: Path, *words: str | Path) -> AsyncIterator[Running]:
    """Run a hub for as long as the block lasts; entered once it listens."""
    with tempfile.NamedTemporaryFile(dir=tmp_path, suffix=".stderr", delete=False) as errors:
        process = await trio.lowlevel.open_process(
            command(*words), stdout=subprocess.PIPE, stderr=errors
        )
    try:
        said = bytearray()
        assert process.stdout is not None
        with trio.fail_after(PATIENCE_SECONDS):
            while b"\n" not in said:
                chunk = await process.stdout.receive_some()
                assert chunk, "it ended before it listened"
                said += chunk
        yield Running(process, said.decode().split("\n")[0], said, Path(errors.name))
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()
            if process.stdout is not None:
                await process.stdout.aclose()


def write_whole(path: Path, content: str) -> None:
    """Write as an editor does: nobody sees half of it."""
    path.with_suffix(".new").write_text(content)
    path.with_suffix(".new").rename(path)
