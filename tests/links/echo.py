"""Peers for the tests of links: a hub that echoes, and a client's read loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from trio_hub.errors import ConnectionLost, TooLarge
from trio_hub.links import LinkEndpoint


class EchoHub:
    """Sends every message back as one frame; answers one that is too large with ``too large``."""

    def __init__(self, auth_schemes: tuple[str, ...] = ("none",)) -> None:
        self.auth_schemes = auth_schemes
        self.endpoints: list[LinkEndpoint] = []
        self.lost: list[str] = []
        self.serving = 0

    async def serve(self, endpoint: LinkEndpoint) -> None:
        self.endpoints.append(endpoint)
        self.serving += 1
        try:
            async with running(endpoint):
                while True:
                    try:
                        message = await endpoint.receive()
                    except TooLarge as error:
                        endpoint.push_nowait(f"too large: {error.message}".encode())
                        continue
                    data = message.encode() if isinstance(message, str) else b"binary"
                    endpoint.push_nowait(data)
        except ConnectionLost as error:
            self.lost.append(error.message)
        finally:
            self.serving -= 1


class CallbackHub:
    """Hands every endpoint to an async function."""

    auth_schemes = ("none",)

    def __init__(self, function: Callable[[LinkEndpoint], object]) -> None:
        self.function = function

    async def serve(self, endpoint: LinkEndpoint) -> None:
        await self.function(endpoint)  # type: ignore[misc]


@asynccontextmanager
async def running(endpoint: LinkEndpoint) -> AsyncIterator[LinkEndpoint]:
    """Run an endpoint's two helpers beside the block; the block's error comes out bare."""
    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(endpoint.write_out)
        nursery.start_soon(endpoint.heartbeat)
        try:
            yield endpoint
        except ConnectionLost as lost:
            error = lost
        nursery.cancel_scope.cancel()
    if error is not None:
        raise error


async def receive_until_lost(endpoint: LinkEndpoint) -> str:
    """Read on; return why the connection ended."""
    try:
        while True:
            await endpoint.receive()
    except ConnectionLost as error:
        return error.message
