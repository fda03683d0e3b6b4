"""
Draw what an envelope costs by how much there is: ``python -m benchmarks.plots RESULT.json docs/plots``.

Reads what ``python -m benchmarks.run --plots DIRECTORY`` has written (and that draws it itself).
Needs matplotlib (the dependency group ``plot``). Each plot is an SVG file; ``plots.md`` beside them
shows them all, and says which commit and machine they are of.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Plot", "Point", "curves", "draw"]

_PARTS = 10


@dataclass(frozen=True)
class Point:
    """What something cost at one size: in the middle round, the best and the worst."""

    at: float
    median: float
    least: float
    most: float


@dataclass(frozen=True)
class Plot:
    """
    One picture.

    Args:
        question: Whose results it shows.
        file: Its name, without a suffix.
        grows: What the horizontal axis says.
        costs: What the vertical one says.
        points: The points in one result of one hub. A size that the hub was not asked, or failed
            at, has none.
    """

    question: str
    file: str
    grows: str
    costs: str
    points: Callable[[dict[str, int], dict[str, Any]], list[Point]]


def _point(at: float, figure: str, answer: dict[str, Any]) -> list[Point]:
    values = [sample[figure] for sample in answer["samples"]]
    if not values:
        return []
    return [Point(at, answer["median"][figure], min(values), max(values))]


def _parts(_sizes: dict[str, int], answer: dict[str, Any]) -> list[Point]:
    return [
        point
        for number in range(1, _PARTS + 1)
        if answer["samples"]
        for point in _point(
            answer["median"][f"part_{number}_length"], f"part_{number}_hub_cpu_us", answer
        )
    ]


PLOTS = (
    Plot(
        "long_channel",
        "by-length",
        "envelopes in the channel",
        "hub CPU for a post and its delivery, µs",
        _parts,
    ),
    Plot(
        "many_channels",
        "by-connections",
        "connections, each in conversation with one other",
        "hub CPU for a post and its delivery, µs",
        # Both sides of a channel have one.
        lambda sizes, answer: _point(2 * sizes["channels"], "hub_cpu_us", answer),
    ),
    Plot(
        "fan_out",
        "by-participants",
        "listeners in the channel",
        "hub CPU for a delivery, µs",
        lambda sizes, answer: _point(sizes["participants"], "hub_cpu_us", answer),
    ),
)


def curves(plot: Plot, results: list[dict[str, Any]]) -> dict[str, list[Point]]:
    """Return the points of each hub, by what grows. Hubs with none are left out."""
    found: dict[str, list[Point]] = {}
    for result in results:
        if result["question"] == plot.question:
            for peer, answer in result["peers"].items():
                found.setdefault(peer, []).extend(plot.points(result["sizes"], answer))
    return {
        peer: sorted(points, key=lambda point: point.at) for peer, points in found.items() if points
    }


def draw(report: dict[str, Any], directory: Path) -> None:
    """
    Draw every plot that a report has something for, in place of those that are there.

    Args:
        report: What `benchmarks.run` writes.
        directory: Where the files go. It is made where it is not there.

    Raises:
        ImportError: There is no matplotlib.
    """
    directory.mkdir(parents=True, exist_ok=True)
    drawn = []
    for plot in PLOTS:
        lines = curves(plot, report["results"])
        if lines:
            (directory / f"{plot.file}.svg").write_text(_svg(plot, lines))
            drawn.append(f"![{plot.costs}, by {plot.grows}]({plot.file}.svg)\n")
    (directory / "plots.md").write_text("\n".join([*drawn, _origin(report)]))


def _origin(report: dict[str, Any]) -> str:
    it = report["surroundings"]
    rounds = max(
        (len(a["samples"]) for one in report["results"] for a in one["peers"].values()), default=0
    )
    changed = ", with changes" if it["uncommitted_changes"] else ""
    return (
        f"Rounds: {rounds}; the line is the median, the bars are the best and the worst. Commit "
        f"`{it['commit']}`{changed}, {it['at'][:10]}, {it['cores']} cores ({it['processor']}), "
        f"load {it['load_average'][0]:.1f} before it began.\n"
    )


def _svg(plot: Plot, lines: dict[str, list[Point]]) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    # Letters stay letters, and the same figures give the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": plot.file}):
        figure = Figure(figsize=(7, 3.6), layout="constrained")
        axes = figure.subplots()
        for peer, points in lines.items():
            medians = [point.median for point in points]
            below = [point.median - point.least for point in points]
            above = [point.most - point.median for point in points]
            at = [point.at for point in points]
            # Solid is synced; a hub that keeps less has a broken line.
            style = "-" if peer.partition("@")[0] == "trio_hub" else "--"
            axes.errorbar(at, medians, [below, above], label=peer, marker="o", ls=style, ms=4)
        if plot.question != "long_channel":
            sizes = sorted({point.at for points in lines.values() for point in points})
            axes.set_xscale("log")
            axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
            axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_xlabel(plot.grows)
        axes.set_ylabel(plot.costs)
        axes.grid(alpha=0.3)
        axes.legend()
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()


def main() -> None:
    """Read a report, draw."""
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
