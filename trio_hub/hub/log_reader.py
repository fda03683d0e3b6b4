"""
Reading the logs of channels: around what is damaged in them, behind what was trimmed, and a little
at a time.

A log changes only at its ends, so what is read in several goes is the same as if it had been read
in one. Others get their turn in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import trio

from .._logging import get_logger
from ..errors import DamagedRecord, NotFoundError, RecordsTrimmed, StoreError, TooLarge
from ..stores import KnowledgeStore, PagingStore, TrimmingStore
from . import paths
from .log_record import EnvelopeHead, LogRecord, read_head, read_record

__all__ = ["BYTES_AT_ONCE", "RECORDS_AT_ONCE", "LogReader"]

log = get_logger(__name__)

#: Records that are read, decoded and looked at before others get their turn: well below a
#: millisecond, where they are as small as most are.
RECORDS_AT_ONCE: Final = 128
#: The same in bytes, for large ones: so much, and one record more, is in memory of what is read.
BYTES_AT_ONCE: Final = 256 * 1024
# So many are read at once rather than searched: each read is a way to a thread and back.
_LOOKED_THROUGH: Final = 32


class LogReader:
    """
    Reads logs.

    Args:
        store: Where they are.
        page: How many records are read at once, at the most; never more than `RECORDS_AT_ONCE`.
        is_kept: Whether there is such a channel (still).
    """

    def __init__(self, store: KnowledgeStore, page: int, is_kept: Callable[[str], bool]) -> None:
        self._store = store
        self._pages = store if isinstance(store, PagingStore) else None
        self._page = min(page, RECORDS_AT_ONCE)
        self._is_kept = is_kept

    async def read(
        self,
        channel_id: str,
        start: int,
        stop: int,
        wanted: Callable[[LogRecord], bool] | None = None,
    ) -> list[LogRecord]:
        """
        Read a slice of a log, from where it begins. What cannot be read has no envelope.

        Args:
            wanted: Which records are returned; None is all of them.

        Raises:
            NotFoundError: The channel is gone.
            StoreError: The store cannot be read at all.

        Cancellation: nothing happens.
        """
        found: list[LogRecord] = []

        def take(position: int, raw: bytes) -> None:
            record = read_record(position, raw)
            if wanted is None or wanted(record):
                found.append(record)

        await self._look_through(channel_id, start, stop, take)
        return found

    async def read_page(self, channel_id: str, start: int, stop: int) -> list[LogRecord]:
        """
        Read a slice as `read` does, or the beginning of it: what is read at once, and one record
        at least, where there is one. Raises and cancellation: as there.
        """
        if start >= stop:
            return []
        start, raws = await self._read_run(channel_id, start, stop)
        return [read_record(position, raw) for position, raw in enumerate(raws, start)]

    async def read_as_it_stands(self, channel_id: str, position: int) -> bytes:
        """
        Read one record without looking into it; nothing where it was trimmed or is damaged.

        Raises and cancellation: as `read`.
        """
        start, raws = await self._read_run(channel_id, position, position + 1)
        return raws[0] if raws and start == position else b""

    async def read_raw(
        self,
        channel_id: str,
        start: int,
        stop: int,
        wanted: Callable[[EnvelopeHead], bool],
        bytes_max: int,
    ) -> list[bytes]:
        """
        Read the same, and return of the envelopes that are wanted how they stand in the log.

        Raises:
            TooLarge: They have more bytes than that together; the rest was not read.
        """
        found: list[bytes] = []
        size = 0

        def take(position: int, raw: bytes) -> None:
            nonlocal size
            head = read_head(raw)
            if head is None or not wanted(head):
                return
            size += len(raw)
            if size > bytes_max:
                raise TooLarge(
                    f"the envelopes from there on have more than {bytes_max} bytes, which is what "
                    "this connection takes: ask for less (read_wal: since and until)"
                )
            found.append(raw)

        await self._look_through(channel_id, start, stop, take)
        return found

    async def first(self, channel_id: str) -> int:
        """Return where a log begins. Raises `StoreError`."""
        if isinstance(self._store, TrimmingStore):
            return await self._store.first(paths.channel_log(channel_id))
        return 0

    async def position_of(
        self, channel_id: str, first: int, length: int, envelope_id: str
    ) -> int | None:
        """
        Find an envelope by id, or None where the log has none of that id between `first` and
        `length`.

        Ids increase along a log, so it is a binary search of single reads, down to a few records
        that are read at once.

        Args:
            first: Where the log begins, or began a while ago; or any position that is not behind
                what is looked for.
        """
        low, high = first, length
        while high - low > _LOOKED_THROUGH:
            middle = (low + high) // 2
            _, raws = await self._read_run(channel_id, middle, middle + 1)
            if not raws:
                # It was trimmed meanwhile.
                low = middle + 1
                continue
            head = read_head(raws[0])
            if head is None:
                break  # Nobody knows on which side of the hole it is.
            if head.envelope_id <= envelope_id:
                low = middle
            else:
                high = middle
        while low < high:
            low, raws = await self._read_run(channel_id, low, high)
            if not raws:
                break
            for position, raw in enumerate(raws, low):
                head = read_head(raw)
                if head is not None and head.envelope_id == envelope_id:
                    return position
            low += len(raws)
        return None

    async def readable_length(self, channel_id: str) -> int:
        """Return where the part of a log that can be read without a gap ends."""
        path = paths.channel_log(channel_id)
        length = 0
        while True:
            try:
                raws = await self._read_page(path, length, length + self._page)
            except RecordsTrimmed as error:
                length = error.first
                continue
            except DamagedRecord as error:
                return error.position
            if not raws:
                return length
            length += len(raws)

    # Inside

    async def _look_through(
        self, channel_id: str, start: int, stop: int, take: Callable[[int, bytes], None]
    ) -> None:
        """Call `take` with each position and what stands there, others having turns in between."""
        while start < stop:
            start, raws = await self._read_run(channel_id, start, stop)
            if not raws:
                return
            seen = 0
            for position, raw in enumerate(raws, start):
                if seen >= BYTES_AT_ONCE:
                    seen = 0
                    await trio.lowlevel.checkpoint()
                seen += len(raw)
                take(position, raw)
            start += len(raws)

    async def _read_page(self, path: str, start: int, stop: int) -> list[bytes]:
        if self._pages is None:
            return await self._store.read_range(path, start, stop)
        return await self._pages.read_page(path, start, stop, BYTES_AT_ONCE)

    async def _read_run(
        self, channel_id: str, start: int, stop: int
    ) -> tuple[int, Sequence[bytes]]:
        """
        Read from `start` on, or from where the log begins: at least one record, up to one that is
        damaged, one page at most. Nothing where all of it was trimmed.

        Returns:
            Where they begin, and how they stand there; what is damaged is empty.
        """
        path, end = paths.channel_log(channel_id), stop
        while True:
            stop = min(end, start + self._page)
            try:
                raws = await self._read_page(path, start, stop)
                break
            except RecordsTrimmed as error:
                start = error.first
                if start >= end:
                    return start, ()
            except DamagedRecord as error:
                if error.position <= start:
                    log.error(  # noqa: TRY400
                        "damaged record", channel_id=channel_id, position=start
                    )
                    return start, (b"",)
                end = error.position
        if not raws and not self._is_kept(channel_id):
            raise NotFoundError(f"no channel with id {channel_id!r} (any more)")
        if not raws:
            raise StoreError(
                f"the log of channel {channel_id} ends at {start}, before {stop}: records that "
                "were there are gone; restore a backup"
            )
        return start, raws
