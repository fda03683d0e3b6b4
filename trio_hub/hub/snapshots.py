"""
Snapshots of channels in the store: written behind, read when a cold channel is warmed.

Under ``/snapshots/<channel id>`` stand the latest snapshot, as a document, and the pages of what
was posted, as a log that only grows. Of a channel whose log is trimmed the one before stands there
too: without either of them, nobody could tell what it was. Both are written in one batch, after the records of the
channel's log that they speak of, so they are never ahead of it on disk. Nobody waits for them,
and a post takes no part in it: channels that have grown enough are gathered for a moment, and
what is written of them goes out with whatever is being committed.

A snapshot that cannot be read or does not fit is left aside, and the log folded as without it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import attrs
import msgspec
import trio

from .._logging import get_logger
from ..errors import DamagedRecord, StoreError
from ..protocol.channel import ChannelMachine
from ..protocol.channel_snapshot import ChannelSnapshot, SnapshotUnfit, freeze, thaw
from ..protocol.posted_pages import PostedPage
from ..stores import Append, Change, Delete, KnowledgeStore, Put
from . import paths
from .channel import Channel, Owing
from .committer import Committer, Ticket
from .log_record import LogRecord
from .timers import Timers

__all__ = ["SNAPSHOT_BYTES_MAX", "Snapshots"]

log = get_logger(__name__)

#: The largest snapshot of a channel that is kept; where one is larger (an adapter may keep what it
#: likes), none is written, the log is folded instead, and is not trimmed. More than the adapters that
#: ship come to, and an eighth of what a store takes. Whoever encodes so much holds up everybody for
#: more than 100 ms.
SNAPSHOT_BYTES_MAX = 64 * 1024 * 1024

# Taking one costs a millisecond at the most. Then everybody else has a turn of the loop first.
_IN_A_ROW_MAX = 4
_BETWEEN_ROWS_SECONDS = 0.01
# At the end of the hub, what folding spares less than this is not worth a write.
_WORTH_RECORDS = 64
# Read at once: some milliseconds of work.
_PAGES_AT_ONCE = 8
# More than any log has: no snapshot is due.
_NEVER = 1 << 62

_encode = msgspec.msgpack.Encoder().encode

ReadLog = Callable[[str, int, int], Awaitable[list[LogRecord]]]


@attrs.frozen
class _Kept:
    """What stands in the store: a channel, and what it owed to whom."""

    snapshot: ChannelSnapshot
    owing: dict[str, Owing]


_decode = msgspec.msgpack.Decoder(_Kept).decode


class Snapshots:
    """
    Keeps snapshots.

    Args:
        store: Where they are read from.
        committer: Writes them.
        timers: Say when.
        owing: Returns what a channel owes to whom.
        every: After how many records of a log the next one is due.
        delay: Seconds for which channels are gathered.
        keeps_two: Whether of a channel the snapshot before the latest is kept as well.
        on_kept: Told of such a channel when a snapshot of it is durable.
    """

    def __init__(
        self,
        store: KnowledgeStore,
        committer: Committer,
        timers: Timers,
        owing: Callable[[Channel], dict[str, Owing]],
        *,
        every: int,
        delay: float,
        keeps_two: Callable[[Channel], bool] = lambda _channel: False,
        on_kept: Callable[[Channel], None] = lambda _channel: None,
    ) -> None:
        self._store = store
        self._committer = committer
        self._timers = timers
        self._owing = owing
        self._every = every
        self._delay = delay
        self._keeps_two = keeps_two
        self._on_kept = on_kept
        # How many records are in each of the two; 0: none, or nobody knows what stands there.
        self._two: dict[Channel, list[int]] = {}
        self._due: dict[Channel, None] = {}
        self._is_timed = False
        self._under_way: dict[Channel, Ticket] = {}
        # Those that the log has heard of: one line for each, however often it grows.
        self._too_large: set[Channel] = set()

    # Writing

    def grown(self, channel: Channel) -> None:
        """Say that a channel's log may have grown."""
        if channel.length - channel.snapshot_at >= self._every:
            self._due[channel] = None
            if not self._is_timed:
                self._is_timed = True
                self._timers.call_in(self._delay, self._write_some)

    async def write_all(self, channels: Iterable[Channel]) -> None:
        """
        Submit a snapshot of each channel that is in memory, where it spares something.

        Cancellation: of some there is none.
        """
        for channel in channels:
            if channel.length - channel.snapshot_at >= _WORTH_RECORDS and channel.machine:
                self._write(channel)
                await trio.lowlevel.checkpoint()

    def removal(self, channel: Channel) -> list[Change]:
        """Return what takes out all that was kept of a channel; nothing more is written of it."""
        channel.snapshot_at = _NEVER
        self._two.pop(channel, None)
        self._too_large.discard(channel)
        channel_id = channel.channel_id
        places = [paths.snapshot(channel_id, slot) for slot in (0, 1)]
        return [Delete(it) for it in (*places, paths.snapshot_pages(channel_id))]

    async def keep_two(self, channel: Channel, records: int) -> int:
        """
        Have both snapshots of a warm channel hold `records` of its log, where that can be.

        Returns:
            How many both hold.

        Raises:
            StoreError: They could not be written.

        Cancellation: they are written all the same.
        """
        for _ in (0, 1):
            pending = self._under_way.get(channel)
            if pending is not None:
                await pending.wait()
            if self._both_hold(channel) < records:
                self._write(channel)
                if channel in self._under_way:
                    await self._under_way[channel].wait()
        return self._both_hold(channel)

    def _both_hold(self, channel: Channel) -> int:
        return min(self._two.get(channel, (0,)))

    def _write_some(self) -> None:
        for channel in list(self._due)[:_IN_A_ROW_MAX]:
            del self._due[channel]
            self._write(channel)
        self._is_timed = bool(self._due)
        if self._is_timed:
            self._timers.call_in(_BETWEEN_ROWS_SECONDS, self._write_some)

    def _write(self, channel: Channel) -> None:
        machine, channel_id = channel.machine, channel.channel_id
        if machine is None or channel in self._under_way or channel.snapshot_at == _NEVER:
            return
        snapshot = freeze(machine)
        data = None if snapshot is None else self._encoded(channel, snapshot)
        if snapshot is None or data is None:
            # Asked again when the log has grown by as much.
            channel.snapshot_at = machine.length
            return
        kept, pages = channel.snapshot_pages, machine.memory.posted.pages
        path = paths.snapshot_pages(channel_id)
        changes: list[Change] = [] if kept else [Delete(path)]
        changes += [Append(path, page.encode()) for page in pages[kept:]]
        two = self._two.setdefault(channel, [0, 0]) if self._keeps_two(channel) else [0]
        # In the place of the older one, of which nobody knows what it is until that is written.
        slot = two.index(min(two))
        two[slot] = 0
        changes.append(Put(paths.snapshot(channel_id, slot), data))

        def durable() -> None:
            del self._under_way[channel]
            two[slot] = snapshot.position
            if len(two) > 1:
                self._on_kept(channel)

        def failed(_error: StoreError) -> None:
            # What is there is unknown: the next one begins anew.
            del self._under_way[channel]
            if channel.snapshot_at != _NEVER:
                channel.snapshot_at = channel.snapshot_pages = 0

        channel.snapshot_at, channel.snapshot_pages = snapshot.position, len(pages)
        self._under_way[channel] = self._committer.submit(changes, durable, failed)

    def _encoded(self, channel: Channel, snapshot: ChannelSnapshot) -> bytes | None:
        """
        Return what is to be kept of a channel, or None where it is too large.

        What is in the store already stays there: it is as right as before, and of a trimmed
        channel there is nothing else.
        """
        # All but the state is small; so nothing is done with one that is too large by itself.
        size = len(snapshot.state)
        if size <= SNAPSHOT_BYTES_MAX:
            data = _encode(_Kept(snapshot, self._owing(channel)))
            size = len(data)
            if size <= SNAPSHOT_BYTES_MAX:
                self._too_large.discard(channel)
                return data
        if channel not in self._too_large:
            self._too_large.add(channel)
            log.warning(
                "snapshot not kept, the log will be folded: it is too large",
                channel_id=channel.channel_id,
                adapter=snapshot.adapter,
                bytes=size,
                bytes_max=SNAPSHOT_BYTES_MAX,
            )
        return None

    # Reading

    async def thawed(
        self,
        channel: Channel,
        length: int,
        new_machine: Callable[[], ChannelMachine],
        read_log: ReadLog,
    ) -> tuple[ChannelMachine, dict[str, Owing]] | None:
        """
        Return a machine that stands where the latest snapshot was taken that can be used, and what
        was owed then; None where there is none.

        Args:
            length: Of the log.
            new_machine: Makes one that has folded nothing.
            read_log: Reads from channel, start and stop.

        Raises:
            StoreError: The store could not be read, and the log alone is not enough.

        Cancellation: nothing has changed.
        """
        pending = self._under_way.get(channel)
        if pending is not None:
            # What is read next to it would be half of what was and half of what will be.
            with trio.CancelScope() as settled:
                pending.when_settled(lambda _error: settled.cancel())
                await trio.sleep_forever()
        channel.snapshot_at = channel.snapshot_pages = 0
        self._two.pop(channel, None)
        has_two = self._keeps_two(channel)
        found = [
            (slot, kept)
            for slot in range(2 if has_two else 1)
            if (kept := await self._read(channel, slot)) is not None
        ]
        for slot, kept in sorted(found, key=lambda it: it[1].snapshot.position, reverse=True):
            snapshot, machine = kept.snapshot, new_machine()
            try:
                await self._check_place(channel.channel_id, snapshot, length, read_log)
                has_more = await self._restore_pages(channel.channel_id, machine, snapshot.pages)
                if has_more and not has_two:
                    raise SnapshotUnfit(f"there are more than {snapshot.pages} pages")
                thaw(machine, snapshot)
            except (StoreError, SnapshotUnfit, ValueError) as error:
                self._set_aside(channel, error)
                continue
            channel.snapshot_at = snapshot.position
            # Behind the older one there are pages that do not belong to it: all are written anew.
            channel.snapshot_pages = 0 if has_more else snapshot.pages
            if has_two:
                self._two[channel] = [0, 0]
                self._two[channel][slot] = snapshot.position
            return machine, kept.owing
        return None

    async def _read(self, channel: Channel, slot: int) -> _Kept | None:
        try:
            data = await self._store.read(paths.snapshot(channel.channel_id, slot))
            return None if data is None else _decode(data)
        except (StoreError, msgspec.MsgspecError) as error:
            self._set_aside(channel, error)
            return None

    def _set_aside(self, channel: Channel, error: Exception) -> None:
        if channel.first and isinstance(error, StoreError) and not isinstance(error, DamagedRecord):
            # It may be read the next time, and the log alone says nothing.
            raise error
        log.warning("snapshot set aside", channel_id=channel.channel_id, error=str(error))

    async def _check_place(
        self, channel_id: str, snapshot: ChannelSnapshot, length: int, read_log: ReadLog
    ) -> None:
        """Refuse a snapshot of another log: ids are given once, so the last one tells."""
        position = snapshot.position
        if not 0 < position <= length:
            raise SnapshotUnfit(f"it stands at {position}, and the log has {length} records")
        records = await read_log(channel_id, position - 1, position)
        last = records[0].envelope if records else None
        if last is None or last.envelope_id != snapshot.last_id:
            raise SnapshotUnfit(f"the log has another envelope before {position}")

    async def _restore_pages(self, channel_id: str, machine: ChannelMachine, count: int) -> bool:
        """Give a machine the pages of a snapshot; return whether there are more of them."""
        path, posted = paths.snapshot_pages(channel_id), machine.memory.posted
        for start in range(0, count, _PAGES_AT_ONCE):
            stop = min(start + _PAGES_AT_ONCE, count)
            for data in await self._store.read_range(path, start, stop):
                posted.restore(PostedPage.decode(data))
        return bool(await self._store.read_range(path, count, count + 1))
