"""
What is large in the window of an inbox, and which channels wait for room for more.

How many envelopes a window holds bounds what the small ones take. Large ones are weighed here, so
that a reader that stalls costs megabytes, whatever is sent to it.

- Where nothing large is held there is room for any.
- One channel may take half of the room, so one that hangs leaves some for the others.
- Who waits for others to make room is passed by nobody, or small ones would keep out a large one
  for ever. Who waits for itself is.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from .ledger import Ledger

__all__ = ["Bulk"]

PayloadT = TypeVar("PayloadT")


class Bulk(Generic[PayloadT]):
    """
    The large envelopes of one recipient, over all its channels.

    Args:
        bytes_max: What they may take together. One that is larger comes alone.

    Attributes:
        held: What they take.
        waiting: The channels that wait for room, in the order in which they came; where the
            envelope stands that does not fit, and its size.
    """

    __slots__ = ("_bytes_max", "_going", "_let_in", "_sizes", "held", "waiting")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        # Channel -> envelope id -> bytes; no channel without any.
        self._sizes: dict[str, dict[str, int]] = {}
        # Channels whose turn it is: they pass those that wait.
        self._let_in: set[str] = set()
        # Those that wait for nothing any more, until `let_in` says so.
        self._going: list[str] = []
        self.held = 0
        self.waiting: dict[str, tuple[int, int]] = {}

    def admits(self, channel_id: str, size: int) -> bool:
        """Whether there is room for one of this size."""
        if channel_id in self._let_in:
            self._let_in.remove(channel_id)
        elif any(it not in self._sizes for it in self.waiting):
            return False
        return self._fits(channel_id, size)

    def add(self, channel_id: str, envelope_id: str, size: int) -> None:
        """Say that an envelope is in the window now."""
        self._sizes.setdefault(channel_id, {})[envelope_id] = size
        self.held += size

    def wait(self, channel_id: str, position: int, size: int) -> None:
        """Have a channel wait for room for what stands at a position."""
        self.waiting[channel_id] = (position, size)

    def let_in(self) -> list[str]:
        """Return the channels that may go on now; they wait no more."""
        fitting: list[str] = []
        beside = 0
        for channel_id, (_, size) in self.waiting.items():
            if self._fits(channel_id, size, beside):
                fitting.append(channel_id)
                beside += size
            elif channel_id not in self._sizes:
                break
        for channel_id in fitting:
            del self.waiting[channel_id]
        self._let_in.update(fitting)
        going, self._going = [*self._going, *fitting], []
        return going

    def settled(self, channel_id: str, ledger: Ledger[PayloadT]) -> bool:
        """
        Take note that a ledger holds less than it did, or is further than it was.

        Returns whether somebody may go on because of it: ask `let_in` at once.
        """
        waits_at, _ = self.waiting.get(channel_id, (ledger.offered, 0))
        sizes = self._sizes.get(channel_id, {})
        gone = [envelope_id for envelope_id in sizes if not ledger.holds(envelope_id)]
        for envelope_id in gone:
            self.held -= sizes.pop(envelope_id)
        if gone and not sizes:
            del self._sizes[channel_id]
        if waits_at != ledger.offered:
            # What it waits for is settled: it needs no room to look at what comes next.
            del self.waiting[channel_id]
            self._going.append(channel_id)
            return True
        # Whoever went on may have come to nothing that is large.
        return bool(gone or (self.waiting and not self.held))

    def forget(self, channel_id: str) -> None:
        """Drop a channel; ask `let_in` who may go on."""
        self.waiting.pop(channel_id, None)
        self._let_in.discard(channel_id)
        self.held -= sum(self._sizes.pop(channel_id, {}).values())

    def clear(self) -> None:
        """Drop everything."""
        self._sizes.clear()
        self.waiting.clear()
        self._let_in.clear()
        self._going.clear()
        self.held = 0

    def _fits(self, channel_id: str, size: int, beside: int = 0) -> bool:
        taken = self.held + beside
        mine = sum(self._sizes.get(channel_id, {}).values())
        in_all, by_one = taken + size, mine + size
        return not taken or (
            in_all <= self._bytes_max and (not mine or by_one <= self._bytes_max // 2)
        )
