"""
Talking to a hub as one of its operators; the commands that look after a hub use this.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from ..client import HubClient
from ..errors import AccessDeniedError
from ..links import WsLink
from ..records import Passport
from . import connecting
from .command import CommandError
from .connecting import KEY_VARIABLE as KEY_VARIABLE, explained, make_link, passport_of
from .logs import configure_logging
from .visiting import visiting

__all__ = ["KEY_VARIABLE", "add_action", "add_connection_arguments", "run_as_operator"]


def add_connection_arguments(parser: ArgumentParser) -> None:
    """Add the flags that say which hub, and as which operator."""
    connecting.add_connection_arguments(
        parser, name_help="the agent to act as: an operator of the hub"
    )


def add_action(
    add_parser: Callable[..., ArgumentParser],
    name: str,
    summary: str,
    work: Callable[[HubClient, Namespace], Awaitable[int]],
) -> ArgumentParser:
    """
    Add something to do, with the flags that all of it has; `work` is its `Namespace.work`.

    Args:
        add_parser: Of the subparsers that it belongs to.
    """
    action = add_parser(name, help=summary, description=summary, allow_abbrev=False)
    add_connection_arguments(action)
    action.add_argument("--json", action="store_true", help="a JSON object for each line")
    action.set_defaults(work=work)
    return action


def run_as_operator(
    arguments: Namespace, work: Callable[[HubClient, Namespace], Awaitable[int]]
) -> int:
    """
    Connect as the flags say, do the work, and return its exit status.

    Raises:
        CommandError: The hub cannot be reached, or does not let us in, or refuses the work.
    """
    configure_logging(level="error", format="text")
    return trio.run(partial(_run, make_link(arguments), passport_of(arguments), arguments, work))


async def _run(
    link: WsLink,
    passport: Passport | None,
    arguments: Namespace,
    work: Callable[[HubClient, Namespace], Awaitable[int]],
) -> int:
    with explained(arguments):
        try:
            async with visiting(link, passport, arguments) as agent:
                return await work(agent.hub_client, arguments)
        except AccessDeniedError as error:
            raise CommandError(
                f"{arguments.name} is no operator of the hub at {arguments.url}: {error} (the hub "
                "names its operators with --operator)"
            ) from error
