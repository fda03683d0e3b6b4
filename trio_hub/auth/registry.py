"""The adapters that a hub accepts, by scheme, and the one way to ask them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import trio

from .._logging import get_logger
from ..errors import AuthError
from ..records import ConnectionFacts, Passport
from .base import AuthAdapter, BearerAdapter, ConnectionAdapter, NoAuth
from .credential import Credential

__all__ = ["AuthRegistry"]

T = TypeVar("T")

_log = get_logger("trio_hub.auth")


class AuthRegistry:
    """
    Which schemes are accepted, and who checks them.

    Args:
        adapters: One for each scheme.
        check_timeout_seconds: How long an adapter may take before the peer is refused, so that
            a secret manager that hangs does not hang every handshake.

    Raises:
        ValueError: Two adapters for one scheme, or none at all.
    """

    def __init__(
        self, adapters: Iterable[AuthAdapter], *, check_timeout_seconds: float = 30.0
    ) -> None:
        self._adapters: dict[str, AuthAdapter] = {}
        for adapter in adapters:
            if adapter.scheme in self._adapters:
                raise ValueError(f"two adapters for the auth scheme {adapter.scheme!r}")
            self._adapters[adapter.scheme] = adapter
        if not self._adapters:
            raise ValueError("an AuthRegistry without adapters would let nobody in")
        self._check_timeout_seconds = check_timeout_seconds

    def __repr__(self) -> str:
        return f"<AuthRegistry {', '.join(self._adapters)}>"

    @classmethod
    def default(cls) -> AuthRegistry:
        """Make one that believes everybody (`NoAuth`)."""
        return cls([NoAuth()])

    @property
    def schemes(self) -> tuple[str, ...]:
        """The schemes that are accepted, in the order they were given."""
        return tuple(self._adapters)

    def get(self, scheme: str) -> AuthAdapter:
        """
        Return the adapter for a scheme.

        Raises:
            AuthError: There is none; names those that there are.
        """
        adapter = self._adapters.get(scheme)
        if adapter is None:
            raise AuthError(
                f"unknown auth scheme {scheme[:40]!r}; accepted here: {', '.join(self.schemes)}"
            )
        return adapter

    async def check(
        self,
        passport: Passport,
        scheme: str,
        claim: Mapping[str, Any],
        facts: ConnectionFacts | None = None,
    ) -> Credential | None:
        """
        Return if the claim is good; the only way in which a hub asks an adapter.

        Args:
            facts: About the connection that it came over, if it came over one.

        Returns:
            What is to be watched for as long as the claim's bearer is bound, if anything.

        Raises:
            AuthError: It is not; or the check failed by itself, which is logged without what
                was in the claim and without the words of the failure, which may quote it.

        Cancellation: passed on to the adapter.
        """
        adapter = self.get(scheme)

        async def ask() -> Credential | None:
            if facts is not None and isinstance(adapter, ConnectionAdapter):
                return await adapter.validate_over(facts, passport, claim)
            return await adapter.validate(passport, claim)

        return await self._guarded(ask, scheme, passport.name)

    async def check_bearer(self, token: str) -> bool:
        """
        Return if a token is good for somebody, or may be.

        Returns:
            False where no adapter knows of tokens, so that there is nothing to check.

        Raises:
            AuthError: It is nobody's, or a check failed by itself; see `check`.

        Cancellation: passed on to the adapter.
        """
        asked = False
        for scheme, adapter in self._adapters.items():
            if isinstance(adapter, BearerAdapter):
                asked = True
                known = await self._guarded(partial(adapter.knows, token), scheme, "")
                if known is not False:
                    return True
        if asked:
            raise AuthError("the token in the Authorization header was not accepted")
        return False

    async def _guarded(self, ask: Callable[[], Awaitable[T]], scheme: str, name: str) -> T:
        """Ask an adapter, which may break, or hang."""
        failure: Exception | None = None
        with trio.move_on_after(self._check_timeout_seconds):
            try:
                return await ask()
            except AuthError:
                raise
            except Exception as error:
                failure = error
        if failure is None:
            _log.error("an auth adapter took too long", scheme=scheme, name=name)
        else:
            _log.error(
                "an auth adapter failed",
                scheme=scheme,
                name=name,
                error_type=type(failure).__qualname__,
                raised_at=_place_of(failure.__traceback__),
            )
        # Outside of the handler: the failure does not travel along as this error's context.
        raise AuthError(f"the credential of {name!r} could not be checked; ask the hub's operator")


def _place_of(traceback: TracebackType | None) -> str:
    if traceback is None:
        return "unknown"
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"
