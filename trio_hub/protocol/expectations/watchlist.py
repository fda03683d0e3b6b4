"""
The watchlist: when to look at the expectations of which channel.

A heap of deadlines, one for each channel. A channel in which something is said has its deadline
moved only when the old one comes up, and a channel in which nothing is awaited has none at all:
so saying something costs next to nothing, and silence nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..alarms import Alarms
from .outlook import Outlook

__all__ = ["Watchlist"]


class Watchlist:
    """
    All channels that have expectations; times are in seconds since 1970.

    Attributes:
        listening: The channels that are to be looked at after whatever happens next in them.
    """

    def __init__(self) -> None:
        self.listening: set[str] = set()
        self._alarms = Alarms()

    def look_at(self, channel_id: str, when: float) -> None:
        """Have a channel looked at, at the latest then."""
        self._alarms.set(channel_id, when)

    def looked(self, channel_id: str, outlook: Outlook) -> None:
        """Take note of what a look at a channel has shown."""
        if outlook.next_at is not None:
            self._alarms.set(channel_id, outlook.next_at)
        else:
            self._alarms.forget(channel_id)
        if outlook.listens:
            self.listening.add(channel_id)
        else:
            self.listening.discard(channel_id)

    def forget(self, channel_id: str) -> None:
        """Look at a channel no more."""
        self._alarms.forget(channel_id)
        self.listening.discard(channel_id)

    def due(self, now: float) -> Iterator[str]:
        """Take out and yield the channels that are to be looked at."""
        return self._alarms.due(now)

    def wake_at(self) -> float | None:
        """Return when the next channel is to be looked at; None: none is."""
        return self._alarms.earliest(lambda _channel_id: True)
