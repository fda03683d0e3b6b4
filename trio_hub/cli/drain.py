"""``drain``: have a hub end in good order, asked by an operator from wherever that is."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ..client import HubClient
from .command import Command
from .operator import add_connection_arguments, run_as_operator

__all__ = ["DRAIN"]

_DESCRIPTION = """\
Have a hub take nothing new, write what it accepted, tell its clients to come back, and end. The
name must be one of its operators (its --operator). Nothing that was acknowledged is lost.

Whatever supervises the hub may start it again at once: its status is 0, as after SIGTERM.

Status 0: it has begun, and the audit log says who asked; 2: it cannot be reached, or does not
let us ask.
"""


async def _drain(client: HubClient, arguments: Namespace) -> int:
    await client.drain()
    print(f"the hub at {arguments.url} drains")
    return 0


def _add_arguments(parser: ArgumentParser) -> None:
    add_connection_arguments(parser)


def _run(arguments: Namespace) -> int:
    return run_as_operator(arguments, _drain)


DRAIN = Command(
    description=_DESCRIPTION,
    add_arguments=_add_arguments,
    run=_run,
)
