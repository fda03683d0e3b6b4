"""``health``: how a hub is doing, asked by an operator. The status is 1 where it is not well."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from typing import Any

from ..client import HubClient
from .command import Command
from .operator import add_connection_arguments, run_as_operator
from .tables import printable

__all__ = ["HEALTH"]

_DESCRIPTION = """\
Ask a hub how it is doing. The name must be one of its operators (its --operator).

Status 0: it takes posts and keeps them; 1: it does not; 2: it cannot be reached, or does not
let us ask.
"""


async def _show(client: HubClient, arguments: Namespace) -> int:
    health = await client.health()
    if arguments.json:
        print(json.dumps(health))
    else:
        for name, value in health.items():
            _print(name, value)
    return 0 if health.get("ok") is True else 1


def _print(name: str, value: Any) -> None:
    title = name.replace("_", " ")
    match value:
        case bool():
            print(f"{title:<20} {'yes' if value else 'no'}")
        case dict():
            for inner, one in value.items():
                _print(f"{name} {inner}", one)
        case list():
            for one in value:
                print(f"{title:<20} {printable(str(one))}")
        case _:
            print(f"{title:<20} {printable(str(value))}")


def _add_arguments(parser: ArgumentParser) -> None:
    add_connection_arguments(parser)
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def _run(arguments: Namespace) -> int:
    return run_as_operator(arguments, _show)


HEALTH = Command(
    description=_DESCRIPTION,
    add_arguments=_add_arguments,
    run=_run,
)
