"""
What a link is: a door through which messages go, whatever carries them.

A *link* (`WsLink`, `LocalLink`) knows how to reach a hub. Connecting it gives a *message
stream*: whole messages in both directions. On both ends a `LinkEndpoint` puts an outbox in front
of the stream, so that whoever has something to say never waits for the peer to read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ..wire.frames import Dialect

if TYPE_CHECKING:
    from .endpoint import LinkEndpoint

__all__ = ["EagerStream", "EndpointServer", "Link", "MessageStream"]


class MessageStream(Protocol):
    """
    One end of a connection that carries whole messages.

    One task may send while another receives; two tasks may not do the same at once.
    """

    @property
    def dialect(self) -> Dialect:
        """The dialect that both sides agreed upon."""
        ...

    @property
    def peer(self) -> str:
        """Who is at the other end, for logs: ``"127.0.0.1:50000"`` or ``"local"``."""
        ...

    async def send_messages(self, messages: Sequence[bytes]) -> None:
        """
        Send text messages (UTF-8) in order.

        Raises:
            ConnectionLost: The peer is gone.

        Cancellation: may leave half a message on the wire. After it the stream can only be
        closed.
        """
        ...

    async def receive_message(self) -> str | bytes:
        """
        Return the next message: text as str, a binary one as bytes.

        Raises:
            ConnectionLost: The peer is gone; the message says how it left.

        Cancellation: nothing is lost; the next call returns what would have come.
        """
        ...

    async def ping(self) -> None:
        """Return once the peer has shown that it is alive. Raises `ConnectionLost`."""
        ...

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close, telling the peer why (a WebSocket close code and a short text). Idempotent."""
        ...


@runtime_checkable
class EagerStream(Protocol):
    """A `MessageStream` that can also take messages without a wait; most of the time that does."""

    def send_nowait(self, messages: Sequence[bytes]) -> bool:
        """
        Take messages, and send what can be sent at once.

        Returns whether that was all. If not, call ``send_messages(())`` to have the rest sent.

        Raises:
            ConnectionLost: The peer is gone.
        """
        ...


class Link(Protocol):
    """How to reach a hub."""

    def connect(self) -> AbstractAsyncContextManager[LinkEndpoint]:
        """
        Open a connection. It lives as long as the block; leaving the block closes it.

        Raises:
            ConnectionLost: The hub cannot be reached, and why.
            AuthError: It refused the connection before any frame was exchanged.
        """
        ...


class EndpointServer(Protocol):
    """What a hub is to the links: somebody who takes a connection and sees it to its end."""

    async def serve(self, endpoint: LinkEndpoint) -> None:
        """Talk with the peer until either side is done. Never raises what the peer did wrong."""
        ...

    @property
    def auth_schemes(self) -> tuple[str, ...]:
        """The schemes that the hub accepts."""
        ...
