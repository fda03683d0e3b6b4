"""
A link inside one process: the same frames, over memory channels instead of a socket.

What works here works over a socket: the bytes are the same, the limits are the same, and a peer
that does not read makes the sender wait. Only the wire cannot break by itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs
import trio

from .._logging import get_logger
from .._nursery import open_plain_nursery
from ..errors import ConnectionLost
from ..wire.frames import Dialect
from .base import EndpointServer
from .endpoint import LinkEndpoint, Side
from .limits import LinkLimits

__all__ = ["LocalLink", "LocalStream", "local_stream_pair"]

_log = get_logger("trio_hub.links")

#: Messages that may wait in each direction, in place of a socket's buffer.
_MESSAGES_MAX = 16


@attrs.define
class _Farewell:
    """How each end left, for the other end to read."""

    text: str | None = None


class LocalStream:
    """A `MessageStream` over memory channels; `local_stream_pair` makes two that are joined."""

    def __init__(
        self,
        outgoing: trio.MemorySendChannel[bytes],
        incoming: trio.MemoryReceiveChannel[bytes],
        our_farewell: _Farewell,
        their_farewell: _Farewell,
        dialect: Dialect,
    ) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._our_farewell = our_farewell
        self._their_farewell = their_farewell
        self._dialect = dialect

    @property
    def dialect(self) -> Dialect:
        """The dialect that both ends were made for."""
        return self._dialect

    @property
    def peer(self) -> str:
        """There is only one answer."""
        return "local"

    async def send_messages(self, messages: Sequence[bytes]) -> None:
        """See `MessageStream.send_messages`."""
        try:
            for message in messages:
                await self._outgoing.send(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._lost() from None

    async def receive_message(self) -> str | bytes:
        """See `MessageStream.receive_message`."""
        try:
            message = await self._incoming.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise self._lost() from None
        return message.decode()

    async def ping(self) -> None:
        """The other end is in the same process: it lives as long as this one."""
        await trio.lowlevel.checkpoint()

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close this end. What it sent can still be read at the other. Idempotent."""
        if self._our_farewell.text is None:
            self._our_farewell.text = f"{code} {reason}".rstrip()
        self._outgoing.close()
        self._incoming.close()
        await trio.lowlevel.checkpoint()

    def _lost(self) -> ConnectionLost:
        if self._our_farewell.text is not None:
            return ConnectionLost(f"closed by this side: {self._our_farewell.text}")
        return ConnectionLost(f"closed by the peer: {self._their_farewell.text or 'it left'}")


def local_stream_pair(dialect: Dialect = Dialect.BATCHED) -> tuple[LocalStream, LocalStream]:
    """Make two streams; what one sends, the other receives."""
    one_out, two_in = trio.open_memory_channel[bytes](_MESSAGES_MAX)
    two_out, one_in = trio.open_memory_channel[bytes](_MESSAGES_MAX)
    one, two = _Farewell(), _Farewell()
    return (
        LocalStream(one_out, one_in, one, two, dialect),
        LocalStream(two_out, two_in, two, one, dialect),
    )


class LocalLink:
    """
    How to reach a hub in the same process.

    Args:
        hub: The hub; it must be open while the link is used.
        limits: As for `WsLink`, for both ends.
        dialect: Which dialect to speak; PLAIN is what an AG2 peer would see.
    """

    def __init__(
        self,
        hub: EndpointServer,
        *,
        limits: LinkLimits | None = None,
        dialect: Dialect = Dialect.BATCHED,
    ) -> None:
        self.limits = limits if limits is not None else LinkLimits()
        self._hub = hub
        self._dialect = dialect

    def __repr__(self) -> str:
        return f"<LocalLink {self._dialect}>"

    def connect(self) -> AbstractAsyncContextManager[LinkEndpoint]:
        """
        Open a connection. The hub serves it in a nursery that lives as long as the block.

        Cancellation: both ends are closed.
        """
        return self._connect()

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[LinkEndpoint]:
        ours, theirs = local_stream_pair(self._dialect)
        endpoint = LinkEndpoint(ours, side=Side.CLIENT, limits=self.limits)
        served = trio.Event()
        async with open_plain_nursery() as nursery:
            nursery.start_soon(self._serve, theirs, served)
            try:
                yield endpoint
            finally:
                await endpoint.aclose()
                with trio.move_on_after(self.limits.close_timeout_seconds):
                    await served.wait()
                nursery.cancel_scope.cancel()

    async def _serve(self, stream: LocalStream, served: trio.Event) -> None:
        endpoint = LinkEndpoint(stream, side=Side.HUB, limits=self.limits)
        try:
            await self._hub.serve(endpoint)
        except Exception:
            # As over a socket: the peer sees its connection end, nobody else sees anything.
            _log.exception("a connection failed; it alone is closed", peer=stream.peer)
            await endpoint.aclose(1011, "internal error")
        finally:
            await endpoint.aclose()
            served.set()
