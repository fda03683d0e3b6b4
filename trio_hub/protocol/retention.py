"""
How long a hub keeps channels that have ended, and which of them may go now.

`Retention` is what somebody wishes, also of the logs of channels that are open (see `trimming`);
`EndedChannels` is the pure queue that works it out. Whether
anybody is still owed something in a channel is not known here: whoever takes channels out of the
queue looks, and says whether one is `gone` or has to stay (`hold`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from ..records import Duration
from ..records.duration import check_duration, duration_seconds
from .trimming import TrimWish

__all__ = ["EndedChannels", "Retention"]


def _check_count(_record: object, field: Any, value: int | None) -> None:
    if value is not None and value < 0:
        raise ValueError(f"{field.name} cannot be negative, as {value} is")


@attrs.frozen(kw_only=True)
class Retention:
    """
    How long channels are kept after they have ended, and how much of their logs while they are
    open. By default for ever, and all.

    A channel goes when one of the two that begin with ``ended`` says so, a record when one of the
    three that begin with ``records`` does; never before everything in it is settled.

    Args:
        ended_for: How long since its end, such as ``"30d"``; None is for ever, 0 not at all.
        ended_max: How many ended ones of one type, the youngest; None is any number.
        records_for: How long a record of an open channel is kept, such as ``"90d"``; None is for ever.
        records_max: How many records of an open channel, the youngest; None is any number.
        records_bytes_max: How many bytes of records of an open channel, of the youngest; None is any
            number.
        by_type: What holds for channels of some types instead.
    """

    ended_for: Duration | None = attrs.field(default=None, validator=check_duration)
    ended_max: int | None = attrs.field(default=None, validator=_check_count)
    records_for: Duration | None = attrs.field(default=None, validator=check_duration)
    records_max: int | None = attrs.field(default=None, validator=_check_count)
    records_bytes_max: int | None = attrs.field(default=None, validator=_check_count)
    by_type: Mapping[str, Retention] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        for name, inner in self.by_type.items():
            if inner.by_type:
                raise ValueError(f"what holds for the type {name!r} cannot differ by type again")

    def for_type(self, channel_type: str) -> Retention:
        """Return what holds for channels of a type."""
        return self.by_type.get(channel_type, self)

    def trim_wish(self, channel_type: str) -> TrimWish:
        """Return what is kept of the log of a channel of a type that is open."""
        wish = self.for_type(channel_type)
        return TrimWish(
            seconds=None if wish.records_for is None else duration_seconds(wish.records_for),
            records=wish.records_max,
            size=wish.records_bytes_max,
        )

    @property
    def keeps_ended(self) -> bool:
        """Whether channels that have ended never go."""
        return (
            self.ended_for is None
            and self.ended_max is None
            and all(inner.keeps_ended for inner in self.by_type.values())
        )

    @property
    def keeps_records(self) -> bool:
        """Whether the logs of open channels are never trimmed."""
        return (
            self.records_for is None
            and self.records_max is None
            and self.records_bytes_max is None
            and all(inner.keeps_records for inner in self.by_type.values())
        )

    @property
    def keeps_all(self) -> bool:
        """Whether nothing ever goes."""
        return self.keeps_ended and self.keeps_records


@attrs.define(eq=False)
class _OfOneType:
    """The ended channels of one type that nothing holds: a heap, the longest ended first."""

    seconds: float | None
    count_max: int | None
    heap: list[tuple[float, str]] = attrs.field(factory=list)

    def is_due(self, now: float) -> bool:
        if not self.heap:
            return False
        if self.count_max is not None and len(self.heap) > self.count_max:
            return True
        return self.seconds is not None and self.heap[0][0] + self.seconds <= now

    @property
    def wake_at(self) -> float | None:
        if not self.heap or self.seconds is None:
            return None
        return self.heap[0][0] + self.seconds


_ALWAYS: Final = float("-inf")


class EndedChannels:
    """
    The channels that have ended, in the order in which they may go.

    Times are in seconds since 1970.

    Args:
        retention: What is wished.
    """

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._by_type: dict[str, _OfOneType] = {}
        # Since when each has ended, and its type.
        self._known: dict[str, tuple[float, str]] = {}
        self._held: list[tuple[float, str]] = []

    def __len__(self) -> int:
        """How many have ended and are not gone."""
        return len(self._known)

    def ended(self, channel_id: str, channel_type: str, at: float) -> None:
        """Take in a channel that has ended. Telling of it again changes nothing."""
        if channel_id not in self._known:
            self._known[channel_id] = (at, channel_type)
            heapq.heappush(self._of_type(channel_type).heap, (at, channel_id))

    def due(self, now: float) -> Iterator[str]:
        """
        Take out and yield those that may go, the longest ended of each type first.

        Each is followed by `gone` or `hold`; until then it is neither asked about nor counted.
        """
        while self._held and self._held[0][0] <= now:
            _, channel_id = heapq.heappop(self._held)
            at, channel_type = self._known[channel_id]
            heapq.heappush(self._of_type(channel_type).heap, (at, channel_id))
        for one in list(self._by_type.values()):
            while one.is_due(now):
                yield heapq.heappop(one.heap)[1]

    def gone(self, channel_id: str) -> None:
        """One that `due` gave is no more."""
        del self._known[channel_id]

    def hold(self, channel_id: str, until: float) -> None:
        """
        One that `due` gave has to stay for now.

        It is not looked at before `until`, and meanwhile does not count against `ended_max`:
        others do not have to go in its place.
        """
        assert channel_id in self._known, f"channel {channel_id} was not taken out"
        heapq.heappush(self._held, (until, channel_id))

    def wake_at(self, now: float) -> float | None:
        """Return when to ask `due` again if nothing happens before, or None: at no time."""
        dates = [one.wake_at for one in self._by_type.values()]
        dates += [_ALWAYS for one in self._by_type.values() if one.is_due(now)]
        if self._held:
            dates.append(self._held[0][0])
        return min((date for date in dates if date is not None), default=None)

    def _of_type(self, channel_type: str) -> _OfOneType:
        one = self._by_type.get(channel_type)
        if one is None:
            wish = self._retention.for_type(channel_type)
            seconds = None if wish.ended_for is None else duration_seconds(wish.ended_for)
            one = self._by_type[channel_type] = _OfOneType(seconds, wish.ended_max)
        return one
