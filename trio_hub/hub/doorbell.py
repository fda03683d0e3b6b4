"""A doorbell: wakes one task that has work waiting in a queue of its own."""

from __future__ import annotations

import trio

__all__ = ["Doorbell"]


class Doorbell:
    """
    A memory channel of capacity one that carries nothing but "there is something".

    Ringing it never blocks, however often; whoever answers drains its queue in bulk. That is
    one wake-up for all that waits, where a channel of items would cost a hop for each.
    """

    __slots__ = ("_receive", "_rung", "_send")

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[None](1)
        # Rung and not answered yet: another ring would change nothing.
        self._rung = False

    def ring(self) -> None:
        """Wake the one who waits, now or as soon as it waits."""
        if not self._rung:
            self._rung = True
            self._send.send_nowait(None)

    async def answer(self) -> None:
        """
        Wait for a ring; where several tasks wait, one of them is woken. Cancellation: a ring is
        not lost.

        Where it has rung before, there is no checkpoint, but for cancellation: `receive` would
        give way to everybody else first, a whole turn of the loop for nothing.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self._receive.receive_nowait()
        except trio.WouldBlock:
            await self._receive.receive()
        self._rung = False
