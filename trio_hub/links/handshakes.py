"""
Handshakes: what lies between a TCP connection and its WebSocket, and how that can fail.

Each failure has a reason out of a few, found from what came over the line and not from what a
library says of it, so that it is the same whichever library speaks TLS or WebSocket. None of it
is text of the peer's.
"""

from __future__ import annotations

import enum
from typing import Protocol, runtime_checkable

import trio

from ..errors import AuthError, ConnectionLost, NetworkError
from ._tcp import TcpStream

__all__ = ["HandshakeFailure", "HandshakeWatcher", "HungUp", "Opening", "why_failed"]

# How every TLS connection begins: a record of the kind "handshake", of a version 3.something.
_TLS_START = b"\x16\x03"


class HandshakeFailure(enum.StrEnum):
    """Why a connection ended before its WebSocket was open."""

    #: There were too many connections, or too many from there.
    NO_PLACE = "no_place"
    #: It hung up before it had sent a byte, as load balancers do that look whether a port is open.
    SAID_NOTHING = "said_nothing"
    #: It sent something else to a port for TLS.
    NO_TLS = "no_tls"
    #: It spoke TLS to a port that does not.
    UNEXPECTED_TLS = "unexpected_tls"
    #: The two could not agree upon TLS; or it does not trust the hub's certificate.
    TLS_FAILED = "tls_failed"
    #: The hub does not trust its certificate.
    CERTIFICATE = "certificate"
    #: It asked for no WebSocket, or wrongly.
    NO_WEBSOCKET = "no_websocket"
    #: Its ``Authorization`` header was refused.
    CREDENTIAL = "credential"
    #: It hung up in the middle.
    BROKEN_OFF = "broken_off"
    #: It took too long, or had to make way for a newer one.
    TOO_SLOW = "too_slow"


class HungUp(ConnectionLost):
    """The peer closed the connection during a handshake."""


class Opening:
    """
    A connection whose handshakes are not over.

    Args:
        peer: Address and port.
        tcp: What comes from it.
        expects_tls: Whether the port is one for TLS.
        seconds: How long they may take all together.

    Attributes:
        scope: What they run in.
        tls: What runs over TLS, once that is up.
    """

    def __init__(self, peer: str, tcp: TcpStream, *, expects_tls: bool, seconds: float) -> None:
        self.peer = peer
        self._tcp = tcp
        self._expects_tls = expects_tls
        self.tls: trio.abc.Stream | None = None
        self.scope = trio.CancelScope(deadline=trio.current_time() + seconds)

    def dismiss(self, error: AuthError, reason: str) -> None:
        """Give up. There is no way yet to tell the peer why. See `Stranger.dismiss` of the hub."""
        self.scope.cancel()

    def failure(self, error: NetworkError | None) -> HandshakeFailure:
        """Return why it failed. None: it did not finish."""
        return why_failed(
            error,
            expects_tls=self._expects_tls,
            secured=self.tls is not None,
            first_bytes=self._tcp.first_bytes,
        )


@runtime_checkable
class HandshakeWatcher(Protocol):
    """A hub that counts who is about to come in, and who fails to."""

    def handshake_begun(self, opening: Opening) -> None:
        """Take note of a connection. It may be dismissed from now on until its handshake is over."""
        ...

    def handshake_over(self, opening: Opening) -> None:
        """Forget it; where all went well, it is served without a checkpoint in between."""
        ...

    def handshake_failed(self, peer: str, failure: HandshakeFailure, detail: str) -> None:
        """
        Take note of a connection that ended before its WebSocket was open. Never blocks.

        Args:
            detail: What OpenSSL calls it; "" where it has nothing to say.
        """
        ...


def why_failed(
    error: NetworkError | None, *, expects_tls: bool, secured: bool, first_bytes: bytes
) -> HandshakeFailure:
    """
    Return why a handshake failed.

    Args:
        error: What it raised; None where it did not finish.
        expects_tls: Whether the port is one for TLS.
        secured: Whether TLS was up.
        first_bytes: The first two bytes that came, or as many as came.
    """
    looks_like_tls = bool(first_bytes) and _TLS_START.startswith(first_bytes)
    if error is None:
        return HandshakeFailure.TOO_SLOW
    if isinstance(error, AuthError):
        in_tls = expects_tls and not secured
        return HandshakeFailure.CERTIFICATE if in_tls else HandshakeFailure.CREDENTIAL
    if not first_bytes:
        return HandshakeFailure.SAID_NOTHING
    if looks_like_tls and not expects_tls:
        return HandshakeFailure.UNEXPECTED_TLS
    if expects_tls and not looks_like_tls:
        return HandshakeFailure.NO_TLS
    if isinstance(error, HungUp):
        return HandshakeFailure.BROKEN_OFF
    if expects_tls and not secured:
        return HandshakeFailure.TLS_FAILED
    return HandshakeFailure.NO_WEBSOCKET
