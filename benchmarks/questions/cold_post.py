"""
How long does the first post into a long channel take after a restart, and what do its keys cost?

One channel of so many posts, each under a key, is filled by a hub in a process of its own, which
closes in good order. Then a new process opens the store and posts once: with the snapshot that
was kept, and without, when the log is folded from its beginning. Only this project's hub is asked.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks.peers import figures_of

if TYPE_CHECKING:
    from benchmarks.peers import Peer, RunningPeer

_TIMEOUT_SECONDS = 1800


def measure(
    peer: Peer,
    python: str,
    _load: Callable[[RunningPeer, str, dict[str, int]], dict[str, float]],
    *,
    posts: int,
    repeats: int,
) -> dict[str, float]:
    """
    Fill a channel, then use it for the first time `repeats` times in each way; medians count.

    Args:
        posts: In the channel.
    """

    def run(*arguments: str) -> dict[str, float]:
        command = [python, "-m", "benchmarks.cold_channel", directory, *arguments]
        return figures_of(command, f"cold_post against {peer.name}", timeout=_TIMEOUT_SECONDS)

    with tempfile.TemporaryDirectory(prefix="hub-bench-") as directory:
        filled = run("fill", str(posts))
        kept = [run("post") for _ in range(repeats)]
        folded = [run("post", "--without-snapshot") for _ in range(repeats)]
    return {
        "first_post_ms": statistics.median(one["first_post_ms"] for one in kept),
        "folded_first_post_ms": statistics.median(one["first_post_ms"] for one in folded),
        "worst_stall_ms": statistics.median(one["worst_stall_ms"] for one in kept),
        **filled,
    }
