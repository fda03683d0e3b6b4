"""AG2's programs as processes: asked of a seedbed, talked to over pipes, ended by signals."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import trio

__all__ = ["Seedbed", "Seedling"]

_SEEDBED = Path(__file__).parent / "peers" / "seedbed.py"


class Seedling:
    """
    A process that a seedbed has started. It is not our child, so that it has ended shows in the
    end of its stdout.
    """

    def __init__(
        self, pid: int, stdin: trio.lowlevel.FdStream, stdout: trio.lowlevel.FdStream
    ) -> None:
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self._ended = False

    def kill(self) -> None:
        """End it with SIGKILL, if it has not ended yet."""
        if self._ended:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    async def wait(self) -> None:
        """Wait until it has ended, and close the pipes. Nobody else may be reading."""
        if self._ended:
            return
        async for _ in self.stdout:
            pass
        self._ended = True
        await self.stdin.aclose()
        await self.stdout.aclose()


class Seedbed:
    """One `peers/seedbed.py`."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    @classmethod
    @contextmanager
    def laid_out(cls) -> Iterator[Seedbed]:
        """Start it; leaving ends it. What it has started lives on until it is killed."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, str(_SEEDBED), str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
            try:
                yield cls(ours)
            finally:
                ours.close()
                process.wait()

    async def start(self, *command: str, errors: TextIO) -> Seedling:
        """
        Start a program.

        Args:
            command: The program's file and its arguments.
            errors: Where its stderr goes.
        """
        read_by_it, stdin = os.pipe()
        stdout, written_by_it = os.pipe()
        streams = [read_by_it, written_by_it, errors.fileno()]
        try:
            pid = await trio.to_thread.run_sync(self._ask_for, command, streams)
        finally:
            os.close(read_by_it)
            os.close(written_by_it)
        return Seedling(pid, trio.lowlevel.FdStream(stdin), trio.lowlevel.FdStream(stdout))

    def _ask_for(self, command: tuple[str, ...], streams: list[int]) -> int:
        socket.send_fds(self._control, [json.dumps(command).encode()], streams)
        answer = self._control.recv(64)
        if not answer:
            raise RuntimeError(f"{_SEEDBED} has ended; its stderr says why")
        return int(answer)
