"""
Trimming: the logs of channels that are open are cut where it was wished, from their beginning.

`TrimSchedule` says which channel is looked at when; `Cut` and `trimmable_to` say how much of it
goes. What goes is in two snapshots that are durable, so that a channel is whole without it, also
where one of them is damaged later. With an archive, it is on disk there first; a crash in between
finds records that are there, and knows that the archive has them. Positions never change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import attrs
import trio

from .._logging import get_logger
from ..errors import NetworkError
from ..ids import Now, seconds_from_id, seconds_from_iso
from ..protocol.channel import ChannelMachine
from ..protocol.retention import Retention
from ..protocol.trimming import Cut, Needs, TrimSchedule, TrimWish, trimmable_to
from ..records import ChannelMetadata, ChannelState
from ..stores import KnowledgeStore, Trim, TrimmingStore
from ..stores.archive import ChannelArchive
from . import paths
from .archive_lines import trimmed_line
from .channels import Channel, ChannelBook
from .committer import Committer
from .date_bell import DateBell
from .log_record import LogRecord
from .snapshots import Snapshots
from .timers import Timers

__all__ = ["Trimming", "firsts_of"]

log = get_logger(__name__)

# What one batch takes out. More would keep everybody else from writing for too long.
_PAGE_RECORDS: Final = 250
# A record may be kept for so much of its time more, so that many go at once.
_LATE_SHARE: Final = 1 / 32
_LATE_SECONDS_MIN: Final = 1.0
_LATE_SECONDS_MAX: Final = 3600.0
# What is needed still is mostly not needed in a while, and what failed may not fail again.
_NEEDED_SECONDS: Final = 60.0
_HOPELESS_SECONDS: Final = 3600.0


async def firsts_of(store: KnowledgeStore, prefix: str) -> dict[str, int]:
    """Return where the logs below `prefix` begin that were trimmed. Raises `StoreError`."""
    return await store.firsts_under(prefix) if isinstance(store, TrimmingStore) else {}


@attrs.define
class _Measured:
    """How many bytes a log has, from `start` to `stop`."""

    start: int
    stop: int
    size: int = 0


class Trimming:
    """
    Trims logs.

    Args:
        store: Must be one whose logs can be trimmed, where that is wished.
        retention: What is kept of them.
        archive: Where the rest goes; None throws it away.
        channels: All channels.
        snapshots: Keep what folding a log builds.
        committer: Writes.
        needs: What the log of a warm channel is needed for, but for its snapshots and its turn.
        on_trimmed: Told of a channel, where its log begins now, how many records went, and whether
            they are in the archive.
        timers: Wake it.
        clock: Seconds since 1970.

    Attributes:
        trimmed: How many records have gone since the hub opened.

    Raises:
        ValueError: Logs are to be trimmed, and the store does not offer that.
    """

    def __init__(
        self,
        store: KnowledgeStore,
        retention: Retention,
        archive: ChannelArchive | None,
        channels: ChannelBook,
        snapshots: Snapshots,
        committer: Committer,
        needs: Callable[[Channel], Needs],
        on_trimmed: Callable[[ChannelMetadata, int, int, bool], None],
        timers: Timers,
        clock: Now,
    ) -> None:
        if not retention.keeps_records and not isinstance(store, TrimmingStore):
            raise ValueError(
                f"logs are to be trimmed, and {store!r} does not offer that: it is no TrimmingStore"
            )
        self._retention = retention
        self._archive = archive
        self._channels = channels
        self._snapshots = snapshots
        self._committer = committer
        self._needs = needs
        self._on_trimmed = on_trimmed
        self._clock = clock
        self._schedule = TrimSchedule()
        self._measured: dict[str, _Measured] = {}
        self._bell = DateBell(timers, clock, lambda: self._schedule.wake_at)
        self._working = trio.Lock()
        self.trimmed = 0

    def wish_for(self, channel: Channel) -> TrimWish:
        """Return what is kept of a channel's log."""
        return self._retention.trim_wish(channel.metadata.manifest.type)

    def look_after(self, channel: Channel) -> None:
        """Take note of a channel that was loaded or opened."""
        wish = self.wish_for(channel)
        if wish.keeps_all or not _is_trimmed(channel):
            return
        count = channel.length - channel.first
        if wish.size is not None or (wish.records is not None and count > wish.records):
            self._schedule.look(channel.channel_id, self._clock())
        elif wish.seconds is not None:
            # Nothing in it is older than itself.
            at = _opened_at(channel.metadata) + wish.seconds
            self._schedule.look(channel.channel_id, at)
        self._bell.dates_changed()

    def snapshot_kept(self, channel: Channel) -> None:
        """A snapshot of a channel is durable, so there may be more that can go."""
        if not self.wish_for(channel).keeps_all:
            self._schedule.look(channel.channel_id, self._clock())
            self._bell.ring()

    def look(self) -> None:
        """See whether there is something to do, now that time has passed."""
        self._bell.look()

    async def run(self) -> None:
        """Trim what is to be trimmed, until cancelled."""
        if self._retention.keeps_records:
            return
        while True:
            await self._bell.answer()
            await self.trim_due()
            self._bell.dates_changed()

    async def trim_due(self) -> int:
        """
        Look at every channel that is due; return how many records went.

        Cancellation: what was cut is cut. A channel that was being looked at is looked at again.
        """
        before = self.trimmed
        async with self._working:
            # Each is taken out once: what it asks for again is for the next time.
            due: list[str] = []
            while (channel_id := self._schedule.due(self._clock())) is not None:
                due.append(channel_id)
            while due:
                again_in: float | None = _NEEDED_SECONDS
                channel = self._channels.find(due[-1])
                try:
                    again_in = None if channel is None else await self._look(channel)
                except NetworkError as error:
                    # The store failed; or no adapter here knows the protocol.
                    log.warning("log not trimmed", channel_id=due[-1], error=error.message)
                except trio.Cancelled:
                    for channel_id in due:
                        self._schedule.look(channel_id, self._clock())
                    raise
                channel_id = due.pop()
                if again_in is not None:
                    self._schedule.look(channel_id, self._clock() + again_in)
                elif channel is None:
                    self._measured.pop(channel_id, None)
        return self.trimmed - before

    async def _look(self, channel: Channel) -> float | None:
        """Trim one channel; return in how many seconds to look again, if not for a snapshot."""
        wish = self.wish_for(channel)
        while _is_trimmed(channel):
            size = 0 if wish.size is None else await self._size_of(channel)
            page_end = min(channel.first + _PAGE_RECORDS, channel.length)
            records = await self._channels.read(channel, channel.first, page_end)
            if not records:
                return None
            channel.first = records[0].position
            if self._end_of_cut(channel, wish, records, channel.length - 1, size) == channel.first:
                return _when_next(wish, records[0], self._clock())
            machine = await self._channels.warm(channel)
            if channel.first != records[0].position:
                # A trim that had failed, as far as was known.
                continue
            if machine.damage or not channel.takes_records:
                return _HOPELESS_SECONDS
            limit = trimmable_to(await self._needs_now(channel, machine))
            stop = self._end_of_cut(channel, wish, records, limit, size)
            if stop == channel.first:
                return _NEEDED_SECONDS
            # The last record of a snapshot stays.
            stop = min(stop, await self._snapshots.keep_two(channel, stop + 1) - 1)
            if stop <= channel.first or channel.machine is not machine:
                return _HOPELESS_SECONDS
            await self._cut(channel, [it for it in records if it.position < stop], stop)
            if stop < page_end:
                return _when_next(wish, records[-1], self._clock())
        self._measured.pop(channel.channel_id, None)
        return None

    def _end_of_cut(
        self, channel: Channel, wish: TrimWish, records: list[LogRecord], limit: int, size: int
    ) -> int:
        """Return where a log is to begin, of which `records` are the first."""
        cut = Cut(
            wish,
            first=channel.first,
            length=channel.length,
            limit=limit,
            now=self._clock(),
            size=size,
        )
        for record in records:
            if not cut.take(_accepted_at(record), len(record.raw)):
                break
        return cut.stop

    async def _size_of(self, channel: Channel) -> int:
        """Return how many bytes a log has. Each record is read for it once."""
        known = self._measured.get(channel.channel_id)
        if known is None or known.start != channel.first:
            known = self._measured[channel.channel_id] = _Measured(channel.first, channel.first)
        while known.stop < channel.length:
            stop = min(known.stop + _PAGE_RECORDS, channel.length)
            for record in await self._channels.read(channel, known.stop, stop):
                known.size += len(record.raw)
            known.stop = stop
        return known.size

    async def _needs_now(self, channel: Channel, machine: ChannelMachine) -> Needs:
        needs, turn = self._needs(channel), machine.expected_next()
        if turn is None or turn.triggering_envelope_id is None:
            return needs
        position = await self._channels.position_of(channel, turn.triggering_envelope_id)
        return attrs.evolve(needs, turn=position)

    async def _cut(self, channel: Channel, records: Iterable[LogRecord], stop: int) -> None:
        channel_id, first = channel.channel_id, channel.first
        gone = list(records)
        if self._archive is not None:
            await self._archive.append(channel_id, [trimmed_line(record) for record in gone])

        def durable() -> None:
            channel.first = max(channel.first, stop)

        ticket = self._committer.submit([Trim(paths.channel_log(channel_id), stop)], durable)
        await ticket.wait()
        known = self._measured.get(channel_id)
        if known is not None:
            known.start, known.size = stop, known.size - sum(len(it.raw) for it in gone)
        self.trimmed += stop - first
        log.info("log trimmed", channel_id=channel_id, first=stop, records=stop - first)
        self._on_trimmed(channel.metadata, stop, stop - first, self._archive is not None)


def _is_trimmed(channel: Channel) -> bool:
    """Whether a channel is one whose log is trimmed: open, and its own hub's."""
    return channel.metadata.state is ChannelState.ACTIVE and not channel.recipients.is_reflection


def _when_next(wish: TrimWish, record: LogRecord, now: float) -> float | None:
    """Return in how many seconds a record is too old, and some more; None: when more has come."""
    if wish.seconds is None:
        return None
    accepted_at = _accepted_at(record)
    late = min(max(wish.seconds * _LATE_SHARE, _LATE_SECONDS_MIN), _LATE_SECONDS_MAX)
    return max((accepted_at or now) + wish.seconds - now, 0.0) + late


def _accepted_at(record: LogRecord) -> float | None:
    return None if record.envelope is None else seconds_from_id(record.envelope.envelope_id)


def _opened_at(metadata: ChannelMetadata) -> float:
    try:
        return seconds_from_iso(metadata.created_at)
    except ValueError:
        return 0.0
