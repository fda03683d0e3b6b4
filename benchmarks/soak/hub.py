"""The hub that is soaked: a process of its own, on a disk, with keys; and what it says of itself."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from trio_hub.auth import make_key
from trio_hub.cli.key_file import KeyFile, write_key_file

__all__ = ["JUDGED", "SoakedHub", "run_hub"]

#: What every sample must have.
JUDGED = frozenset(
    {
        "process_open_fds",
        "process_resident_memory_bytes",
        "trio_hub_connections",
        "trio_hub_running_tasks",
    }
)


@attrs.frozen
class SoakedHub:
    """
    A hub that runs.

    Attributes:
        url: Where agents connect.
        keys: Its keys file.
        tokens: The keys that are in it, by name.
        log: What it complains about.
    """

    url: str
    keys: Path
    tokens: dict[str, str]
    log: Path
    _metrics: tuple[str, int]

    async def sample(self) -> dict[str, float]:
        """Ask the hub for its metrics: the largest of each; and when that was (``at``)."""
        stream = await trio.open_tcp_stream(*self._metrics)
        async with stream:
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: soak\r\n\r\n")
            page = b"".join([chunk async for chunk in stream]).decode()
        found = {"at": time.monotonic()}
        for line in page.splitlines():
            labelled, _, value = line.rpartition(" ")
            name = labelled.partition("{")[0]
            if name and not line.startswith("#"):
                try:
                    found[name] = max(found.get(name, 0.0), float(value))
                except ValueError:
                    continue  # A header.
        return found


@asynccontextmanager
async def run_hub(
    directory: Path, names: Iterable[str], retain_ended: str, operator: str
) -> AsyncIterator[SoakedHub]:
    """Run a hub with an operator for as long as the block lasts, and end it in good order."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        metrics_port = free.getsockname()[1]
    keys, log = directory / "keys.toml", directory / "hub.log"
    made = {name: make_key(name, time.time()) for name in names}
    write_key_file(keys, KeyFile(hashed=[key for _, key in made.values()]))
    words = [sys.executable, "-m", "trio_hub", "--port", "0", "--data", str(directory / "data")]
    words += ["--metrics-port", str(metrics_port), "--keys", str(keys)]
    words += ["--operator", operator, "--retain-ended", retain_ended, "--log-level", "error"]
    with log.open("w") as complaints:
        process = await trio.lowlevel.open_process(words, stdout=-1, stderr=complaints)
    try:
        assert process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            more = await process.stdout.receive_some()
            assert more, log.read_text()
            line += more
        tokens = {name: token for name, (token, _) in made.items()}
        yield SoakedHub(line.split()[-1].decode(), keys, tokens, log, ("127.0.0.1", metrics_port))
        process.terminate()
        with trio.move_on_after(20):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
