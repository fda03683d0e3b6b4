"""
One end of a connection, the same for a hub and for a client.

An endpoint starts no task. Whoever owns the connection runs its two helpers beside its own read
loop, so that one nursery shows the whole life of the connection::

    async with trio.open_nursery() as nursery:
        nursery.start_soon(endpoint.write_out)
        nursery.start_soon(endpoint.heartbeat)
        try:
            while True:
                message = await endpoint.receive()
                ...
        except ConnectionLost:
            nursery.cancel_scope.cancel()

However a connection ends, `receive` is the one that says so: it raises `ConnectionLost` with the
reason. The writer and the heartbeat end quietly.
"""

from __future__ import annotations

import uuid
from enum import Enum
from typing import Final

import trio

from ..errors import ConnectionLost, TooLarge
from ..records import ConnectionFacts
from ..wire.codec import join_frames
from ..wire.frames import Dialect
from .base import EagerStream, MessageStream
from .cork import Cork
from .limits import LinkLimits
from .outbox import Outbox

__all__ = ["LinkEndpoint", "Side"]

_UTF8_BYTES_PER_CHARACTER_MAX = 4

#: How much is handed to the stream at once: bounds how long one send may take.
_SEND_BYTES_MAX = 1024 * 1024


class Side(Enum):
    """Which end of a connection this is: the two have different limits."""

    HUB = "hub"
    CLIENT = "client"


class LinkEndpoint:
    """
    An outbox in front of a message stream.

    Args:
        stream: What carries the messages. The endpoint closes it; who made it may close it too.
        side: Whether this is the hub's end or the client's.
        limits: How large, how long, how much may wait.
        endpoint_id: What the connection is called in logs and in the hub's welcome; made up
            where it is empty.

    Attributes:
        dialect: What both sides agreed upon.
        frame_bytes_max: The largest frame that the peer takes. Ask before pushing: one that is
            larger ends the connection at some peers.
        facts: What is known of the connection; who took it may know more than the stream does.
    """

    def __init__(
        self,
        stream: MessageStream,
        *,
        side: Side,
        limits: LinkLimits | None = None,
        endpoint_id: str = "",
    ) -> None:
        self.limits = limits if limits is not None else LinkLimits()
        self.side = side
        self.stream = stream
        self.facts = ConnectionFacts(peer=stream.peer)
        self._eager = stream if isinstance(stream, EagerStream) else None
        self.endpoint_id = endpoint_id or uuid.uuid4().hex
        self.outbox = Outbox(
            low_bytes=self.limits.outbox_low_bytes,
            high_bytes=self.limits.outbox_high_bytes,
            hard_bytes=self.limits.outbox_hard_bytes,
        )
        self._receive_bytes_max = (
            self.limits.message_bytes_max if side is Side.HUB else self.limits.hub_message_bytes_max
        )
        # Up to here a text need not be looked at to know that it is not over the limit.
        self._receive_characters_safe = self._receive_bytes_max // _UTF8_BYTES_PER_CHARACTER_MAX
        # Asked for with every frame, so no properties.
        self.dialect: Final = stream.dialect
        self.frame_bytes_max: Final = _frame_bytes_max(self.limits, side, stream.dialect)
        # The first reason wins: what comes after is only a consequence of it.
        self._lost_because: str | None = None
        self._farewell = (1000, "")
        self._closed = False
        self._cut = False
        self._broken = False
        # Bytes that the stream has taken and not sent yet; only the writer goes on then.
        self._unsent = 0
        self._cork: Cork | None = None
        self._write_scope = trio.CancelScope()
        self._send_scope: trio.CancelScope | None = None
        self._listening = False
        self._receive_calls = 0
        self._read_to_the_end = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<{type(self).__name__} {self.endpoint_id} {self.dialect} to {self.peer}, {state}>"

    @property
    def peer(self) -> str:
        """Who is at the other end, for logs."""
        return self.stream.peer

    @property
    def closed(self) -> bool:
        """Whether the connection has ended or is about to: nothing more can be pushed."""
        return self._closed

    @property
    def lost_because(self) -> str | None:
        """Why the connection ended, once it has."""
        return self._lost_because

    def push_nowait(self, frame: bytes) -> bool:
        """
        Put an encoded frame into the outbox. Never waits.

        Returns False where it was not taken because the connection has ended. A peer that lets
        more than `outbox_hard_bytes` wait is cut off by this very call.
        """
        if self.outbox.push_nowait(frame):
            return True
        if not self._closed:
            self.cut(
                f"slow peer: {self.outbox.bytes_waiting} bytes were waiting for it and "
                f"{self.limits.outbox_hard_bytes} is the limit"
            )
        return False

    def use_cork(self, cork: Cork) -> None:
        """Let what is pushed be written when `cork` is pulled, where that needs no task."""
        if self._eager is not None:
            self._cork = cork
            self.outbox.on_waiting = self._keep_or_wake

    async def receive(self) -> str | bytes:
        """
        Return the next message: text as str, a binary one as bytes.

        Raises:
            TooLarge: This message was over the limit and has been dropped. The connection
                lives; call again.
            ConnectionLost: The connection has ended; says how.

        Cancellation: nothing is lost; the next call returns what would have come.
        """
        self._receive_calls += 1
        self._listening = True
        try:
            message = await self.stream.receive_message()
        except ConnectionLost as error:
            self._read_to_the_end = True
            reason = self._end(error.message)
            raise ConnectionLost(reason) from error.__cause__
        finally:
            self._listening = False
        if len(message) > self._receive_characters_safe:
            self._refuse_too_large(message)
        return message

    async def write_out(self) -> None:
        """
        Write what is pushed until the connection ends; run it as a task of the owner's nursery.

        Returns without an error when the connection was lost, cut, or closed by `close_soon`.

        Cancellation: may leave half a message on the wire; the connection can only be closed.
        """
        with self._write_scope:
            try:
                await self._write_all()
            except ConnectionLost as error:
                self._lose(error)
            if self._broken:
                return
            await self._close_stream(*self._farewell)
        if self._cut:
            await self._tear_stream()

    async def heartbeat(self) -> None:
        """
        See to it that the peer is alive; run it as a task of the owner's nursery.

        A peer that shows no life in time is cut off, and `receive` raises. It does so, too, where
        the connection has ended for whoever writes, and nothing comes any more.

        Cancellation: ends it.
        """
        await self._mind_silence()
        patience = max(self.limits.ping_timeout_seconds, self.limits.close_timeout_seconds)
        # What the peer sent before it left can be read, but not waited for without an end: of a
        # connection that broke while nobody read, the reader might never hear.
        while not self._read_to_the_end:
            calls_before = self._receive_calls
            await trio.sleep(patience)
            if self._has_waited_since(calls_before):
                await self._tear_stream()
                return

    def _has_waited_since(self, calls_before: int) -> bool:
        """Whether one and the same `receive` has been waiting since that many were called."""
        return self._listening and self._receive_calls == calls_before

    async def _mind_silence(self) -> None:
        while not self._closed:
            await trio.sleep(self.limits.ping_interval_seconds)
            calls_before = self._receive_calls
            alive = False
            with trio.move_on_after(self.limits.ping_timeout_seconds):
                try:
                    await self.stream.ping()
                except ConnectionLost:
                    return  # The read loop hears of it too, and says so.
                alive = True
            # The peer is to blame only if we were listening to it all the while, and if its
            # answer was not kept back behind a message that it is still taking from us (the
            # writer has a deadline of its own for that).
            listened = self._has_waited_since(calls_before)
            if not alive and listened and self._send_scope is None:
                self.cut(
                    "silent peer: it did not answer a ping within "
                    f"{self.limits.ping_timeout_seconds:g} s"
                )
                await self._tear_stream()

    def close_soon(self, code: int = 1000, reason: str = "") -> None:
        """
        Ask for an orderly end: what waits is written, then the peer is told why.

        Returns at once; the writer does it, within `close_timeout_seconds`. Then `receive`
        raises. The first call wins.
        """
        if self._closed:
            return
        self._closed = True
        self._farewell = (code, reason)
        self._lost_because = f"closed by this side: {code} {reason}".rstrip()
        self.outbox.close()
        if self._send_scope is not None:
            bound = trio.current_time() + self.limits.close_timeout_seconds
            self._send_scope.deadline = min(self._send_scope.deadline, bound)

    def cut(self, reason: str) -> None:
        """
        End the connection at once, without a word to a peer that does not listen anyway.

        What waits is dropped. Returns at once; the writer does it. Then `receive` raises.
        """
        self._cut = True
        self._end(f"closed by this side: {reason}")
        self.outbox.discard()
        self._write_scope.cancel()

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """
        Close the stream. Links call it when a connection's owner has left; idempotent.

        Takes at most `close_timeout_seconds`. After `close_soon`, its code and reason count.

        Cancellation: the stream is closed without ceremony.
        """
        if not self._closed:
            self._farewell = (code, reason)
            self._end(f"closed by this side: {code} {reason}".rstrip())
        self.outbox.discard()
        if self._cut:
            await self._tear_stream()
        else:
            await self._close_stream(*self._farewell)

    async def _write_all(self) -> None:
        limits = self.limits
        while True:
            messages: list[bytes] = []
            if not self._unsent:
                messages = self._take_some()
                if not messages:
                    if self.outbox.closed:
                        return
                    await self.outbox.rung()
                    continue
                if self._eager is not None:
                    if self._eager.send_nowait(messages):
                        self._count_sent()
                        continue
                    messages = []
            size = self._unsent
            allowed = limits.send_timeout_seconds + size / limits.send_bytes_per_second_min
            if self._closed:
                allowed = min(allowed, limits.close_timeout_seconds)
            with trio.move_on_after(allowed) as self._send_scope:
                await self.stream.send_messages(messages)
            cancelled = self._send_scope.cancelled_caught
            self._send_scope = None
            if cancelled:
                self.cut(f"slow peer: it did not take {size} bytes in time")
                return
            self._count_sent()

    def _keep_or_wake(self) -> None:
        assert self._cork is not None
        if self._cork.is_in:
            self._cork.keep(self._write_nowait)
        else:
            self.outbox.wake_writer()

    def _write_nowait(self) -> None:
        """Write what waits, as far as the peer takes it at once; the rest is the writer's."""
        if self._unsent:
            return  # The writer looks again when it is through.
        messages = self._take_some()
        if not messages:
            return
        assert self._eager is not None
        try:
            sent = self._eager.send_nowait(messages)
        except ConnectionLost as error:
            self._lose(error)
            return
        if sent:
            self._count_sent()
        if self.outbox.bytes_waiting:
            self.outbox.wake_writer()

    def _take_some(self) -> list[bytes]:
        """Take as much of what waits as is sent at once; it counts as not sent from here on."""
        frames = self.outbox.take_nowait(_SEND_BYTES_MAX)
        self._unsent = sum(map(len, frames))
        if self.dialect is Dialect.PLAIN:
            return frames
        limit = min(self.limits.batch_bytes_max, self.frame_bytes_max)
        return join_frames(frames, self.dialect, limit)

    def _count_sent(self) -> None:
        # First, for whoever hears that there is room may push again.
        size, self._unsent = self._unsent, 0
        self.outbox.written(size)

    def _lose(self, error: ConnectionLost) -> None:
        """Take note that the peer is gone, and what it says of that to whoever writes."""
        # No reason to close the stream: what the peer sent before it left can be read.
        self._broken = True
        self.outbox.discard()
        self._end(error.message)

    async def _close_stream(self, code: int, reason: str) -> None:
        with trio.move_on_after(self.limits.close_timeout_seconds):
            await self.stream.aclose(code, reason)

    async def _tear_stream(self) -> None:
        # Closing in a scope that is cancelled already is Trio's way to say "without ceremony".
        with trio.CancelScope() as scope:
            scope.cancel()
            await self.stream.aclose()

    def _end(self, reason: str) -> str:
        self._closed = True
        self.outbox.close()
        if self._lost_because is None:
            self._lost_because = reason
        return self._lost_because

    def _refuse_too_large(self, message: str | bytes) -> None:
        limit = self._receive_bytes_max
        if isinstance(message, bytes) or message.isascii():
            size = len(message)
        else:
            size = len(message.encode())
        if size > limit:
            raise TooLarge(
                f"a message of {size} bytes is over the limit of {limit}; "
                "send less at once, or a reference to where the rest can be fetched"
            )


def _frame_bytes_max(limits: LinkLimits, side: Side, dialect: Dialect) -> int:
    if dialect is Dialect.PLAIN:
        return limits.plain_message_bytes_max
    return limits.hub_message_bytes_max if side is Side.HUB else limits.message_bytes_max
