"""
Talking to a hub that runs somewhere, as one of its operators: flags, key, connection, errors.

The commands that look after a hub use this. They attach under a name, so whoever was attached
under it is told that it was taken over: give each operator, person or program, a name of its own.
What is delivered to that name meanwhile stays unsettled, for its owner.
"""

from __future__ import annotations

import os
import ssl
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from ..client import AgentClient, HubClient, Turn
from ..errors import AccessDeniedError, AuthError, ConnectionLost, NetworkError
from ..links import WsLink
from ..records import AuthBlock, Envelope, Passport
from .command import CommandError
from .logs import configure_logging
from .toml_files import read_file

__all__ = ["KEY_VARIABLE", "add_connection_arguments", "run_as_operator"]

KEY_VARIABLE = "TRIO_HUB_KEY"

_DEFAULT_URL = "ws://127.0.0.1:8765"
_TIMEOUT_SECONDS = 30.0


def add_connection_arguments(parser: ArgumentParser) -> None:
    """Add the flags that say which hub, and as whom."""
    parser.add_argument(
        "--url", default=_DEFAULT_URL, help="where the hub listens (default: %(default)s)"
    )
    parser.add_argument("--name", required=True, help="the agent to act as: an operator of the hub")
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help=f"file that holds its API key and nothing else (or the variable {KEY_VARIABLE})",
    )
    parser.add_argument(
        "--register",
        action="store_true",
        help="register the name, where the hub does not know it yet",
    )
    parser.add_argument(
        "--tls-ca", type=Path, metavar="FILE", help="for wss://: the certificates to trust"
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
    link = _make_link(arguments)
    key = _read_key(arguments.key_file)
    return trio.run(partial(_run, link, key, arguments, work))


async def _run(
    link: WsLink,
    key: str | None,
    arguments: Namespace,
    work: Callable[[HubClient, Namespace], Awaitable[int]],
) -> int:
    url = arguments.url
    try:
        async with _attached(link, key, arguments) as client:
            return await work(client, arguments)
    except ConnectionLost as error:
        raise CommandError(f"no connection to the hub at {url}: {error}") from error
    except trio.TooSlowError as error:
        raise CommandError(f"the hub at {url} is too slow: {error}") from error
    except AccessDeniedError as error:
        raise CommandError(
            f"{arguments.name} is no operator of the hub at {url}: {error} (the hub names its "
            "operators with --operator)"
        ) from error
    except AuthError as error:
        raise CommandError(
            f"the hub at {url} does not believe that this is {arguments.name}: {error} (give its "
            f"key with --key-file or {KEY_VARIABLE})"
        ) from error
    except NetworkError as error:
        raise CommandError(f"the hub at {url}: {error}") from error


@asynccontextmanager
async def _attached(
    link: WsLink, key: str | None, arguments: Namespace
) -> AsyncIterator[HubClient]:
    name = arguments.name
    passport = None
    if key is not None:
        passport = Passport(name=name, auth=AuthBlock(scheme="api_key", claim={"token": key}))
    elif arguments.register:
        passport = Passport(name=name)
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


def _make_link(arguments: Namespace) -> WsLink:
    context = None
    if arguments.tls_ca is not None:
        read_file(arguments.tls_ca, "file of certificates")
        try:
            context = ssl.create_default_context(cafile=arguments.tls_ca)
        except ssl.SSLError:
            raise CommandError(f"--tls-ca {arguments.tls_ca} holds no certificates") from None
    try:
        return WsLink(arguments.url, ssl_context=context)
    except ValueError as error:
        raise CommandError(f"--url: {error}") from error


def _read_key(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get(KEY_VARIABLE) or None
    try:
        key = read_file(path, "key file").decode().strip()
    except UnicodeDecodeError:
        raise CommandError(f"the key file {path} is not UTF-8 text") from None
    if not key:
        raise CommandError(f"the key file {path} is empty")
    return key
