"""``graph``: check the script of a workflow, and draw it."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..errors import ProtocolError
from ..protocol.workflow import TransitionGraph
from .command import Command, CommandError
from .toml_files import read_file

__all__ = ["GRAPH"]

_DESCRIPTION = """\
Read a workflow's graph (JSON, as TransitionGraph.to_dict gives it) and print it as a Mermaid
flowchart. Targets and conditions of your own are not known here.

Status 0: it is a graph; 2: it is none, and where.
"""


def _run(arguments: Namespace) -> int:
    try:
        data = json.loads(read_file(arguments.file, "graph"))
        graph = TransitionGraph.from_dict(data)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{arguments.file} is no JSON: {error}") from error
    except ProtocolError as error:
        raise CommandError(f"{arguments.file}: {error}") from error
    print(graph.to_mermaid(), end="")
    return 0


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="the graph")


GRAPH = Command(
    description=_DESCRIPTION,
    add_arguments=_add_arguments,
    run=_run,
)
