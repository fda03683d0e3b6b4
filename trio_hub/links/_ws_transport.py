"""
What we own of a WebSocket: the byte stream below trio-websocket, and the task above it.

trio-websocket does not notice while a handshake is pending that the peer has hung up, does not
close the byte stream when the peer closed first, and lets what hostile bytes make it raise fly
out of its reader task. So the byte stream is ours and says when it ends, and the reader task runs
inside a task of ours that turns whatever it raises into "the connection is lost".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
import trio_websocket

from ..errors import AuthError, ConnectionLost, NetworkError
from ._tls import receiver_of
from .handshakes import HungUp
from .limits import RECEIVE_BUFFER_BYTES

__all__ = ["Wire", "describe_close", "run_websocket"]

T = TypeVar("T")

# RFC 6455, 7.4.1: never sent; stands for "no close frame came".
_ABNORMAL_CLOSURE = 1006

# How an unmasked close frame begins (RFC 6455, 5.2); the library sends each frame by itself.
_CLOSE_FRAME_START = b"\x88"

# A peer that broke the WebSocket gets a moment to hear why.
_LAST_WORDS_SECONDS = 1.0


class Wire(trio.abc.Stream):
    """
    A byte stream that says when something arrived, and when it ended.

    Args:
        raw: A TCP or TLS stream.
    """

    def __init__(self, raw: trio.abc.Stream) -> None:
        self.raw = raw
        self._receive = receiver_of(raw)
        #: How often bytes have arrived.
        self.arrivals = 0
        #: Whether no more bytes can come.
        self.ended = False
        #: Whether this end closed it before the peer did.
        self.closed_first = False
        #: Called when they end.
        self.on_end: Callable[[], None] | None = None
        #: What was wrong with the bytes, where that ended it.
        self.failure: str | None = None
        #: Gives what is still to be sent when the stream is closed.
        self.last_words: Callable[[], bytes] | None = None
        self._sending = False
        self._arrived = trio.Event()

    async def wait_arrival(self) -> None:
        """Return when bytes arrive."""
        await self._arrived.wait()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream.send_all`."""
        self._sending = True
        self._close_frame_sent = data[:1] == _CLOSE_FRAME_START
        try:
            await self.raw.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end()
            raise
        finally:
            self._sending = False

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream.wait_send_all_might_not_block`."""
        await self.raw.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `trio.abc.ReceiveStream.receive_some`."""
        try:
            data = await self._receive(RECEIVE_BUFFER_BYTES if max_bytes is None else max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end()
            raise
        if data:
            self.arrivals += 1
            self._arrived.set()
            self._arrived = trio.Event()
        else:
            self._end()
        return data

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource.aclose`; a stream that is broken already is closed."""
        words = b""
        if self.last_words and not (self.ended or self._sending or self._close_frame_sent):
            words = self.last_words()
        # It refers to the connection, which refers to this: a circle, which only Python's collector
        # would free.
        self.last_words = None
        self.closed_first = not self.ended
        self._end()
        try:
            if words:
                with trio.move_on_after(_LAST_WORDS_SECONDS):
                    await self.raw.send_all(words)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # Nobody is there to hear them.
        finally:
            await self._close_raw()

    async def _close_raw(self) -> None:
        try:
            await self.raw.aclose()
        except trio.BrokenResourceError:
            return  # The TLS goodbye found nobody. The socket is closed all the same.

    def _end(self) -> None:
        self.ended = True
        if self.on_end is not None:
            self.on_end()


async def run_websocket(
    wire: Wire,
    wrap: Callable[[trio.Nursery], Awaitable[T]],
    *,
    task_status: trio.TaskStatus[T],
) -> None:
    """
    Own trio-websocket's reader task from the handshake to the end of the connection.

    Started with `nursery.start`; gives what `wrap` returned. Raises only before that.

    Args:
        wire: The byte stream below.
        wrap: Starts the reader in the given nursery and returns when the handshake has got so far.

    Raises:
        ConnectionLost: The peer hung up, or did not speak WebSocket.
        AuthError: The peer refused with the HTTP status for that.

    Cancellation: ends the reader; the stream is for the owner to close.
    """
    started = False
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as handshake:
                wire.on_end = handshake.cancel
                result = await wrap(nursery)
            wire.on_end = None
            if handshake.cancelled_caught:
                nursery.cancel_scope.cancel()
                if wire.closed_first:
                    # The library has answered with an error, and tells us nothing.
                    raise ConnectionLost("the peer does not speak WebSocket as it should")
                raise HungUp("the peer hung up during the WebSocket handshake")
            started = True
            task_status.started(result)
    except* Exception as group:
        failure = _first_leaf(group)
    if failure is None:
        return
    try:
        if not started:
            if isinstance(failure, NetworkError):
                raise failure
            raise _handshake_failure(failure) from failure
        # The reader closed the message channel on its way out, so the owner hears of it. A known
        # case is a ping that crosses our close frame (python-trio/trio-websocket#184).
        wire.failure = f"the connection broke: the WebSocket reader failed: {failure!r}"
        await trio.aclose_forcefully(wire)
    finally:
        # It refers to this frame: another circle.
        del failure


def describe_close(error: trio_websocket.ConnectionClosed) -> str:
    """Say how the peer left."""
    close = error.reason
    if close is None or close.code == _ABNORMAL_CLOSURE:
        return "the connection broke: it ended without a closing handshake"
    text = f"closed by the peer: {close.code} {close.name.lower().replace('_', ' ')}"
    return f"{text}: {close.reason}" if close.reason else text


def _first_leaf(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


def _handshake_failure(error: BaseException) -> NetworkError:
    if isinstance(error, trio_websocket.ConnectionRejected):
        body = (error.body or b"").decode(errors="replace")[:200].strip()
        text = f"the peer refused the connection: HTTP {error.status_code} {body}".rstrip()
        return AuthError(text) if error.status_code in {401, 403} else ConnectionLost(text)
    return ConnectionLost(
        f"the peer does not speak WebSocket (or speaks TLS to a ws:// URL): {error}"
    )
