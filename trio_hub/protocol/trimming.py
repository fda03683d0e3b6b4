"""
How much of the log of a channel that is open may be trimmed, and how much of it should be.

`trimmable_to` says where the log is still needed; `Cut` goes over its beginning and says what the
wishes let go; `TrimSchedule` says when to look at which channel. None of them reads anything.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import attrs

__all__ = ["Cut", "Needs", "TrimSchedule", "TrimWish", "trimmable_to"]


@attrs.frozen(kw_only=True)
class TrimWish:
    """
    What is kept of a log. A record goes when one of the three says so.

    Attributes:
        seconds: How long a record is kept; None is for ever.
        records: How many are kept, the youngest; None is any number.
        size: How many bytes of records are kept, of the youngest; None is any number.
    """

    seconds: float | None = None
    records: int | None = None
    size: int | None = None

    @property
    def keeps_all(self) -> bool:
        """Whether nothing ever goes."""
        return self.seconds is None and self.records is None and self.size is None


@attrs.frozen(kw_only=True)
class Needs:
    """
    What a log is needed for.

    Attributes:
        length: How many records have been durable in it.
        settled: How far each registered member has settled it.
        letters: Where the envelopes of dead letters stand.
        snapshots: How many records are in each snapshot that must be of use, 0 where there is none.
        turn: Where the envelope stands whose answer the protocol waits for, if it does.
        has_task: Whether a task of the channel runs.
    """

    length: int
    settled: Iterable[int] = ()
    letters: Iterable[int] = ()
    snapshots: Iterable[int] = ()
    turn: int | None = None
    has_task: bool = False


def trimmable_to(needs: Needs) -> int:
    """Return the first position that must stay."""
    if needs.has_task:
        # It may go back to whatever it came from.
        return 0
    stays = [needs.length - 1, *needs.settled, *needs.letters]
    # The last record in a snapshot says whether it is one of this log.
    stays += [position - 1 for position in needs.snapshots]
    if needs.turn is not None:
        stays.append(needs.turn)
    return max(min(stays), 0)


class Cut:
    """
    Goes over a log from its beginning, and says how much of it is to go.

    Args:
        wish: What is kept.
        first: Where the log begins.
        length: Where it ends.
        limit: The first position that must stay.
        now: Seconds since 1970.
        size: How many bytes the log has; counts where the wish says something of that.

    Attributes:
        stop: Where the log is to begin.
    """

    def __init__(
        self, wish: TrimWish, *, first: int, length: int, limit: int, now: float, size: int = 0
    ) -> None:
        self._wish = wish
        self._length = length
        self._limit = limit
        self._now = now
        self._size = size
        self.stop = first

    def take(self, accepted_at: float | None, size: int) -> bool:
        """
        Take the next record. False: it stays, and so does all behind it.

        Args:
            accepted_at: Seconds since 1970; None where it cannot be read, and is of no use.
            size: In bytes.
        """
        wish = self._wish
        goes = self.stop < self._limit and (
            (
                wish.seconds is not None
                and (accepted_at is None or accepted_at + wish.seconds <= self._now)
            )
            or (wish.records is not None and self._length - self.stop > wish.records)
            or (wish.size is not None and self._size > wish.size)
        )
        if goes:
            self.stop += 1
            self._size -= size
        return goes


class TrimSchedule:
    """When to look at which channel, the earliest first. Times are in seconds since 1970."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        """How many channels are to be looked at."""
        return len(self._at)

    def look(self, channel_id: str, at: float) -> None:
        """Look at a channel at `at` at the latest."""
        if at < self._at.get(channel_id, float("inf")):
            self._at[channel_id] = at
            heapq.heappush(self._heap, (at, channel_id))

    def due(self, now: float) -> str | None:
        """Take out and return a channel to look at, or None where none is due."""
        while self._heap and self._heap[0][0] <= now:
            at, channel_id = heapq.heappop(self._heap)
            if self._at.get(channel_id) == at:
                del self._at[channel_id]
                return channel_id
        return None

    @property
    def wake_at(self) -> float | None:
        """When to ask `due` again if nothing happens before, or None: at no time."""
        # One that was to be looked at earlier than it says there has been already.
        return self._heap[0][0] if self._heap else None
