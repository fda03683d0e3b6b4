"""
Just enough of an HTTP server for those who watch a hub.

h11 reads and writes HTTP; it is there already, below every WebSocket library. One request for
each connection, then it is closed: a scraper comes every few seconds and does not care. A whole
ASGI server would bring more code than it would save, and none of the bounds that matter here:

- a connection has so many seconds in all, whatever it does, and so many bytes for its request;
- there are so many connections; one more throws out the oldest, so that peers which open
  connections and say nothing keep nobody from asking.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import attrs
import h11
import trio
from attrs.validators import gt

from .._logging import get_logger
from .._version import __version__

__all__ = ["HttpLimits", "Request", "Response", "serve_http"]

log = get_logger(__name__)

_RECEIVE_BYTES = 4096


@attrs.frozen(kw_only=True)
class HttpLimits:
    """
    What peers that ask over HTTP may cost.

    Attributes:
        connections_max: At once. A scraper needs one; one more throws out the oldest.
        request_bytes_max: The request line and headers. Scrapers send some hundred bytes.
        exchange_seconds: From the first byte to the last of the answer. Prometheus gives up
            after 10 s by default.
    """

    connections_max: int = attrs.field(
        default=32, validator=gt(0), metadata={"unit": "connections"}
    )
    request_bytes_max: int = attrs.field(
        default=16 * 1024, validator=gt(0), metadata={"unit": "bytes"}
    )
    exchange_seconds: float = attrs.field(
        default=10.0, validator=gt(0), metadata={"unit": "seconds"}
    )


@attrs.frozen
class Request:
    """What was asked for."""

    path: str
    accept: str = ""


@attrs.frozen
class Response:
    """What is answered."""

    status: int
    body: bytes
    content_type: str = "application/json"

    @classmethod
    def of_json(cls, status: int, document: Any) -> Response:
        """Answer with a JSON document."""
        return cls(status, json.dumps(document).encode() + b"\n")


Answer = Callable[[Request], Awaitable[Response]]


async def serve_http(
    listeners: list[trio.SocketListener], answer: Answer, limits: HttpLimits
) -> None:
    """
    Answer GET and HEAD until cancelled.

    Args:
        listeners: Closed in the end.
        answer: What it raises costs its connection an answer with the status 500.

    Cancellation: connections end where they are.
    """
    # Oldest first.
    scopes: dict[trio.CancelScope, None] = {}

    async def serve_one(stream: trio.SocketStream) -> None:
        if len(scopes) >= limits.connections_max:
            next(iter(scopes)).cancel()
        with trio.move_on_after(limits.exchange_seconds) as scope:
            scopes[scope] = None
            try:
                await _exchange(stream, answer, limits)
            except trio.BrokenResourceError:
                pass  # It has left. There is nobody to tell.
            except Exception:
                log.exception("an HTTP connection failed; it alone is closed")
            finally:
                scopes.pop(scope, None)
                await trio.aclose_forcefully(stream)

    await trio.serve_listeners(serve_one, listeners)


async def _exchange(stream: trio.SocketStream, answer: Answer, limits: HttpLimits) -> None:
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.request_bytes_max)
    try:
        request = await _read(stream, http)
    except h11.RemoteProtocolError as error:
        await _send(stream, http, _problem(error.error_status_hint, str(error)))
        return
    if request is None:
        return
    if request.method not in (b"GET", b"HEAD"):
        response = _problem(405, "GET and HEAD are answered")
    else:
        target = request.target.decode("latin-1")
        accept = next((v for k, v in request.headers if k == b"accept"), b"").decode("latin-1")
        try:
            response = await answer(Request(target.partition("?")[0], accept))
        except Exception:
            log.exception("an HTTP request failed", path=target[:100])
            response = _problem(500, "it failed inside the hub; its log has the story")
    await _send(stream, http, response, with_body=request.method != b"HEAD")


async def _read(stream: trio.SocketStream, http: h11.Connection) -> h11.Request | None:
    """Read the head of a request; None where the peer leaves before."""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            data = await stream.receive_some(_RECEIVE_BYTES)
            if not data:
                return None
            http.receive_data(data)
        else:
            # The first event of a client is a request, or an error has been raised.
            assert isinstance(event, h11.Request)
            return event


async def _send(
    stream: trio.SocketStream, http: h11.Connection, response: Response, *, with_body: bool = True
) -> None:
    if http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    head = h11.Response(
        status_code=response.status,
        reason=HTTPStatus(response.status).phrase,
        headers=[
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.body))),
            ("Server", f"trio_hub/{__version__}"),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
        ],
    )
    data = http.send(head) or b""
    await stream.send_all(data + response.body if with_body else data)
    await stream.send_eof()


def _problem(status: int, message: str) -> Response:
    return Response.of_json(status, {"ok": False, "error": message})
