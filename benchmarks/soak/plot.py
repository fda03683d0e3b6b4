"""
Draw the history of a soak: ``python -m benchmarks.soak.plot report.json soak.png``.

Needs matplotlib (the dependency group ``plot``).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["draw"]


def draw(report: dict[str, Any], target: Path) -> None:
    """
    Draw memory, the time that posts took, and lag, one above the other.

    Args:
        report: As `make_report` returns it.
        target: A file whose suffix says the format, such as ``.png`` or ``.svg``.

    Raises:
        ImportError: There is no matplotlib.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    history = report["history"]
    figure = Figure(figsize=(9, 10), layout="constrained")
    FigureCanvasAgg(figure)
    memory, tasks, posts, lags, owed = figure.subplots(5, 1, sharex=True)
    samples = history["samples"]
    at = [it["at"] for it in samples]
    memory.plot(at, [it["memory_mb"] for it in samples])
    memory.set_ylabel("hub's memory, MB")
    for name in ("descriptors", "tasks", "connections"):
        tasks.plot(at, [it[name] for it in samples], label=name)
    tasks.legend()
    for axes, name, label in ((posts, "post_ms", "post, ms"), (lags, "lag_ms", "lag, ms")):
        windows = history[name]
        for percentile in [it for it in (windows[0] if windows else {}) if it != "at"]:
            axes.plot(
                [it["at"] for it in windows], [it[percentile] for it in windows], label=percentile
            )
        axes.set_yscale("log")
        axes.set_ylabel(label)
        axes.legend()
    owed.plot(at, [it["oldest_unacked_seconds"] for it in samples])
    owed.set_ylabel("oldest unacked, s")
    owed.set_xlabel("seconds")
    figure.suptitle(f"{report['agents']} agents, {report['minutes']:g} minutes")
    figure.savefig(target)


def main() -> None:
    """Read a report, draw."""
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
