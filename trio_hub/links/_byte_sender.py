"""
Bytes on their way to a stream that takes only one sender at a time.

Trio's streams refuse two senders at once, and what is half sent cannot be taken back. So all
that is to be sent goes through one queue, and whoever has the turn sends the whole queue: one
system call for all that waits.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from ._tcp import TcpStream

__all__ = ["ByteSender"]


class ByteSender:
    """
    A queue of bytes in front of a stream.

    Args:
        raw: The stream.
    """

    def __init__(self, raw: trio.abc.SendStream) -> None:
        self._raw = raw
        # What TLS has still to encrypt cannot be sent without a task.
        self._tcp = raw if isinstance(raw, TcpStream) else None
        self._queue: list[bytes] = []
        self._sending = False
        self._turn_over: trio.Event | None = None
        #: Whether something was sent in part only: whatever followed would be taken for its rest.
        self.torn = False

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, pieces: Sequence[bytes]) -> None:
        """Add to the queue. Somebody must flush it."""
        self._queue += pieces

    def flush_nowait(self) -> bool:
        """
        Send what can be sent without waiting; return whether that was all.

        Raises:
            trio.BrokenResourceError: The peer is gone.
            trio.ClosedResourceError: The stream was closed.
        """
        if self._tcp is None or self._sending or self.torn:
            return False
        data = b"".join(self._queue)
        self._queue.clear()
        sent = self._tcp.send_nowait(data)
        if sent == len(data):
            return True
        self._queue.append(data[sent:])
        return False

    async def flush(self) -> None:
        """
        Return once all that is in the queue has been sent.

        Raises:
            trio.BrokenResourceError: The peer is gone, or an earlier flush was cancelled.
            trio.ClosedResourceError: The stream was closed.

        Cancellation: may leave half of it on the wire. After it the stream can only be closed.
        """
        while self._sending:
            await self.wait_turn_over()
        if not self._queue:
            return
        if self.torn:
            raise trio.BrokenResourceError("an earlier message was sent in part only")
        data = b"".join(self._queue)
        self._queue.clear()
        self._sending = True
        try:
            await self._raw.send_all(data)
        except BaseException:
            self.torn = True
            raise
        finally:
            self._sending = False
            self.end_turn()

    async def wait_turn_over(self) -> None:
        """Return when whoever has the turn is through. Cancellation: changes nothing."""
        if self._turn_over is None:
            self._turn_over = trio.Event()
        await self._turn_over.wait()

    def end_turn(self) -> None:
        """Wake who waits for the turn."""
        if self._turn_over is not None:
            self._turn_over.set()
            self._turn_over = None
