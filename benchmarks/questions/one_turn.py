"""
How long does one turn of an agent take, by the length of its channel?

From when a question is sent until its answer has arrived, each side with its own client and its own
default handler: what was said before is read and made ready, as for a model, and the answer is
posted. The model itself takes no time. Other than with the plain load, the client counts here.

At the longest length AG2 is not asked: it would take longer to fill than all the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks.peers import figures_of, start

if TYPE_CHECKING:
    from benchmarks.peers import Peer, RunningPeer

_TIMEOUT_SECONDS = 900


def measure(
    peer: Peer,
    python: str,
    _load: Callable[[RunningPeer, str, dict[str, int]], dict[str, float]],
    *,
    short: int,
    middle: int,
    long: int,
    turns: int,
) -> dict[str, float]:
    """
    Take `turns` turns in channels of these lengths; the median of each counts.

    Args:
        peer: A hub.
        python: An interpreter that has its client.
        short, middle, long: Envelopes before the first turn.
    """
    is_ours = peer.name.startswith("trio_hub")
    lengths = [short, middle, long] if is_ours else [short, middle]
    module = "turns_ours" if is_ours else "turns_ag2"
    with start(peer, python) as running:
        command = [python, "-m", f"benchmarks.{module}", "--url", running.url]
        command += ["--turns", str(turns), "--lengths", *map(str, lengths)]
        took = figures_of(command, f"one_turn against {peer.name}", timeout=_TIMEOUT_SECONDS)
    figures = {"turn_middle_ms": took[str(middle)], "turn_short_ms": took[str(short)]}
    if is_ours:
        figures["turn_long_ms"] = took[str(long)]
        figures["long_over_short"] = took[str(long)] / took[str(short)]
    return figures
