"""
Talking to a hub as one of its operators.

The commands that look after a hub use this. What is delivered to the operator's name meanwhile
stays unsettled, for its owner.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

from ..client import AgentClient, HubClient, Turn
from ..errors import AccessDeniedError
from ..links import WsLink
from ..records import Envelope, Passport
from . import connecting
from .command import CommandError
from .connecting import KEY_VARIABLE as KEY_VARIABLE, explained, make_link, passport_of
from .logs import configure_logging

__all__ = ["KEY_VARIABLE", "add_connection_arguments", "run_as_operator"]

_TIMEOUT_SECONDS = 30.0


def add_connection_arguments(parser: ArgumentParser) -> None:
    """Add the flags that say which hub, and as which operator."""
    connecting.add_connection_arguments(
        parser, name_help="the agent to act as: an operator of the hub"
    )


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
            async with _attached(link, passport, arguments) as client:
                return await work(client, arguments)
        except AccessDeniedError as error:
            raise CommandError(
                f"{arguments.name} is no operator of the hub at {arguments.url}: {error} (the hub "
                "names its operators with --operator)"
            ) from error


@asynccontextmanager
async def _attached(
    link: WsLink, passport: Passport | None, arguments: Namespace
) -> AsyncIterator[HubClient]:
    name = arguments.name
    async with HubClient(link, reconnect=None, request_timeout=_TIMEOUT_SECONDS) as client:
        if not arguments.register and await client.find_agent_id(name) is None:
            raise CommandError(
                f"nobody named {name!r} is registered at {arguments.url}; to register it as an "
                "operator that comes for the first time, add --register"
            )
        await client.attach(
            _nobody, name, passport=passport, since_envelope_id=None, handler=_leave_alone
        )
        yield client


async def _nobody(_turn: Turn) -> None:
    """Never asked: nothing gets past `_leave_alone`."""


async def _leave_alone(_envelope: Envelope, _client: AgentClient, _attempt: int) -> None:
    """Settle nothing: what comes meanwhile is for the program that usually has the name."""
    await trio.sleep_forever()
