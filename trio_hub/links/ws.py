"""
Links over WebSocket, with or without TLS: the client's side, and the stream both sides use.

This module, `_ws_transport` and `server` are all that knows of trio-websocket. No compression:
it costs more than it saves on small frames, and its state costs memory on every connection.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import trio
import trio_websocket

from .._nursery import open_plain_nursery
from ..errors import ConnectionLost
from ..wire.frames import BATCHED_SUBPROTOCOL, Dialect
from ._ws_transport import Wire, describe_close, run_websocket
from .endpoint import LinkEndpoint, Side
from .limits import LinkLimits

__all__ = ["RECEIVE_BUFFER_BYTES", "WsLink", "WsLinkEndpoint", "WsStream", "library_bytes_max"]

#: Bytes read from the socket at once: measured; the library's 4 KiB makes a system call of each.
RECEIVE_BUFFER_BYTES = 65536

_SLACK_BYTES = 65536
_DEFAULT_PORTS = {"ws": 80, "wss": 443}


def library_bytes_max(receive_bytes_max: int) -> int:
    """
    The limit at which trio-websocket itself closes the connection.

    Far enough above ours that a message somewhat too large is answered and the connection lives.
    """
    return 2 * receive_bytes_max + _SLACK_BYTES


class WsStream:
    """
    A `MessageStream` over a WebSocket.

    Args:
        websocket: The open connection.
        wire: The byte stream that it runs over.
        nursery: Where pings are sent from: giving up the wait for an answer must not tear the
            frame of the question.
    """

    def __init__(
        self,
        websocket: trio_websocket.WebSocketConnection,
        wire: Wire,
        nursery: trio.Nursery,
        *,
        dialect: Dialect,
        peer: str,
    ) -> None:
        self._websocket = websocket
        self._wire = wire
        self._nursery = nursery
        self._dialect = dialect
        self._peer = peer
        self._arrivals_seen = 0
        self._ping_under_way = False
        self._closed_by_us: str | None = None
        self._close_finished = trio.Event()

    @property
    def dialect(self) -> Dialect:
        """The dialect that both sides agreed upon."""
        return self._dialect

    @property
    def peer(self) -> str:
        """Address and port of the other end."""
        return self._peer

    async def send_messages(self, messages: Sequence[bytes]) -> None:
        """See `MessageStream.send_messages`."""
        try:
            for message in messages:
                await self._websocket.send_message(message.decode())
        except trio_websocket.ConnectionClosed as closed:
            raise self._lost(closed) from None

    async def receive_message(self) -> str | bytes:
        """See `MessageStream.receive_message`."""
        try:
            message: str | bytes = await self._websocket.get_message()
        except trio_websocket.ConnectionClosed as closed:
            if self._closed_by_us is not None:
                # The owner leaves as soon as it hears of the end, and takes with it the task
                # that is just telling the peer why. Let that one finish (its time is bounded).
                await self._close_finished.wait()
            raise self._lost(closed) from None
        return message

    async def ping(self) -> None:
        """
        Return once the peer has shown that it is alive: by anything that arrived from it.

        A pong stands in line behind a large message that the peer is still sending; so every
        byte counts, and only a peer that was silent since the last call is asked.

        Cancellation: harmless.
        """
        if self._wire.arrivals != self._arrivals_seen:
            self._arrivals_seen = self._wire.arrivals
            return
        if not self._ping_under_way:
            self._ping_under_way = True
            self._nursery.start_soon(self._send_ping)
        await self._wire.wait_arrival()
        self._arrivals_seen = self._wire.arrivals

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """
        Close with the handshake that WebSocket asks for; idempotent.

        Cancellation: the socket is closed without waiting for the peer.
        """
        if self._closed_by_us is not None:
            await self._close_finished.wait()
            return
        self._closed_by_us = f"closed by this side: {code} {reason}".rstrip()
        try:
            # Once no bytes can come, neither can the peer's half of the closing handshake.
            with trio.CancelScope() as handshake:
                self._wire.on_end = handshake.cancel
                if self._wire.ended:
                    handshake.cancel()
                await self._websocket.aclose(code, reason)
        finally:
            # When the peer closed first, the library leaves the socket to us.
            try:
                await self._wire.aclose()
            finally:
                self._close_finished.set()

    async def _send_ping(self) -> None:
        try:
            await self._websocket.ping()
        except trio_websocket.ConnectionClosed:
            return  # The read loop hears of it too, and says so.
        finally:
            self._ping_under_way = False

    def _lost(self, closed: trio_websocket.ConnectionClosed) -> ConnectionLost:
        return ConnectionLost(self._closed_by_us or self._wire.failure or describe_close(closed))


class WsLinkEndpoint(LinkEndpoint):
    """The hub's end of a WebSocket connection; `serve_ws` makes one for each."""


class WsLink:
    """
    How to reach a hub by its URL.

    Args:
        url: ``ws://`` or ``wss://``, host, port and path.
        ssl_context: For ``wss://``; None trusts what the system trusts.
        limits: What the connection may cost.
        open_timeout: Seconds to connect, from name lookup to the end of the handshake.
        extra_headers: HTTP headers to send along, such as for a proxy.
        dialects: What may be spoken. The batched dialect is offered where it is among them; a
            hub that does not know it speaks plain.
    """

    def __init__(
        self,
        url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        limits: LinkLimits | None = None,
        open_timeout: float = 10.0,
        extra_headers: Sequence[tuple[str, str]] = (),
        dialects: Sequence[Dialect] = (Dialect.BATCHED, Dialect.PLAIN),
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise ValueError(f"{url!r} is no WebSocket URL: write ws://HOST:PORT or wss://HOST")
        if ssl_context is not None and parts.scheme == "ws":
            raise ValueError(f"{url!r} does not use TLS, but an ssl_context was given: use wss://")
        if not dialects:
            raise ValueError("dialects must name at least one dialect")
        self.url = url
        self.limits = limits if limits is not None else LinkLimits()
        self._host = parts.hostname
        self._port = parts.port or _DEFAULT_PORTS[parts.scheme]
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._ssl_context = ssl_context
        if parts.scheme == "wss" and ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        self._open_timeout = open_timeout
        self._extra_headers = [
            (name.encode("ascii"), value.encode("latin-1")) for name, value in extra_headers
        ]
        self._dialects = frozenset(dialects)

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

    async def _open(self, nursery: trio.Nursery) -> WsStream:
        wire = Wire(await self._open_bytes())
        try:
            offered = [BATCHED_SUBPROTOCOL] if Dialect.BATCHED in self._dialects else []
            websocket = await nursery.start(
                partial(
                    run_websocket,
                    wire,
                    partial(
                        trio_websocket.wrap_client_stream,
                        # Annotated as a socket's, documented as any stream.
                        stream=cast("trio.SocketStream", wire),
                        host=self._host_header,
                        resource=self._target,
                        subprotocols=offered,
                        extra_headers=self._extra_headers,
                        max_message_size=library_bytes_max(self.limits.hub_message_bytes_max),
                        receive_buffer_size=RECEIVE_BUFFER_BYTES,
                    ),
                )
            )
            batched = websocket.subprotocol == BATCHED_SUBPROTOCOL
            dialect = Dialect.BATCHED if batched else Dialect.PLAIN
            if dialect not in self._dialects:
                raise ConnectionLost(f"{self.url} does not speak the batched dialect")
        except BaseException:
            await trio.aclose_forcefully(wire)
            raise
        return WsStream(
            websocket, wire, nursery, dialect=dialect, peer=f"{self._host}:{self._port}"
        )

    async def _open_bytes(self) -> trio.abc.Stream:
        try:
            tcp = await trio.open_tcp_stream(self._host, self._port)
        except OSError as error:
            raise ConnectionLost(f"cannot reach {self.url}: {error}") from error
        if self._ssl_context is None:
            return tcp
        tls = trio.SSLStream(
            tcp, self._ssl_context, server_hostname=self._host, https_compatible=True
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

    @property
    def _host_header(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return host if self._port in _DEFAULT_PORTS.values() else f"{host}:{self._port}"
