"""
Coming to a hub under a name for a moment, to ask it something.

What is delivered to the name meanwhile stays unsettled, for the program that usually has it.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from ..client import AgentClient, HubClient, Turn
from ..links import WsLink
from ..records import Envelope, Passport
from .command import CommandError

__all__ = ["visiting"]

_TIMEOUT_SECONDS = 30.0


@asynccontextmanager
async def visiting(
    link: WsLink, passport: Passport | None, arguments: Namespace
) -> AsyncIterator[AgentClient]:
    """
    Be attached as `arguments.name` for as long as the block lasts.

    Args:
        passport: What to come with; see `connecting.passport_of`.

    Raises:
        CommandError: Nobody is registered under that name, and is not to be.
    """
    name = arguments.name
    async with HubClient(link, reconnect=None, request_timeout=_TIMEOUT_SECONDS) as client:
        if not arguments.register and await client.find_agent_id(name) is None:
            raise CommandError(
                f"nobody named {name!r} is registered at {arguments.url}; if it comes there for "
                "the first time, add --register"
            )
        yield await client.attach(
            _nobody, name, passport=passport, since_envelope_id=None, handler=_leave_alone
        )


async def _nobody(_turn: Turn) -> None:
    """Never asked: nothing gets past `_leave_alone`."""


async def _leave_alone(_envelope: Envelope, _client: AgentClient, _attempt: int) -> None:
    """Settle nothing: what comes meanwhile is for the program that usually has the name."""
    await trio.sleep_forever()
