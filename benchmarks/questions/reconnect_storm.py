"""
How long until all clients of a hub are back after it was started again?

The hub is ended while every client is owed something, and started on the same directory. Then
all clients come at once. Measured from the first that connects to the last envelope that is owed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers import start
from benchmarks.questions import redelivery

if TYPE_CHECKING:
    from benchmarks.peers import Peer, RunningPeer
    from benchmarks.plain_load import Generator

#: Asks a question of a running hub: its name and its sizes.
Load = Callable[["RunningPeer", str, dict[str, int]], dict[str, float]]


def measure(peer: Peer, python: str, load: Load, *, clients: int, owed: int) -> dict[str, float]:
    """
    Let clients come back to a hub that was started again.

    Args:
        peer: A hub that keeps what is posted.
        python: Its interpreter.
        load: Runs the generator against it.
        clients: How many come back, each on a connection of its own.
        owed: How many envelopes wait for each.
    """
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as directory:
        sizes = {"clients": clients, "owed": owed}
        with start(peer, python, data=Path(directory) / "data") as running:
            load(running, "reconnect_storm", {**sizes, "back": 0})
        with start(peer, python, data=Path(directory) / "data") as running:
            return load(running, "reconnect_storm", {**sizes, "back": 1})


async def ask(generator: Generator, clients: int, owed: int, back: int) -> dict[str, float]:
    """Prepare (`back` is 0), or come back (`back` is 1)."""
    if not back:
        await redelivery.prepare(generator, clients, owed)
        return {}
    return await redelivery.come_back(generator, clients, owed)
