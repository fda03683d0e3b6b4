"""
Reading logs from their ends, for those who may see only some of what stands there.

Where a page holds enough that is wanted, that is all there is to it. Where it does not, because
most of a channel is for others or is bookkeeping, what was looked through is remembered for whoever
asked: the next time costs as much as has come since, however long the channel is.

A page ends where it has as many bytes as an answer can hold, and what is read at once is fitted to
how large the records turn out to be.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from itertools import groupby
from typing import Final

from ..protocol.tail_span import TailSpan
from .channels import Channel, ChannelBook
from .log_record import LogRecord

__all__ = ["Tails"]

# A few kilobytes each, at the most.
_SPANS_MAX: Final = 2_048
# Records that are read first, before it is known how large they are.
_RECORDS_AT_FIRST: Final = 16
# What may be read at once after that, should the next ones be as large as those before.
_BYTES_AT_ONCE: Final = 1024 * 1024
# And how many times as many as before, should they not.
_GROWTH: Final = 8


class Tails:
    """
    The ends of all logs.

    Args:
        channels: Whose logs are read.
        page_max: How many records are read at once, at the most.
    """

    def __init__(self, channels: ChannelBook, page_max: int) -> None:
        self._channels = channels
        self._page_max = page_max
        # By channel and by who wants what; the ones that were used last.
        self._spans: OrderedDict[tuple[str, Hashable], TailSpan] = OrderedDict()

    async def read(
        self,
        channel: Channel,
        limit: int,
        *,
        before: int | None,
        wanted: Callable[[LogRecord], bool],
        reader: Hashable | None,
        bytes_max: float,
    ) -> tuple[int, list[LogRecord]]:
        """
        Return the last records that are wanted, and where the reading stopped.

        Args:
            limit: At most so many.
            before: Below this position; None is the end of the log.
            wanted: Which ones count: of one record always the same, for a `reader`.
            reader: Stands for what is wanted; None has nothing remembered.
            bytes_max: At most so many bytes together, but always one record where there is one.

        Raises:
            StoreError: The store cannot be read.

        Cancellation: nothing happens.
        """
        start = channel.length if before is None else min(before, channel.length)
        found: list[LogRecord] = []
        size = 0
        known: TailSpan | None = None
        seen: TailSpan | None = None
        if reader is not None:
            known = self._spans.get((channel.channel_id, reader))
        first = channel.first
        portion = _Portion(min(2 * limit, self._page_max), self._page_max, wanted)
        while start > first and len(found) < limit and size < bytes_max:
            if seen is not None and known is not None and known.covers(start):
                lacking = min(limit - len(found), portion.records)
                positions = known.last_before(start, lacking)
                start = positions[0] if len(positions) == lacking else known.low
                # What was damaged since is wanted no more.
                good = await self._read_at(channel, positions, portion)
            else:
                floor = known.high if known is not None and known.high < start else 0
                floor = max(floor if seen is not None else 0, first)
                stop, start = start, max(floor, start - portion.records)
                good = await self._channels.read(channel, start, stop, portion)
                piece = TailSpan(start, stop, tuple(record.position for record in good))
                seen = piece if seen is None else seen.join(piece)
                if known is not None and known.low <= start <= known.high:
                    known = seen = seen.join(known)
            found[:0] = good
            size += sum(len(record.raw) for record in good)
            portion.next()
        shown = _last_of(found, limit, bytes_max)
        if len(shown) < len(found):
            start = shown[0].position
        if reader is not None and seen is not None and seen.high - seen.low > 2 * limit:
            self._remember((channel.channel_id, reader), seen)
        # Before its first record a log has nothing, at whatever position that stands.
        return (start if start > first else 0), shown

    async def _read_at(
        self, channel: Channel, positions: tuple[int, ...], wanted: Callable[[LogRecord], bool]
    ) -> list[LogRecord]:
        """Read what is wanted, in as few pieces as it stands in."""
        records: list[LogRecord] = []
        for _, run in groupby(enumerate(positions), lambda it: it[1] - it[0]):
            places = [position for _, position in run]
            start, stop = places[0], places[-1] + 1
            records += await self._channels.read(channel, start, stop, wanted)
        return records

    def _remember(self, key: tuple[str, Hashable], span: TailSpan) -> None:
        before = self._spans.get(key)
        self._spans[key] = span if before is None else span.join(before)
        self._spans.move_to_end(key)
        while len(self._spans) > _SPANS_MAX:
            self._spans.popitem(last=False)


class _Portion:
    """
    How many records to read next; called with each that is read, and says whether it is wanted.

    Args:
        expected: How many are likely to be enough.
        records_max: Never more than so many.
        wanted: Which ones are.
    """

    def __init__(
        self, expected: int, records_max: int, wanted: Callable[[LogRecord], bool]
    ) -> None:
        self.records = min(expected, _RECORDS_AT_FIRST)
        self._rest = expected - self.records
        self._records_max = records_max
        self._wanted = wanted
        self._count = self._bytes = 0

    def __call__(self, record: LogRecord) -> bool:
        self._count += 1
        self._bytes += len(record.raw)
        return self._wanted(record)

    def next(self) -> None:
        """Fit the next portion to the records of this one."""
        if self._count:
            fitting = _BYTES_AT_ONCE * self._count // max(1, self._bytes)
            more = self._rest or _GROWTH * self.records
            self.records = max(1, min(self._records_max, more, fitting))
        self._rest = 0
        self._count = self._bytes = 0


def _last_of(records: list[LogRecord], limit: int, bytes_max: float) -> list[LogRecord]:
    """Return so many of the last records as there may be: one, however large it is."""
    size = 0
    for index in range(len(records) - 1, max(-1, len(records) - 1 - limit), -1):
        size += len(records[index].raw)
        if size > bytes_max and index < len(records) - 1:
            return records[index + 1 :]
    return records[-limit:]
