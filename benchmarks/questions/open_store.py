"""
How long does a hub take to open what it kept, until it listens?

Measured around the whole program, interpreter and imports included: that is what whoever
restarts it waits for. The time to open an empty store stands beside it.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers import start

if TYPE_CHECKING:
    from benchmarks.peers import Peer, RunningPeer

#: Asks a question of a running hub: its name and its sizes.
Load = Callable[["RunningPeer", str, dict[str, int]], dict[str, float]]


def measure(
    peer: Peer, python: str, load: Load, *, envelopes: int, repeats: int
) -> dict[str, float]:
    """
    Fill a store through the front door, then open it `repeats` times.

    Args:
        peer: A hub that keeps what is posted.
        python: Its interpreter.
        load: Runs the generator against it.
        envelopes: How many to post, over 50 channels.
        repeats: Openings; the median counts.
    """
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as directory:
        data = Path(directory)
        empty = _open_seconds(peer, python, data / "empty", repeats)
        full = data / "full"
        with start(peer, python, data=full) as running:
            load(running, "fill", {"envelopes": envelopes})
        opened = _open_seconds(peer, python, full, repeats)
        size = sum(path.stat().st_size for path in full.rglob("*") if path.is_file())
    return {
        "open_seconds": opened,
        "open_empty_seconds": empty,
        "bytes_per_envelope": size / envelopes,
    }


def _open_seconds(peer: Peer, python: str, data: Path, repeats: int) -> float:
    times: list[float] = []
    for _ in range(repeats):
        with start(peer, python, data=data) as running:
            times.append(running.open_seconds)
    return statistics.median(times)
