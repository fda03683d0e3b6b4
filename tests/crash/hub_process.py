"""A hub in a process of its own, to be killed and started again on one directory and one port."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
from pathlib import Path

import trio

__all__ = ["HubProcess"]

_LISTENS_WITHIN_SECONDS = 60.0


class HubProcess:
    """
    ``python -m trio_hub``, as often as it takes.

    Args:
        directory: Its data, and beside it what it says on stderr.
        rng: Chooses the port.
        options: More of its command line.

    Attributes:
        port, url: Where it is reached; the same all the time.
        life: How many times it has begun to listen. Clients wait for the next one.
        is_well: Whether it listens and nobody has killed it; no connection may end then.
    """

    def __init__(self, directory: Path, rng: random.Random, *options: str) -> None:
        self._options = options
        self.data = directory / "data"
        self._stderr = directory / "stderr.txt"
        self.port = _port_for_good(rng)
        self.url = f"ws://127.0.0.1:{self.port}"
        self.life = 0
        self.is_well = False
        self._listens = trio.Event()
        self._process: trio.Process | None = None

    async def listening_after(self, life: int) -> int:
        """Wait for a life later than `life`, and return which one it is."""
        while self.life <= life:
            await self._listens.wait()
        return self.life

    async def begin(self) -> None:
        """Start it, and do not wait until it listens."""
        with self._stderr.open("ab") as stderr:
            self._process = await trio.lowlevel.open_process(
                [
                    *(sys.executable, "-m", "trio_hub", "--log-level", "warning"),
                    *("--port", str(self.port), "--data", str(self.data)),
                    *self._options,
                ],
                stdout=subprocess.PIPE,
                stderr=stderr,
            )

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        await self.begin()
        assert self._process is not None
        assert self._process.stdout is not None
        line = b""
        with trio.fail_after(_LISTENS_WITHIN_SECONDS):
            while not line.endswith(b"\n"):
                more = await self._process.stdout.receive_some()
                assert more, f"the hub did not open again: {self.said_on_stderr()}"
                line += more
        assert line.split()[-1].decode() == self.url
        self.life += 1
        self.is_well = True
        self._listens.set()
        self._listens = trio.Event()

    async def kill(self) -> None:
        """End it with SIGKILL. It must have lived until then."""
        assert self._process is not None
        process, self._process = self._process, None
        self.is_well = False
        process.kill()
        status = await process.wait()
        if process.stdout is not None:
            await process.stdout.aclose()
        assert status == -signal.SIGKILL, f"the hub ended by itself: {self.said_on_stderr()}"

    async def stop(self) -> None:
        """End it with SIGTERM, so that it writes what it would otherwise write behind."""
        assert self._process is not None
        process, self._process = self._process, None
        self.is_well = False
        process.terminate()
        status = await process.wait()
        if process.stdout is not None:
            await process.stdout.aclose()
        assert status == 0, f"the hub did not end in good order: {self.said_on_stderr()}"

    async def end(self) -> None:
        """See that nothing is left of it, however the test went."""
        if self._process is not None:
            self._process.kill()
            with trio.CancelScope(shield=True):
                await self._process.wait()

    def said_on_stderr(self) -> str:
        """Return the end of what it complained about, in all its lives."""
        return self._stderr.read_text()[-5000:]


def _port_for_good(rng: random.Random) -> int:
    """
    Find a free port below those that the system lends to clients.

    A borrowed one may be another program's while the hub is down; and a client that knocks at a
    borrowed port can be given that very port, and so be connected with itself.
    """
    while True:
        port = rng.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
