"""
Talking to a hub that runs somewhere: flags, key, link, and what to say when it does not work.

The commands that act as an agent use this. They attach under a name, so whoever was attached
under it is told that it was taken over: give each person and program a name of its own.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from ..auth import ClientCertAuth
from ..errors import AuthError, ConnectionLost, NetworkError
from ..links import WsLink
from ..records import AuthBlock, Passport
from .command import CommandError
from .tls import connecting_context
from .toml_files import read_file

__all__ = [
    "KEY_VARIABLE",
    "TOKEN_VARIABLE",
    "add_connection_arguments",
    "explained",
    "make_link",
    "passport_of",
]

KEY_VARIABLE = "TRIO_HUB_KEY"
TOKEN_VARIABLE = "TRIO_HUB_TOKEN"  # noqa: S105  (the name of one)

_DEFAULT_URL = "ws://127.0.0.1:8765"


def add_connection_arguments(parser: ArgumentParser, *, name_help: str) -> None:
    """Add the flags that say which hub, and as whom."""
    parser.add_argument(
        "--url", default=_DEFAULT_URL, help="where the hub listens (default: %(default)s)"
    )
    parser.add_argument("--name", required=True, help=name_help)
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help=f"file that holds its API key and nothing else (or the variable {KEY_VARIABLE})",
    )
    secret.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="file that holds its token (JWT), for a hub that takes those (or the variable "
        f"{TOKEN_VARIABLE})",
    )
    parser.add_argument(
        "--register",
        action="store_true",
        help="register the name, where the hub does not know it yet",
    )
    parser.add_argument(
        "--tls-ca", type=Path, metavar="FILE", help="for wss://: the certificates to trust"
    )
    parser.add_argument(
        "--client-cert",
        type=Path,
        metavar="FILE",
        help="for wss://: its certificate and chain in PEM form, for a hub that takes those",
    )
    parser.add_argument(
        "--client-key",
        type=Path,
        metavar="FILE",
        help="private key of --client-cert, where it is not in the same file",
    )


@contextmanager
def explained(arguments: Namespace) -> Iterator[None]:
    """
    Turn what can go wrong with a hub into one line for whoever typed the command.

    Raises:
        CommandError: The hub cannot be reached, or does not let us in, or refuses something.
    """
    url = arguments.url
    try:
        yield
    except ConnectionLost as error:
        hint = ""
        if arguments.client_cert is not None:
            # OpenSSL knows why, and Trio does not send it on.
            hint = " (it hangs up on whoever shows a certificate that it does not take, too)"
        raise CommandError(f"no connection to the hub at {url}: {error}{hint}") from error
    except trio.TooSlowError as error:
        raise CommandError(f"the hub at {url} is too slow: {error}") from error
    except AuthError as error:
        raise CommandError(
            f"the hub at {url} does not believe that this is {arguments.name}: {error} (give its "
            f"key with --key-file or {KEY_VARIABLE}, its token with --token-file or "
            f"{TOKEN_VARIABLE}, or its certificate with --client-cert)"
        ) from error
    except NetworkError as error:
        raise CommandError(f"the hub at {url}: {error}") from error


def passport_of(arguments: Namespace) -> Passport | None:
    """
    Return the passport to come with: one that says by what, where something was given; a bare one
    where the name is to be registered; otherwise None.

    Raises:
        CommandError: The file that holds it cannot be read.
    """
    auth = _auth(arguments)
    if auth is not None:
        return Passport(name=arguments.name, auth=auth)
    return Passport(name=arguments.name) if arguments.register else None


def make_link(arguments: Namespace) -> WsLink:
    """
    Return the link to the hub.

    Raises:
        CommandError: The URL is none, or a file of certificates cannot be used.
    """
    context = connecting_context(arguments.tls_ca, arguments.client_cert, arguments.client_key)
    try:
        return WsLink(arguments.url, ssl_context=context)
    except ValueError as error:
        raise CommandError(f"--url: {error}") from error


def _auth(arguments: Namespace) -> AuthBlock | None:
    """Return how to prove who we are. What was typed comes before what is in the environment."""
    for path, scheme, what in (
        (arguments.key_file, "api_key", "key file"),
        (arguments.token_file, "jwt", "token file"),
    ):
        if path is not None:
            return _by_token(scheme, _read_secret(path, what))
    if arguments.client_cert is not None:
        return AuthBlock(scheme=ClientCertAuth.scheme)
    for variable, scheme in ((KEY_VARIABLE, "api_key"), (TOKEN_VARIABLE, "jwt")):
        secret = os.environ.get(variable)
        if secret:
            return _by_token(scheme, secret)
    return None


def _by_token(scheme: str, token: str) -> AuthBlock:
    return AuthBlock(scheme=scheme, claim={"token": token})


def _read_secret(path: Path, what: str) -> str:
    try:
        secret = read_file(path, what).decode().strip()
    except UnicodeDecodeError:
        raise CommandError(f"the {what} {path} is not UTF-8 text") from None
    if not secret:
        raise CommandError(f"the {what} {path} is empty")
    return secret
