"""TLS below a WebSocket, as far as it says who is at the other end."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import trio

from .._logging import get_logger
from ..errors import AuthError, ConnectionLost
from ..records import ClientCertificate
from ._tcp import TcpStream
from .handshakes import HungUp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

__all__ = ["accept_tls", "let_go_of_tls", "receiver_of"]

_log = get_logger("trio_hub.links")

# RFC 8446, 5.1: OpenSSL gives out no more at once, whatever it is asked for.
_RECORD_BYTES_MAX = 16 * 1024


async def accept_tls(
    tcp: TcpStream, context: ssl.SSLContext, peer: str
) -> tuple[trio.abc.Stream, ClientCertificate | None]:
    """
    Shake hands as a server.

    Returns:
        The stream, and the client's certificate, where the context asks for one and it brought
        one. OpenSSL has then found that an authority of the context's signed it, for clients,
        that it is in its time, and that the client has its key.

    Raises:
        AuthError: Its certificate was refused.
        HungUp: The client did.
        ConnectionLost: It did not speak TLS, or no TLS that this end does.

    Cancellation: the byte stream can only be closed.
    """
    tls = trio.SSLStream(tcp, context, server_side=True, https_compatible=True)
    shaken = False
    try:
        await tls.do_handshake()
        shaken = True
    except trio.BrokenResourceError as error:
        if isinstance(error.__cause__, ssl.SSLCertVerificationError):
            # Trio does not send the alert that would tell the client.
            why = error.__cause__.verify_message
            _log.warning("client certificate refused", peer=peer, reason=why)
            raise AuthError(f"the client certificate was refused: {why}") from error
        cause = error.__cause__
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            raise ConnectionLost(f"no TLS: {cause}") from error
        raise HungUp("the peer hung up during the TLS handshake") from error
    finally:
        if not shaken:
            let_go_of_tls(tls)
    return tls, _certificate_of(tls, context, peer)


def receiver_of(raw: trio.abc.Stream) -> Callable[[int], Awaitable[bytes]]:
    """
    Return what reads from a stream, and gives out bytes that stand in no hole of the heap.

    Python's TLS takes memory for the most that could come, as `socket.recv` does; see `TcpStream`.
    """
    if isinstance(raw, TcpStream):
        return raw.receive_some

    async def receive(max_bytes: int) -> bytes:
        data = await raw.receive_some(min(max_bytes, _RECORD_BYTES_MAX))
        # A copy, so that what was taken for more goes as a whole.
        return bytes(memoryview(data))

    return receive


def let_go_of_tls(tls: trio.abc.Stream) -> None:
    """
    Have a stream of `accept_tls` be gone at once, with what OpenSSL keeps for it.

    Trio's stream refers to a method of its own: a circle, which only Python's collector would free.

    Args:
        tls: Nobody uses it any more.
    """
    vars(tls).clear()


def _certificate_of(
    tls: trio.SSLStream[TcpStream], context: ssl.SSLContext, peer: str
) -> ClientCertificate | None:
    if context.verify_mode is ssl.CERT_NONE:
        return None
    der: bytes | None = tls.getpeercert(binary_form=True)
    if der is None:
        return None
    try:
        content: dict[str, Any] = tls.getpeercert()
        alternatives = content.get("subjectAltName", ())
        return ClientCertificate(
            common_names=tuple(_common_names(content)),
            dns_names=tuple(value for kind, value in alternatives if kind == "DNS"),
            uris=tuple(value for kind, value in alternatives if kind == "URI"),
            expires_at=ssl.cert_time_to_seconds(content["notAfter"]),
            der=der,
        )
    except ValueError:
        # Whoever signed it writes names that are no text. To act as nobody is a way to go on.
        _log.warning("client certificate cannot be read", peer=peer)
        return None


def _common_names(content: dict[str, Any]) -> Iterator[str]:
    for relative_name in content.get("subject", ()):
        for kind, value in relative_name:
            if kind == "commonName":
                yield value
