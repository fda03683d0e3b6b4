"""``mcp``: the agents of a hub as tools for a client of the Model Context Protocol."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable

import trio

from ..client import FunctionAgent, HubClient, Turn
from ..mcp import PeerTools
from .command import Command, CommandError
from .connecting import add_connection_arguments, explained, make_link, passport_of
from .logs import configure_logging

__all__ = ["MCP"]

_DESCRIPTION = """\
Serve the agents of a hub as tools over MCP, on stdin and stdout: a desktop assistant or an editor
starts this command, and its model can ask the agents. Each call is a consult in a channel of its
own, asked by the agent --name.

Status 0: the client has left; 2: the hub cannot be reached, or does not let us in.
"""


def _add_arguments(parser: ArgumentParser) -> None:
    add_connection_arguments(parser, name_help="the agent to ask as")
    parser.add_argument("--capability", help="only agents that claim this capability")
    parser.add_argument(
        "--timeout",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="how long an answer may take (default: %(default)g)",
    )


def _run(arguments: Namespace) -> int:
    if not arguments.timeout > 0:
        raise CommandError(f"--timeout {arguments.timeout:g} is not a time: give seconds above 0")
    try:
        # The SDK is optional and takes a second, so only whoever serves it waits for it.
        from ..mcp.server import serve_stdio
    except ImportError as error:
        raise CommandError(str(error)) from error
    configure_logging(level="error", format="text")
    trio.run(_serve, arguments, serve_stdio)
    return 0


async def _serve(arguments: Namespace, serve_stdio: Callable[[PeerTools], Awaitable[None]]) -> None:
    with explained(arguments):
        async with HubClient(make_link(arguments)) as client:
            asker = await client.attach(
                FunctionAgent(arguments.name, _say_nothing),
                arguments.name,
                passport=passport_of(arguments),
            )
            await serve_stdio(
                PeerTools(asker, capability=arguments.capability, timeout_seconds=arguments.timeout)
            )


async def _say_nothing(_turn: Turn) -> None:
    """Only asks; whoever asks it gets no answer."""


MCP = Command(
    description=_DESCRIPTION,
    add_arguments=_add_arguments,
    run=_run,
)
