"""A worker in a process of its own, which says a line for each thing it does, and is killed."""

from __future__ import annotations

import subprocess
import sys

import trio

__all__ = ["WorkerProcess"]

_WITHIN_SECONDS = 90.0


class WorkerProcess:
    """One life of a worker. `begin` makes them."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._heard = b""

    @classmethod
    async def begin(cls, module: str, *arguments: str) -> WorkerProcess:
        """Start ``python -m MODULE ARGUMENTS``. Its stdin stays open as long as this process lives."""
        command = [sys.executable, "-m", module, *arguments]
        return cls(
            await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )

    async def line(self) -> str | None:
        """
        Return what it says next; None where it says no more.

        What it said before it died is there after its death; half a line is not.
        """
        assert self._process.stdout is not None
        with trio.fail_after(_WITHIN_SECONDS):
            while b"\n" not in self._heard:
                more = await self._process.stdout.receive_some()
                if not more:
                    return None
                self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    async def kill(self) -> None:
        """End it with SIGKILL, if it has not ended; what it said can still be read."""
        self._process.kill()
        with trio.CancelScope(shield=True):
            await self._process.wait()

    async def close(self) -> None:
        """Kill it, and let go of its pipes."""
        await self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with trio.CancelScope(shield=True):
                    await pipe.aclose()
