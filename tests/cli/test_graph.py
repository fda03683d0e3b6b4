"""`graph`: a picture of what is a graph, one line about what is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trio_hub import TransitionGraph
from trio_hub.cli.main import main


def write(path: Path, content: str) -> str:
    path.write_text(content)
    return str(path)


def test_graph_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = TransitionGraph.sequence(["alice", "bob"])
    assert main(["graph", write(tmp_path / "g.json", json.dumps(graph.to_dict()))]) == 0
    assert capsys.readouterr().out == graph.to_mermaid()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("\xff", "is no JSON"),
        ("[]", "expected an object, got list"),
        ('{"initial_speaker": "a", "transitions": [5]}', "graph.transitions[0]"),
    ],
)
def test_what_is_none_is_one_line(
    content: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["graph", write(tmp_path / "g.json", content)]) == 2
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.err.count("\n") == 1


def test_file_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["graph", str(tmp_path / "nothing.json")]) == 2
    assert "nothing.json" in capsys.readouterr().err
