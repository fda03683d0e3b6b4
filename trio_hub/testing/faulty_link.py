"""
A link that fails when it is told to.

Put it around any link and drive the faults from the test::

    link = FaultyLink(LocalLink(hub))
    async with HubClient(link) as hub_client:
        ...
        link.cut()                    # the connection ends without a goodbye
        link.stall()                  # half-open: nothing flows, and nobody is told
        link.resume()
        link.drop_next_received(1)    # a message of the hub vanishes

Nothing here depends on chance or on the clock, so a test under an autojump clock sees the same
each time. A socket never loses a message in the middle of a connection; dropping one stands for
a bug in a peer or in a proxy, and shows whether whoever waits for an answer has a deadline.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TypeVar

import trio

from .._nursery import open_plain_nursery
from ..errors import ConnectionLost
from ..links import Link, LinkEndpoint, MessageStream
from ..wire.frames import Dialect

__all__ = ["FaultyLink"]

T = TypeVar("T")

_CUT = "the connection broke: FaultyLink.cut() was called"


class FaultyLink:
    """
    A link around a link, with faults to switch on.

    What is said of the link holds for every connection of it; `cut` ends those that are open.

    Args:
        inner_link: The link that carries the messages.

    Attributes:
        refusing: While true, `connect` raises `ConnectionLost`: the hub cannot be reached.
    """

    def __init__(self, inner_link: Link) -> None:
        self.refusing = False
        self._inner_link = inner_link
        self._streams: set[_FaultyStream] = set()
        self._connect_count = 0
        self._sending = _Gate()
        self._receiving = _Gate()

    def __repr__(self) -> str:
        return f"<FaultyLink around {self._inner_link!r}, {len(self._streams)} open>"

    @property
    def connect_count(self) -> int:
        """How often a connection was asked for, refused ones included."""
        return self._connect_count

    def cut(self) -> None:
        """End every open connection at once, without a goodbye. New ones may be opened."""
        for stream in self._streams:
            stream.cut()

    def stall(self, *, sending: bool = True, receiving: bool = True) -> None:
        """
        Let nothing flow until `resume`: connections look open and are not.

        Args:
            sending: Hold what this side sends.
            receiving: Hold what the hub sends.
        """
        if sending:
            self._sending.shut()
        if receiving:
            self._receiving.shut()

    def resume(self) -> None:
        """Let everything flow again; what was held goes on its way, in order."""
        self._sending.open()
        self._receiving.open()

    def drop_next_received(self, count: int = 1) -> None:
        """Let the next `count` messages of the hub vanish (a batched message is one)."""
        self._receiving.to_drop += count

    def drop_next_sent(self, count: int = 1) -> None:
        """Let the next `count` messages to the hub vanish (a batched message is one)."""
        self._sending.to_drop += count

    def connect(self) -> AbstractAsyncContextManager[LinkEndpoint]:
        """
        Open a connection of the inner link; see `Link.connect`.

        The hub sees the end of a stalled connection once the block is left.
        """
        return self._connect()

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[LinkEndpoint]:
        self._connect_count += 1
        if self.refusing:
            raise ConnectionLost("cannot reach the hub: FaultyLink.refusing is set")
        async with self._inner_link.connect() as inner, open_plain_nursery() as nursery:
            stream = _FaultyStream(inner.stream, self._sending, self._receiving)
            self._streams.add(stream)
            nursery.start_soon(stream.tear_when_cut)
            endpoint = LinkEndpoint(
                stream, side=inner.side, limits=inner.limits, endpoint_id=inner.endpoint_id
            )
            try:
                yield endpoint
            finally:
                self._streams.discard(stream)
                await endpoint.aclose()
                nursery.cancel_scope.cancel()


class _Gate:
    """One direction: open or shut, and how many messages are to vanish in it."""

    def __init__(self) -> None:
        self.to_drop = 0
        self._opened = trio.Event()
        self._opened.set()

    @property
    def is_open(self) -> bool:
        return self._opened.is_set()

    def shut(self) -> None:
        if self.is_open:
            self._opened = trio.Event()

    def open(self) -> None:
        self._opened.set()

    async def passed(self) -> None:
        while not self.is_open:
            await self._opened.wait()

    def drops_one(self) -> bool:
        if not self.to_drop:
            return False
        self.to_drop -= 1
        return True


class _FaultyStream:
    """A `MessageStream` around one, with two gates in it."""

    def __init__(self, inner: MessageStream, sending: _Gate, receiving: _Gate) -> None:
        self._inner = inner
        self._sending = sending
        self._receiving = receiving
        self._cut = trio.Event()
        self._waits: set[trio.CancelScope] = set()
        self._held: str | bytes | None = None

    @property
    def dialect(self) -> Dialect:
        return self._inner.dialect

    @property
    def peer(self) -> str:
        return self._inner.peer

    def cut(self) -> None:
        self._cut.set()
        for scope in self._waits:
            scope.cancel()

    async def tear_when_cut(self) -> None:
        await self._cut.wait()
        with trio.CancelScope() as scope:
            scope.cancel()
            await self._inner.aclose()

    async def send_messages(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            await self._unless_cut(self._sending.passed)
            if not self._sending.drops_one():
                await self._unless_cut(partial(self._inner.send_messages, [message]))

    async def receive_message(self) -> str | bytes:
        while True:
            await self._unless_cut(self._receiving.passed)
            # Kept here while the gate is shut, so that a cancellation loses nothing.
            if self._held is None:
                self._held = await self._unless_cut(self._inner.receive_message)
            await self._unless_cut(self._receiving.passed)
            message, self._held = self._held, None
            if not self._receiving.drops_one():
                return message

    async def ping(self) -> None:
        await self._unless_cut(self._sending.passed)
        await self._unless_cut(self._receiving.passed)
        await self._unless_cut(self._inner.ping)

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        if self._cut.is_set() or not (self._sending.is_open and self._receiving.is_open):
            # No closing handshake gets through.
            self.cut()
            await trio.lowlevel.checkpoint()
        else:
            await self._inner.aclose(code, reason)

    async def _unless_cut(self, wait: Callable[[], Awaitable[T]]) -> T:
        with trio.CancelScope() as scope:
            self._waits.add(scope)
            try:
                if not self._cut.is_set():
                    return await wait()
            finally:
                self._waits.discard(scope)
        raise ConnectionLost(_CUT)
