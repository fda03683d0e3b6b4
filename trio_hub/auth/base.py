"""
What checks a credential: the `AuthAdapter` protocol, and the adapter that checks nothing.

An adapter is asked whenever somebody registers a name, or comes back to one, before the name is
bound to the connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from ..records import ConnectionFacts, Passport
from .credential import Credential

__all__ = ["AuthAdapter", "BearerAdapter", "ConnectionAdapter", "NoAuth"]


@runtime_checkable
class AuthAdapter(Protocol):
    """Checks the claims of one scheme."""

    @property
    def scheme(self) -> str:
        """The word for it in ``passport.auth.scheme`` and in a hello, such as ``"api_key"``."""
        ...

    async def validate(self, passport: Passport, claim: Mapping[str, Any]) -> Credential | None:
        """
        Return if `claim` proves that its bearer is whom `passport` names.

        A hub keeps no claims: when an agent comes back, `passport` is the stored one and holds
        none. Check `claim` against what the adapter knows by itself.

        Returns:
            A credential that expires, or that the adapter may revoke: either ends the connection.
            None where what was accepted once is accepted for as long as the connection lasts.

        Raises:
            AuthError: It does not. The message is sent to the peer, so it must not say what
                would have been right. Any other exception refuses the peer as well, but tells
                it nothing.

        Cancellation: the peer left, or the check took too long; let it through.
        """
        ...


@runtime_checkable
class ConnectionAdapter(Protocol):
    """An `AuthAdapter` whose answer rests on the connection too, such as on its certificate."""

    async def validate_over(
        self, facts: ConnectionFacts, passport: Passport, claim: Mapping[str, Any]
    ) -> Credential | None:
        """
        Return if `claim`, over this connection, proves that its bearer is whom `passport` names.

        A hub asks this in place of `AuthAdapter.validate`, which is still what it asks where there
        is no connection: about an agent that its own program registers.

        Returns, raises, cancellation: As `AuthAdapter.validate`.
        """
        ...


@runtime_checkable
class BearerAdapter(Protocol):
    """An `AuthAdapter` whose claims are ``{"token": ...}``, and that may know one by itself."""

    async def knows(self, token: str) -> bool | None:
        """
        Return whether a token is good for somebody; None where that is seen only with a name.

        Asked about the token in the ``Authorization`` header of an upgrade to WebSocket.
        """
        ...


class NoAuth:
    """Believes everybody. For one machine, or a network where every process is trusted."""

    scheme = "none"

    def __repr__(self) -> str:
        return "NoAuth()"

    async def validate(self, passport: Passport, claim: Mapping[str, Any]) -> None:
        """Return: everything is believed."""
