"""
A small HTTP server that speaks for a model: real sockets, a script of answers, a record of calls.

Which API it speaks is a matter of what the script writes; see `apis`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import h11
import trio

__all__ = ["ModelServer", "Reply", "model_server"]


@attrs.define(eq=False)
class Reply:
    """
    One HTTP answer of the script.

    Attributes:
        pieces: Written one by one, as chunks.
        before_piece: Awaited before each piece, given its number.
    """

    status: int = 200
    content_type: str = "application/json"
    pieces: list[bytes] = attrs.field(factory=list)
    headers: dict[str, str] = attrs.field(factory=dict)
    before_piece: Callable[[int], Awaitable[None]] | None = None

    @classmethod
    def error(cls, status: int, body: Any, **headers: str) -> Reply:
        return cls(status, pieces=[json.dumps(body).encode()], headers=headers)

    @classmethod
    def events(cls, events: list[tuple[str | None, str]]) -> Reply:
        """A stream of server-sent events: names (None for none) and data."""
        pieces = [
            (f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode()
            for name, data in events
        ]
        return cls(content_type="text/event-stream", pieces=pieces)


@attrs.define(eq=False)
class ModelServer:
    """
    A running server.

    Attributes:
        script: What it answers, in order.
        requests: Path and body of every request so far.
        hung_up: Set once a client has left before the end of its answer.
    """

    url: str
    script: list[Reply] = attrs.field(factory=list)
    requests: list[tuple[str, Any]] = attrs.field(factory=list)
    hung_up: trio.Event = attrs.field(factory=trio.Event)

    @property
    def bodies(self) -> list[Any]:
        return [body for _, body in self.requests]

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer on one connection until the client leaves."""
        connection = h11.Connection(h11.SERVER)
        try:
            async with stream:
                while await self._answer(connection, stream):
                    connection.start_next_cycle()
        except trio.BrokenResourceError:
            self.hung_up.set()

    async def _answer(self, connection: h11.Connection, stream: trio.SocketStream) -> bool:
        path, body = "", b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                path = event.target.decode()
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        self.requests.append((path, json.loads(body)))
        reply = self.script.pop(0)
        headers = {"content-type": reply.content_type, "transfer-encoding": "chunked"}
        response = h11.Response(
            status_code=reply.status, headers=list({**headers, **reply.headers}.items())
        )
        await stream.send_all(connection.send(response) or b"")
        written = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, stream, nursery.cancel_scope)
            for number, piece in enumerate(reply.pieces):
                if reply.before_piece is not None:
                    await reply.before_piece(number)
                await stream.send_all(connection.send(h11.Data(data=piece)) or b"")
            written = True
            nursery.cancel_scope.cancel()
        if not written:
            return False
        await stream.send_all(connection.send(h11.EndOfMessage()) or b"")
        return True

    async def _watch(self, stream: trio.SocketStream, answering: trio.CancelScope) -> None:
        """Hear of a client that leaves in the middle of its answer."""
        try:
            left = not await stream.receive_some()
        except trio.BrokenResourceError:
            left = True
        if left:
            self.hung_up.set()
            answering.cancel()


@asynccontextmanager
async def model_server(*script: Reply) -> AsyncIterator[ModelServer]:
    """Serve a script on a free port of this machine."""
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        server = ModelServer(f"http://127.0.0.1:{port}", list(script))
        await nursery.start(trio.serve_listeners, server.serve, [listener])
        yield server
        nursery.cancel_scope.cancel()
