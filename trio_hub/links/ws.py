"""
Links over WebSocket, with or without TLS: the client's side.

The byte stream is made here, the WebSocket over it by a `Transport`.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import urlsplit

import trio

from .._nursery import open_plain_nursery
from ..errors import ConnectionLost
from ..wire.frames import BATCHED_SUBPROTOCOL, Dialect
from ._tcp import TcpStream
from .base import MessageStream
from .endpoint import LinkEndpoint, Side
from .limits import LinkLimits
from .transport import Target, TransportName, choose_transport
from .upgrade import bearer_header

__all__ = ["WsLink", "WsLinkEndpoint"]

_DEFAULT_PORTS = {"ws": 80, "wss": 443}


class WsLinkEndpoint(LinkEndpoint):
    """The hub's end of a WebSocket connection; `serve_ws` makes one for each."""


class WsLink:
    """
    How to reach a hub by its URL.

    Args:
        url: ``ws://`` or ``wss://``, host, port and path.
        ssl_context: For ``wss://``; None trusts what the system trusts. Load a certificate chain
            into it where the hub takes client certificates. Each connection begins with what is
            loaded then, so a new one can be loaded at any time.
        limits: What the connection may cost.
        open_timeout: Seconds to connect, from name lookup to the end of the handshake.
        token: Sent along as ``Authorization: Bearer``. A hub refuses a wrong one before the
            connection opens, and takes a good one for the claim of whoever attaches without one.
        extra_headers: HTTP headers to send along, such as for a proxy.
        dialects: What may be spoken. The batched dialect is offered where it is among them; a
            hub that does not know it speaks plain.
        transport: Which library speaks WebSocket; see `choose_transport`.

    Raises:
        ValueError: Something in these contradicts itself.
        ImportError: The transport's library is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        limits: LinkLimits | None = None,
        open_timeout: float = 10.0,
        token: str | None = None,
        extra_headers: Sequence[tuple[str, str]] = (),
        dialects: Sequence[Dialect] = (Dialect.BATCHED, Dialect.PLAIN),
        transport: TransportName = "auto",
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise ValueError(f"{url!r} is no WebSocket URL: write ws://HOST:PORT or wss://HOST")
        if ssl_context is not None and parts.scheme == "ws":
            raise ValueError(f"{url!r} does not use TLS, but an ssl_context was given: use wss://")
        if not dialects:
            raise ValueError("dialects must name at least one dialect")
        headers = list(extra_headers)
        if token is not None:
            if any(name.lower() == "authorization" for name, _ in headers):
                raise ValueError("a token was given, and an Authorization header too: give one")
            headers.append(bearer_header(token))
        self.url = url
        self.limits = limits if limits is not None else LinkLimits()
        self._ssl_context = ssl_context
        if parts.scheme == "wss" and ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        self._open_timeout = open_timeout
        self._dialects = frozenset(dialects)
        self._transport = choose_transport(transport)
        self._target = Target(
            secure=parts.scheme == "wss",
            host=parts.hostname,
            port=parts.port or _DEFAULT_PORTS[parts.scheme],
            resource=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            headers=tuple(headers),
            subprotocols=(BATCHED_SUBPROTOCOL,) if Dialect.BATCHED in self._dialects else (),
        )

    def __repr__(self) -> str:
        # Headers and query may hold secrets.
        return f"<WsLink {self.url.partition('?')[0].rpartition('@')[2]}>"

    def connect(self) -> AbstractAsyncContextManager[LinkEndpoint]:
        """
        Open a connection. It lives as long as the block; leaving the block closes it.

        Raises:
            ConnectionLost: The hub cannot be reached, and why.
            AuthError: It refused the connection before any frame was exchanged.

        Cancellation: the connection is closed without ceremony.
        """
        return self._connect()

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[LinkEndpoint]:
        async with open_plain_nursery() as nursery:
            stream = None
            with trio.move_on_after(self._open_timeout):
                stream = await self._open(nursery)
            if stream is None:
                raise ConnectionLost(
                    f"cannot reach {self.url}: no answer within {self._open_timeout:g} s"
                )
            endpoint = LinkEndpoint(stream, side=Side.CLIENT, limits=self.limits)
            try:
                yield endpoint
            finally:
                await endpoint.aclose()
                nursery.cancel_scope.cancel()

    async def _open(self, nursery: trio.Nursery) -> MessageStream:
        raw = await self._open_bytes()
        try:
            stream = await self._transport.connect(
                raw, nursery, target=self._target, limits=self.limits
            )
            if stream.dialect not in self._dialects:
                raise ConnectionLost(f"{self.url} does not speak the batched dialect")
        except BaseException:
            await trio.aclose_forcefully(raw)
            raise
        return stream

    async def _open_bytes(self) -> trio.abc.Stream:
        try:
            tcp = TcpStream(await trio.open_tcp_stream(self._target.host, self._target.port))
        except OSError as error:
            raise ConnectionLost(f"cannot reach {self.url}: {error}") from error
        if self._ssl_context is None:
            return tcp
        tls = trio.SSLStream(
            tcp, self._ssl_context, server_hostname=self._target.host, https_compatible=True
        )
        try:
            # Now rather than on the first byte: here the reason of a failure can still be told.
            await tls.do_handshake()
        except trio.BrokenResourceError as error:
            await trio.aclose_forcefully(tls)
            raise ConnectionLost(
                f"no TLS connection to {self.url}: {error.__cause__ or error}"
            ) from error
        except BaseException:
            await trio.aclose_forcefully(tls)
            raise
        return tls
