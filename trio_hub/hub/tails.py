"""
Reading logs from their ends, for those who may see only some of what stands there.

Where a page holds enough that is wanted, that is all there is to it. Where it does not, because
most of a channel is for others or is bookkeeping, what was looked through is remembered for whoever
asked: the next time costs as much as has come since, however long the channel is.
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
    ) -> tuple[int, list[LogRecord]]:
        """
        Return the last records that are wanted, and where the reading stopped.

        Args:
            limit: At most so many.
            before: Below this position; None is the end of the log.
            wanted: Which ones count: of one record always the same, for a `reader`.
            reader: Stands for what is wanted; None has nothing remembered.

        Raises:
            StoreError: The store cannot be read.

        Cancellation: nothing happens.
        """
        start = channel.length if before is None else min(before, channel.length)
        page = min(2 * limit, self._page_max)
        found: list[LogRecord] = []
        known: TailSpan | None = None
        seen: TailSpan | None = None
        if reader is not None:
            known = self._spans.get((channel.channel_id, reader))
        first = channel.first
        while start > first and len(found) < limit:
            if seen is not None and known is not None and known.covers(start):
                lacking = limit - len(found)
                positions = known.last_before(start, lacking)
                start = positions[0] if len(positions) == lacking else known.low
                # What was damaged since is wanted no more.
                found[:0] = await self._read_at(channel, positions, wanted)
                continue
            floor = known.high if known is not None and known.high < start else 0
            stop, start = start, max(floor if seen is not None else 0, first, start - page)
            good = await self._channels.read(channel, start, stop, wanted)
            found[:0] = good
            piece = TailSpan(start, stop, tuple(record.position for record in good))
            seen = piece if seen is None else seen.join(piece)
            if known is not None and known.low <= start <= known.high:
                known = seen = seen.join(known)
            page = min(2 * page, self._page_max)
        if len(found) > limit:
            found = found[-limit:]
            start = found[0].position
        if reader is not None and seen is not None and seen.high - seen.low > 2 * limit:
            self._remember((channel.channel_id, reader), seen)
        # Before its first record a log has nothing, at whatever position that stands.
        return (start if start > first else 0), found

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
