"""
The hubs under test, each started as a process of its own and ended by its id.

A peer says what it promises in its `durability`, because a figure without that word next to
it means nothing: AG2's disk store never calls fsync, ours answers after one.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["PEERS", "Peer", "PeerFailed", "RunningPeer", "figures_of", "start"]

ROOT = Path(__file__).resolve().parent.parent
_END_TIMEOUT_SECONDS = 15.0


class PeerFailed(Exception):
    """A hub did not come up. The message carries what it wrote to stderr."""


@dataclass(frozen=True)
class Peer:
    """
    One kind of hub.

    Args:
        name: What the tables call it.
        durability: What is true of a post when its answer arrives.
        module: What its interpreter must be able to import.
        command: Arguments after the interpreter; `{data}` stands for the data directory.
        keeps: Whether a restart finds what was posted.
        root: Where its interpreter starts, and looks for modules first.
        questions: What it can be asked; None is everything.
    """

    name: str
    durability: str
    module: str
    command: tuple[str, ...]
    keeps: bool = False
    root: Path = ROOT
    questions: frozenset[str] | None = None

    def available(self, python: str) -> bool:
        """Say whether `python` can run this hub."""
        probe = f"import importlib.util as u, sys; sys.exit(u.find_spec({self.module!r}) is None)"
        done = subprocess.run(
            [python, "-c", probe], cwd=self.root, capture_output=True, check=False
        )
        return done.returncode == 0


def figures_of(command: Sequence[str], what: str, *, timeout: float) -> dict[str, float]:
    """
    Run a program that measures, and return what it printed: one JSON object.

    Args:
        what: What it measures, for the error.
        timeout: Seconds that it may take.

    Raises:
        PeerFailed: It ended with an error.
    """
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode != 0:
        raise PeerFailed(f"{what}: {done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


# What a hub costs that posts and delivers, and no more.
_POSTS = frozenset({"one_conversation", "many_channels", "fan_out"})
_AG2_HUB = str(ROOT / "benchmarks" / "ag2_hub.py")

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("ag2-memory", "none: lost with the process", "ag2", (_AG2_HUB,)),
        Peer(
            "ag2-disk",
            "written, never synced: lost with the power",
            "ag2",
            (_AG2_HUB, "--data", "{data}"),
            keeps=True,
        ),
        Peer(
            "trio_hub",
            "fsync before the answer: kept",
            "trio_hub.__main__",
            ("-m", "trio_hub", "--port", "0", "--log-level", "warning", "--data", "{data}"),
            keeps=True,
        ),
        Peer(
            "trio_hub-trio-websocket",
            "fsync before the answer: kept",
            "trio_hub.__main__",
            (
                *("-m", "trio_hub", "--port", "0", "--log-level", "warning"),
                *("--data", "{data}", "--transport", "trio-websocket"),
            ),
            keeps=True,
            questions=_POSTS,
        ),
        Peer(
            "trio_hub-memory",
            "none: lost with the process",
            "trio_hub.__main__",
            ("-m", "trio_hub", "--port", "0", "--log-level", "warning", "--memory"),
        ),
        Peer(
            "limit",
            "fsync before the answer: kept, and nothing else promised",
            "trio_hub.__main__",
            (str(ROOT / "benchmarks" / "limit_hub.py"), "--data", "{data}"),
            questions=_POSTS,
        ),
    )
}


@dataclass
class RunningPeer:
    """A hub that listens: where, under which process id, and how long it took to open."""

    peer: Peer
    url: str
    pid: int
    open_seconds: float
    process: subprocess.Popen[str] = field(repr=False)


@contextlib.contextmanager
def start(
    peer: Peer,
    python: str = sys.executable,
    *,
    data: Path | None = None,
    timeout_seconds: float = 120.0,
) -> Iterator[RunningPeer]:
    """
    Run a hub for the length of the block.

    Args:
        peer: Which one.
        python: The interpreter that can import it.
        data: Its directory; without one it gets an empty one that is gone afterwards.
        timeout_seconds: How long it may take until it listens.

    Raises:
        PeerFailed: It ended, or did not listen in time.
    """
    with contextlib.ExitStack() as stack:
        if data is None:
            data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-bench-")))
        errors = stack.enter_context(tempfile.TemporaryFile("w+"))
        command = [python, *(word.replace("{data}", str(data)) for word in peer.command)]
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=peer.root, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        stack.callback(_end, process)
        # A hub that hangs in opening would hold the read below for ever.
        watchdog = threading.Timer(timeout_seconds, process.kill)
        watchdog.start()
        stack.callback(watchdog.cancel)
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        open_seconds = time.perf_counter() - begun
        watchdog.cancel()
        if " listening on ws" not in line:
            _end(process)
            errors.seek(0)
            raise PeerFailed(f"{peer.name} did not listen ({line!r}): {errors.read()[-2000:]}")
        yield RunningPeer(peer, line.split()[-1], process.pid, open_seconds, process)


def _end(process: subprocess.Popen[str]) -> None:
    """End one process, politely first."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_END_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
