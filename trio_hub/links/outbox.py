"""
What waits to be written to one peer.

A deque and a doorbell. Whoever has a frame puts it into the deque and never waits; the one
writer is woken by the doorbell and takes what is there in bulk. A memory channel that carried
every frame would cost a task switch for each; here there is one for each batch.

Frames count until they were *written*, not merely taken, so `bytes_waiting` is what the peer
costs in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

__all__ = ["Outbox"]


class Outbox:
    """
    Frames in order, counted by bytes.

    Args:
        low_bytes: There is room again once fewer bytes wait.
        high_bytes: There is no room once as many bytes wait.
        hard_bytes: `push_nowait` refuses what would go beyond it.
        on_drained: Called (by the writer, synchronously) each time room comes back.

    Attributes:
        on_waiting: Called when the first frame waits; wakes the writer, if nobody sets another.
    """

    def __init__(
        self,
        *,
        low_bytes: int,
        high_bytes: int,
        hard_bytes: int,
        on_drained: Callable[[], None] | None = None,
    ) -> None:
        assert 0 < low_bytes <= high_bytes < hard_bytes
        self.on_drained = on_drained
        self._low_bytes = low_bytes
        self._high_bytes = high_bytes
        self._hard_bytes = hard_bytes
        self._frames: deque[bytes] = deque()
        self._bytes_waiting = 0
        self._has_room = True
        self._room = trio.Event()
        self._ring: trio.MemorySendChannel[None]
        self._doorbell: trio.MemoryReceiveChannel[None]
        self._ring, self._doorbell = trio.open_memory_channel[None](1)
        self._closed = False
        self.on_waiting: Callable[[], None] = self.wake_writer

    def __repr__(self) -> str:
        return f"<Outbox {len(self._frames)} frames, {self._bytes_waiting} bytes waiting>"

    @property
    def bytes_waiting(self) -> int:
        """Bytes that were pushed and are not written yet, those being written included."""
        return self._bytes_waiting

    @property
    def has_room(self) -> bool:
        """False from the high mark until below the low one, and once closed."""
        return self._has_room and not self._closed

    @property
    def closed(self) -> bool:
        """Whether nothing more is taken in."""
        return self._closed

    def push_nowait(self, frame: bytes) -> bool:
        """
        Add a frame. Returns False where it was not taken: closed, or past the hard limit.

        Never waits. What asks `has_room` first stays far away from the hard limit.
        """
        waiting = self._bytes_waiting + len(frame)
        if self._closed or waiting > self._hard_bytes:
            return False
        self._bytes_waiting = waiting
        if waiting >= self._high_bytes:
            self._has_room = False
        frames = self._frames
        is_first = not frames
        frames.append(frame)
        if is_first:
            self.on_waiting()
        return True

    async def take_all(self, bytes_max: int | None = None) -> list[bytes]:
        """
        Wait for frames and take them, in order; an empty list once closed and emptied.

        Args:
            bytes_max: Leave the rest for the next call beyond this size (at least one frame is
                taken). None takes everything.

        One task at a time. Report what became of them with `written`.

        Cancellation: nothing is taken.
        """
        while not self._frames and not self._closed:
            await self.rung()
        return self.take_nowait(bytes_max)

    def take_nowait(self, bytes_max: int | None = None) -> list[bytes]:
        """Take the frames that are there, as `take_all` does; perhaps none."""
        frames = self._frames
        if bytes_max is None or self._bytes_waiting <= bytes_max:
            taken = list(frames)
            frames.clear()
            return taken
        taken = []
        size = 0
        while frames and (not taken or size + len(frames[0]) <= bytes_max):
            frame = frames.popleft()
            size += len(frame)
            taken.append(frame)
        return taken

    async def rung(self) -> None:
        """Wait until the writer is woken. Cancellation: changes nothing."""
        await self._doorbell.receive()

    def written(self, byte_count: int) -> None:
        """Say that so many of the bytes that were taken are on their way and count no more."""
        waiting = self._bytes_waiting - byte_count
        assert byte_count >= 0 <= waiting
        self._bytes_waiting = waiting
        if not self._has_room and waiting < self._low_bytes:
            self._has_room = True
            self._wake_pushers()
            if self.on_drained is not None:
                self.on_drained()

    async def wait_for_room(self) -> None:
        """
        Return once there is room, or once the outbox is closed (and pushing returns False).

        Cancellation: changes nothing.
        """
        while not self._has_room and not self._closed:
            await self._room.wait()

    def close(self) -> None:
        """Take nothing more in. What waits can still be taken out. Idempotent."""
        self._closed = True
        # Nothing is called any more; and whoever is no longer referred to is gone at once, not when
        # the collector gets to it. Hubs lose connections all the time.
        self.on_drained = None
        self.on_waiting = _nobody
        self.wake_writer()
        self._wake_pushers()

    def discard(self) -> None:
        """Close, and drop what waits: the peer is gone and will get it another way, or never."""
        self._bytes_waiting -= sum(map(len, self._frames))
        self._frames.clear()
        self.close()

    def wake_writer(self) -> None:
        """Have the writer look for something to do."""
        try:
            self._ring.send_nowait(None)
        except trio.WouldBlock:
            return  # It has been rung and nobody came to the door yet.

    def _wake_pushers(self) -> None:
        self._room.set()
        self._room = trio.Event()


def _nobody() -> None:
    """Nobody is to be told."""
