"""What a run of growing sizes found is drawn as it is: each hub, each size, nothing made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.agenda import QUICK_SWEEPS, SWEEPS, Question
from benchmarks.plots import PLOTS, Plot, Point, curves, draw

_BY_CONNECTIONS = next(plot for plot in PLOTS if plot.question == "many_channels")
_BY_LENGTH = next(plot for plot in PLOTS if plot.question == "long_channel")


def _answer(*samples: dict[str, float]) -> dict[str, Any]:
    middle = samples[len(samples) // 2] if samples else {}
    return {"samples": list(samples), "median": middle}


def _cost(*values: float) -> dict[str, Any]:
    return _answer(*({"hub_cpu_us": value} for value in values))


def _of_channels(channels: int, **peers: dict[str, Any]) -> dict[str, Any]:
    return {"question": "many_channels", "sizes": {"channels": channels}, "peers": peers}


def _of_length(*costs: float) -> dict[str, Any]:
    sample = {f"part_{n}_hub_cpu_us": cost for n, cost in enumerate(costs, 1)}
    sample |= {f"part_{n}_length": 100.0 * n for n in range(1, len(costs) + 1)}
    return {"question": "long_channel", "sizes": {}, "peers": {"ours": _answer(sample)}}


def test_each_hub_has_a_point_for_each_size_from_the_smallest() -> None:
    results = [
        _of_channels(50, ours=_cost(90, 100, 130), theirs=_cost(200)),
        _of_channels(5, ours=_cost(80), theirs=_cost(300)),
        _of_length(*range(10)),
    ]
    assert curves(_BY_CONNECTIONS, results) == {
        "ours": [Point(10, 80, 80, 80), Point(100, 100, 90, 130)],
        "theirs": [Point(10, 300, 300, 300), Point(100, 200, 200, 200)],
    }


def test_hub_that_failed_at_a_size_has_no_point_there_and_without_any_no_line() -> None:
    results = [
        _of_channels(5, ours=_cost(80), theirs=_cost()),
        _of_channels(50, ours=_cost(), theirs=_cost()),
    ]
    assert curves(_BY_CONNECTIONS, results) == {"ours": [Point(10, 80, 80, 80)]}


def test_one_long_channel_has_a_point_for_each_of_its_parts() -> None:
    lines = curves(_BY_LENGTH, [_of_length(*range(10, 20))])
    assert [(point.at, point.median) for point in lines["ours"]] == [
        (100.0 * n, 9.0 + n) for n in range(1, 11)
    ]


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.file)
@pytest.mark.parametrize("sweeps", [SWEEPS, QUICK_SWEEPS], ids=["full", "quick"])
def test_every_plot_is_asked_for(plot: Plot, sweeps: tuple[Question, ...]) -> None:
    asked = [question for question in sweeps if question.name == plot.question]
    assert len(asked) > 1 or plot is _BY_LENGTH
    assert asked


def test_plots_are_small_files_that_name_the_hubs_and_where_they_come_from(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report = {
        "surroundings": {
            "at": "2026-01-02T03:04:05+00:00",
            "commit": "abc1234",
            "uncommitted_changes": False,
            "cores": 2,
            "processor": "a processor",
            "load_average": (0.5, 0.4, 0.3),
        },
        "results": [
            _of_channels(5, **{"trio_hub": _cost(1, 2, 3), "ag2-disk": _cost(4)}),
            _of_channels(50, **{"trio_hub": _cost(2), "ag2-disk": _cost(4)}),
        ],
    }
    draw(report, tmp_path / "plots")
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        "by-connections.svg",
        "plots.md",
    ]
    drawn = (tmp_path / "plots" / "by-connections.svg").read_text()
    assert len(drawn) < 60_000
    for words in ("trio_hub", "ag2-disk", _BY_CONNECTIONS.costs):
        assert f">{words}</text>" in drawn
    page = (tmp_path / "plots" / "plots.md").read_text()
    assert "by-connections.svg" in page
    assert "by-length.svg" not in page
    assert "Rounds: 3;" in page
    assert "`abc1234`" in page
    # The same figures are the same file, so that only what has changed shows as a change.
    draw(report, tmp_path / "again")
    assert (tmp_path / "again" / "by-connections.svg").read_text() == drawn
