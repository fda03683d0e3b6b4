"""
A TCP connection that gives way only when it must.

`trio.SocketStream` tries each read before it waits for one, and lets every other task run after
each write. For a hub, which reads when it has nothing left to read and writes a few hundred
bytes that the kernel takes at once, that is a system call and a turn of the scheduler for each
message, for nothing: a third of what the message costs in all.

So this stream waits before it reads, writes at once what can be written at once, and can also be
written to without a task at all.
"""

from __future__ import annotations

import socket
import threading

import trio

from .limits import RECEIVE_BUFFER_BYTES

__all__ = ["TcpStream"]

#: More than this at once gives way to others even where the kernel takes it all.
_WRITE_IN_A_ROW_BYTES_MAX = 256 * 1024
_FIRST_BYTES = 2


class _Scratch(threading.local):
    """
    Where each thread reads into: what has come is copied from there at once.

    `socket.recv` takes memory for the most that could come, and gives back what was not needed:
    for a message of 200 bytes, a hole of 64 kB has to be found in the heap, and 200 bytes stay in
    the middle of it. In the course of hours a heap grows by that although nothing leaks.
    """

    def __init__(self) -> None:
        self.view = memoryview(bytearray(RECEIVE_BUFFER_BYTES))


_scratch = _Scratch()


class TcpStream(trio.abc.HalfCloseableStream):
    """
    A byte stream over a connected socket.

    Args:
        stream: What it takes the socket from; nobody may be using it, and it is closed after.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        # SocketStream has set the socket's options: no delay, little that waits unsent.
        self._socket = socket.socket(fileno=stream.socket.detach())
        self._socket.setblocking(False)
        self._closed = False
        self._eof_sent = False
        self._writing = False
        #: The first two bytes that were received: what the peer speaks.
        self.first_bytes = b""

    def send_nowait(self, data: bytes | memoryview) -> int:
        """
        Write what the kernel takes now. Returns how many bytes that was.

        Raises:
            trio.BrokenResourceError: The peer is gone.
            trio.ClosedResourceError: This end is closed.
            trio.BusyResourceError: A task is writing.
        """
        if self._writing:
            raise trio.BusyResourceError("another task is writing to this connection")
        if self._closed or self._eof_sent:
            raise trio.ClosedResourceError("this end of the connection was closed")
        return self._write(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream.send_all`. Where the kernel takes all, it does not give way."""
        await trio.lowlevel.checkpoint_if_cancelled()
        rest = memoryview(data)
        rest = rest[self.send_nowait(rest) :]
        if not rest and len(data) <= _WRITE_IN_A_ROW_BYTES_MAX:
            return
        self._writing = True
        try:
            await trio.lowlevel.checkpoint()
            while rest:
                await trio.lowlevel.wait_writable(self._socket)
                rest = rest[self._write(rest) :]
        finally:
            self._writing = False

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream.wait_send_all_might_not_block`."""
        if self._closed:
            raise trio.ClosedResourceError("this connection was closed")
        if self._writing:
            raise trio.BusyResourceError("another task is writing to this connection")
        self._writing = True
        try:
            await trio.lowlevel.wait_writable(self._socket)
        finally:
            self._writing = False

    async def send_eof(self) -> None:
        """See `trio.abc.HalfCloseableStream.send_eof`."""
        await trio.lowlevel.checkpoint()
        if self._writing:
            raise trio.BusyResourceError("another task is writing to this connection")
        if self._closed:
            raise trio.ClosedResourceError("this connection was closed")
        if self._eof_sent:
            return
        self._eof_sent = True
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise trio.BrokenResourceError(f"the connection broke: {error}") from error

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `trio.abc.ReceiveStream.receive_some`."""
        if self._closed:
            await trio.lowlevel.checkpoint()
            raise trio.ClosedResourceError("this connection was closed")
        if max_bytes is None:
            max_bytes = RECEIVE_BUFFER_BYTES
        elif max_bytes < 1:
            raise ValueError("max_bytes must be >= 1")
        # As each thread has one of its own, and nothing is awaited between reading and copying,
        # the connections of a thread share it.
        view = _scratch.view
        while True:
            # It refuses a second task that reads.
            await trio.lowlevel.wait_readable(self._socket)
            try:
                count = self._socket.recv_into(view, min(max_bytes, RECEIVE_BUFFER_BYTES))
            except BlockingIOError:
                continue  # The kernel thought better of it.
            except OSError as error:
                if self._closed:
                    raise trio.ClosedResourceError("this connection was closed") from None
                raise trio.BrokenResourceError(f"the connection broke: {error}") from error
            data = bytes(view[:count])
            if len(self.first_bytes) < _FIRST_BYTES:
                self.first_bytes = (self.first_bytes + data)[:_FIRST_BYTES]
            return data

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource.aclose`."""
        if not self._closed:
            self._closed = True
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
        await trio.lowlevel.checkpoint()

    def _write(self, data: bytes | memoryview) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            if self._closed:
                raise trio.ClosedResourceError("this connection was closed") from None
            raise trio.BrokenResourceError(f"the connection broke: {error}") from error
