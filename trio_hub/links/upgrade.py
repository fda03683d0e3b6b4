"""
Who may open a WebSocket at all: what an ``Authorization`` header of the upgrade says.

A client need not send one. One that is there and wrong is answered by HTTP (401, or 429 where too
many were), so that a proxy and its logs see it, and no WebSocket is opened. One that is right is
kept for as long as the connection lasts, for hellos without a claim of their own.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, runtime_checkable

import attrs

from ..errors import AuthError, NetworkError, RateLimited

__all__ = [
    "Admit",
    "BearerChecker",
    "CertificateAuditor",
    "Doorman",
    "Refusal",
    "admit_everybody",
    "bearer_header",
    "refused",
]

_UNAUTHORIZED = 401
_TOO_MANY_REQUESTS = 429
_SCHEME = "bearer"


@attrs.frozen
class Refusal:
    """An HTTP answer instead of a WebSocket."""

    status: int
    text: str
    headers: Sequence[tuple[str, str]] = ()


#: Given all ``Authorization`` headers of a request; returns None where it may be upgraded.
Admit = Callable[[Sequence[str]], Awaitable[Refusal | None]]


@runtime_checkable
class BearerChecker(Protocol):
    """A hub that can tell whether a bearer token is anybody's."""

    async def check_bearer(self, token: str, peer: str) -> bool:
        """
        Return if a token is good, or may be: what it is good for is seen with the hello.

        Returns:
            False where this hub knows of no tokens, so that the header says nothing to it.

        Raises:
            AuthError: It is nobody's.
            RateLimited: Too many from there were.
        """
        ...


@runtime_checkable
class CertificateAuditor(Protocol):
    """A hub that takes note of client certificates that TLS refused before it could see them."""

    async def certificate_refused(self, peer: str, reason: str) -> None:
        """Take note of one. Durable when it returns. Raises nothing of its own."""
        ...


async def admit_everybody(_values: Sequence[str]) -> Refusal | None:
    """Look at nothing."""
    return None


class Doorman:
    """
    Looks at the headers of one request.

    Args:
        hub: Who checks tokens, if it can.
        peer: Where the request came from.

    Attributes:
        bearer: The token that was found good; "" where there was none.
    """

    def __init__(self, hub: object, peer: str) -> None:
        self._hub = hub
        self._peer = peer
        self.bearer = ""

    async def admit(self, values: Sequence[str]) -> Refusal | None:
        """See `Admit`."""
        if not values or not isinstance(self._hub, BearerChecker):
            return None
        scheme, _, token = values[0].strip().partition(" ")
        # Whatever is no token is wrong in the same way.
        single = len(values) == 1 and scheme.lower() == _SCHEME
        token = token.strip() if single else ""
        try:
            if await self._hub.check_bearer(token, self._peer):
                self.bearer = token
        except RateLimited as error:
            wait = str(math.ceil(error.retry_after_seconds or 1.0))
            return Refusal(_TOO_MANY_REQUESTS, error.message, [("Retry-After", wait)])
        except AuthError as error:
            return Refusal(_UNAUTHORIZED, error.message, [("WWW-Authenticate", "Bearer")])
        return None


def refused(refusal: Refusal) -> NetworkError:
    """Return what the server's end raises once it has sent a refusal."""
    return AuthError(f"the upgrade was refused: HTTP {refusal.status} {refusal.text}")


def bearer_header(token: str) -> tuple[str, str]:
    """
    Return the header that carries a token.

    Raises:
        ValueError: It cannot stand in a header; the token is not shown.
    """
    if not token or not all("!" <= character <= "~" for character in token):
        raise ValueError("a token is made of ASCII characters that can be seen, at least one")
    return "Authorization", f"Bearer {token}"
