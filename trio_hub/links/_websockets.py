"""
WebSockets by `websockets`' sans-I/O protocol: the faster transport, of the extra ``trio_hub[fast]``.

This module and `_sansio_stream` are all that knows of `websockets`: here the handshakes, there
what follows. No compression: it costs more than it saves on small frames.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus

import trio
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response
from websockets.protocol import Protocol, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from ..errors import AuthError, ConnectionLost, NetworkError
from ..wire.frames import BATCHED_SUBPROTOCOL, Dialect
from ._let_go import let_go
from ._sansio_stream import SansIoStream
from .handshakes import HungUp
from .limits import RECEIVE_BUFFER_BYTES, LinkLimits, library_bytes_max
from .transport import Target
from .upgrade import Admit, admit_everybody, refused

__all__ = ["TRANSPORT", "WebsocketsTransport"]

# The library would tell of every connection, and at the level DEBUG of every frame, which may
# hold a credential. What is worth telling is told by us.
_log = logging.getLogger("trio_hub.links.websockets")
_log.setLevel(logging.ERROR)

_NO_WEBSOCKET = "the peer does not speak WebSocket (or one side speaks TLS and the other does not)"
_HUNG_UP = "the peer hung up during the WebSocket handshake"
_HEAD_END = b"\r\n\r\n"
_HTTP_FORBIDDEN = {401, 403}
_BODY_CHARACTERS_MAX = 200


class _Protocol(ServerProtocol):
    # Not given to the library as an argument: it would keep it as a method bound to the protocol
    # itself, and such a circle is only freed by the collector.
    def select_subprotocol(self, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        return Subprotocol(BATCHED_SUBPROTOCOL) if BATCHED_SUBPROTOCOL in offered else None


class WebsocketsTransport:
    """A `Transport`."""

    name = "websockets"

    async def accept(
        self,
        raw: trio.abc.Stream,
        nursery: trio.Nursery,
        *,
        peer: str,
        limits: LinkLimits,
        admit: Admit = admit_everybody,
    ) -> SansIoStream:
        """See `Transport.accept`."""
        protocol = _Protocol(max_size=library_bytes_max(limits.message_bytes_max), logger=_log)
        try:
            early = await self._shake_hands(protocol, raw, admit)
        except BaseException:
            let_go(protocol)
            raise
        return _stream(protocol, raw, nursery, peer, early)

    async def _shake_hands(
        self, protocol: ServerProtocol, raw: trio.abc.Stream, admit: Admit
    ) -> bytes:
        """Return what came behind the handshake."""
        request, early = await _receive_first(protocol, raw, b"GET ")
        if not isinstance(request, Request):
            if isinstance(getattr(protocol.handshake_exc, "__cause__", None), EOFError):
                raise HungUp(_HUNG_UP)
            raise ConnectionLost(f"{_NO_WEBSOCKET}: {protocol.handshake_exc}")
        refusal = await admit(request.headers.get_all("Authorization"))
        if refusal is not None:
            response = protocol.reject(HTTPStatus(refusal.status), refusal.text)
            for name, value in refusal.headers:
                response.headers[name] = value
        else:
            response = _response(protocol, request)
        protocol.send_response(response)
        await _send(raw, protocol.data_to_send())
        if refusal is not None:
            raise refused(refusal)
        if protocol.state is not State.OPEN:
            raise ConnectionLost(f"no WebSocket was opened: {protocol.handshake_exc}")
        return early

    async def connect(
        self, raw: trio.abc.Stream, nursery: trio.Nursery, *, target: Target, limits: LinkLimits
    ) -> SansIoStream:
        """See `Transport.connect`."""
        resource, _, query = target.resource.partition("?")
        protocol = ClientProtocol(
            WebSocketURI(target.secure, target.host, target.port, resource, query, None, None),
            subprotocols=[Subprotocol(name) for name in target.subprotocols] or None,
            max_size=library_bytes_max(limits.hub_message_bytes_max),
            logger=_log,
        )
        request = protocol.connect()
        for name, value in target.headers:
            request.headers[name] = value
        protocol.send_request(request)
        try:
            await _send(raw, protocol.data_to_send())
            _, early = await _receive_first(protocol, raw, b"HTTP/")
            if protocol.handshake_exc is not None:
                raise _refusal(protocol.handshake_exc)
        except BaseException:
            let_go(protocol)
            raise
        return _stream(protocol, raw, nursery, target.peer, early)


TRANSPORT = WebsocketsTransport()


def _response(protocol: ServerProtocol, request: Request) -> Response:
    hosts = request.headers.get_all("Host")
    if len(hosts) != 1 or not hosts[0].isascii():
        return protocol.reject(HTTPStatus.BAD_REQUEST, "This request does not say to which host.\n")
    if not all(value.isascii() for name, value in request.headers.raw_items() if _is_ours(name)):
        # The library does not expect it, and raises while it writes down what is wrong.
        return protocol.reject(HTTPStatus.BAD_REQUEST, "A header of the handshake is not ASCII.\n")
    return protocol.accept(request)


def _is_ours(header: str) -> bool:
    return header.lower() in ("connection", "upgrade", "origin") or header.lower().startswith(
        "sec-websocket-"
    )


async def _receive_first(
    protocol: Protocol, raw: trio.abc.Stream, prefix: bytes
) -> tuple[Request | Response | None, bytes]:
    """
    Return the peer's half of the handshake (None where it is none), and what came behind it.

    The library waits for the end of a line, which what is no HTTP may never have; so what does
    not begin with the prefix is not waited for.
    """
    head = bytearray()
    in_head = True
    while True:
        try:
            data = bytes(await raw.receive_some(RECEIVE_BUFFER_BYTES))
        except trio.BrokenResourceError:
            data = b""
        behind = b""
        if data:
            if in_head:
                # Frames that come too early are not for the library to see before they are due.
                searched = max(0, len(head) - len(_HEAD_END))
                head += data
                if not prefix.startswith(head[: len(prefix)]):
                    raise ConnectionLost(f"{_NO_WEBSOCKET}: it began with {bytes(head[:5])!r}")
                end = head.find(_HEAD_END, searched)
                in_head = end < 0
                if not in_head:
                    behind = bytes(head[end + len(_HEAD_END) :])
                    data = data[: len(data) - len(behind)]
            protocol.receive_data(data)
        else:
            # The end of the stream may be the end of an answer without a length.
            protocol.receive_eof()
        events = protocol.events_received()
        if not events and behind:
            # An answer with a body: nothing but the answer is to come.
            protocol.receive_data(behind)
            behind = b""
            events = protocol.events_received()
        if events:
            assert isinstance(events[0], Request | Response)
            return events[0], behind
        if not head:
            raise HungUp(_HUNG_UP)
        if protocol.handshake_exc is not None:
            return None, b""


async def _send(raw: trio.abc.Stream, pieces: Sequence[bytes]) -> None:
    try:
        await raw.send_all(b"".join(pieces))
    except trio.BrokenResourceError:
        raise HungUp(_HUNG_UP) from None


def _stream(
    protocol: Protocol,
    raw: trio.abc.Stream,
    nursery: trio.Nursery,
    peer: str,
    early: bytes,
) -> SansIoStream:
    batched = protocol.subprotocol == BATCHED_SUBPROTOCOL
    dialect = Dialect.BATCHED if batched else Dialect.PLAIN
    return SansIoStream(protocol, raw, nursery, dialect=dialect, peer=peer, early=early)


def _refusal(error: Exception) -> NetworkError:
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        body = bytes(error.response.body or b"").decode(errors="replace")
        body = body[:_BODY_CHARACTERS_MAX].strip()
        text = f"the peer refused the connection: HTTP {status} {body}".rstrip()
        return AuthError(text) if status in _HTTP_FORBIDDEN else ConnectionLost(text)
    return ConnectionLost(f"{_NO_WEBSOCKET}: {error.__cause__ or error}")
