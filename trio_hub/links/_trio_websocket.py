"""
WebSockets by trio-websocket, the transport that is always there.

This module and `_ws_transport` are all that knows of trio-websocket. No compression: it costs
more than it saves on small frames, and its state costs memory on every connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import trio
import trio_websocket

from ..errors import ConnectionLost
from ..wire.frames import BATCHED_SUBPROTOCOL, Dialect
from ._last_words import broken_how, last_words
from ._ws_transport import Wire, describe_close, run_websocket
from .handshakes import HungUp
from .limits import RECEIVE_BUFFER_BYTES, LinkLimits, library_bytes_max
from .transport import Target
from .upgrade import Admit, admit_everybody, refused

__all__ = ["TRANSPORT", "TrioWebsocketTransport", "WsStream"]

_DEFAULT_PORTS = {False: 80, True: 443}


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


class TrioWebsocketTransport:
    """A `Transport`."""

    name = "trio-websocket"

    async def accept(
        self,
        raw: trio.abc.Stream,
        nursery: trio.Nursery,
        *,
        peer: str,
        limits: LinkLimits,
        admit: Admit = admit_everybody,
    ) -> WsStream:
        """See `Transport.accept`."""
        wire = Wire(raw)
        request: trio_websocket.WebSocketRequest = await nursery.start(
            partial(
                run_websocket,
                wire,
                partial(
                    trio_websocket.wrap_server_stream,
                    stream=wire,
                    max_message_size=library_bytes_max(limits.message_bytes_max),
                    receive_buffer_size=RECEIVE_BUFFER_BYTES,
                ),
            )
        )
        batched = BATCHED_SUBPROTOCOL in request.proposed_subprotocols
        refusal = await admit(
            [value.decode("latin-1") for name, value in request.headers if name == b"authorization"]
        )
        try:
            if refusal is not None:
                await request.reject(
                    refusal.status,
                    extra_headers=[
                        (name.encode(), value.encode()) for name, value in refusal.headers
                    ],
                    body=refusal.text.encode(),
                )
                raise refused(refusal)
            websocket = await request.accept(subprotocol=BATCHED_SUBPROTOCOL if batched else None)
        except trio_websocket.ConnectionClosed:
            raise HungUp("the peer hung up during the handshake") from None
        dialect = Dialect.BATCHED if batched else Dialect.PLAIN
        wire.last_words = partial(_last_words, websocket, dialect)
        return WsStream(websocket, wire, nursery, dialect=dialect, peer=peer)

    async def connect(
        self, raw: trio.abc.Stream, nursery: trio.Nursery, *, target: Target, limits: LinkLimits
    ) -> WsStream:
        """See `Transport.connect`."""
        wire = Wire(raw)
        websocket: trio_websocket.WebSocketConnection = await nursery.start(
            partial(
                run_websocket,
                wire,
                partial(
                    trio_websocket.wrap_client_stream,
                    # Annotated as a socket's, documented as any stream.
                    stream=cast("trio.SocketStream", wire),
                    host=_host_header(target),
                    resource=target.resource,
                    subprotocols=list(target.subprotocols),
                    extra_headers=[
                        (name.encode("ascii"), value.encode("latin-1"))
                        for name, value in target.headers
                    ],
                    max_message_size=library_bytes_max(limits.hub_message_bytes_max),
                    receive_buffer_size=RECEIVE_BUFFER_BYTES,
                ),
            )
        )
        batched = websocket.subprotocol == BATCHED_SUBPROTOCOL
        dialect = Dialect.BATCHED if batched else Dialect.PLAIN
        return WsStream(websocket, wire, nursery, dialect=dialect, peer=target.peer)


TRANSPORT = TrioWebsocketTransport()


def _last_words(websocket: trio_websocket.WebSocketConnection, dialect: Dialect) -> bytes:
    close = websocket.closed
    if close is None or broken_how(close.code) is None:
        return b""
    return last_words(close.code, close.reason, dialect)


def _host_header(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    if target.port == _DEFAULT_PORTS[target.secure]:
        return host
    return f"{host}:{target.port}"
