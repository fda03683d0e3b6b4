"""
Retirement: channels that have ended long enough ago are archived, and leave the hub.

`EndedChannels` says which, and when to look again; this sees to it that nobody is owed anything
in one before it goes. The archive's file is on disk before anything is deleted, and everything of
a channel is deleted in one batch: a crash in between finds a channel that is there, and archives
it again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import trio

from .._logging import get_logger
from ..errors import NotFoundError, StoreError
from ..ids import Now, seconds_from_iso
from ..protocol.retention import EndedChannels, Retention
from ..records import ChannelMetadata
from ..stores import Change, Delete
from ..stores.archive import ChannelArchive
from ..wire.validation import encode
from . import paths
from .archive_lines import retired_line
from .channels import Channel, ChannelBook
from .date_bell import DateBell
from .timers import Timers

__all__ = ["Retirement"]

log = get_logger(__name__)

# A channel that cannot go yet is left alone for as long as it has been over, within these. What it
# owes is mostly settled in a moment, and may be owed for ever to somebody who never comes.
_OWING_SECONDS_MIN = 1.0
_OWING_SECONDS_MAX = 3600.0
_FAILED_SECONDS = 60.0
_PAGE_RECORDS = 500


class Retirement:
    """
    Lets channels go.

    Args:
        retention: Which, and when.
        archive: Where their logs go; None throws them away.
        channels: All channels.
        is_owing: Whether a channel that is warm still owes somebody something, or is needed.
        on_retired: Told of one that is gone, and whether it is in the archive.
        timers: Wake it.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        retention: Retention,
        archive: ChannelArchive | None,
        channels: ChannelBook,
        is_owing: Callable[[Channel], bool],
        on_retired: Callable[[ChannelMetadata, bool], None],
        timers: Timers,
        clock: Now,
    ) -> None:
        self._keeps_all = retention.keeps_ended
        self._ended = EndedChannels(retention)
        self._archive = archive
        self._channels = channels
        self._is_owing = is_owing
        self._on_retired = on_retired
        self._clock = clock
        self._bell = DateBell(timers, clock, lambda: self._ended.wake_at(clock()))
        self._working = trio.Lock()
        #: How many channels have gone since the hub opened.
        self.retired = 0

    def look_after(self, channel: Channel) -> None:
        """Take note of a channel that may have ended; called whenever it has changed."""
        metadata = channel.metadata
        if self._keeps_all or not metadata.is_terminal:
            return
        self._ended.ended(channel.channel_id, metadata.manifest.type, _ended_at(metadata))
        self._bell.dates_changed()

    def look(self) -> None:
        """See whether there is something to do, now that time has passed."""
        self._bell.look()

    async def run(self) -> None:
        """Let go of what may go, until cancelled."""
        while True:
            await self._bell.answer()
            try:
                await self.retire_due()
            except StoreError as error:
                log.warning("not retired, trying again", error=str(error))
            self._bell.dates_changed()

    async def retire_due(self) -> int:
        """
        Let go of what may go now; return how many channels that were.

        Raises:
            StoreError: Not all of them could be archived or deleted; they are held for a while.
        """
        count, failure = 0, None
        async with self._working:
            # One by one: what is not asked for yet stays in the queue, should this be cancelled.
            for channel_id in self._ended.due(self._clock()):
                try:
                    count += await self._retire_or_hold(channel_id)
                except StoreError as error:
                    failure = error
        if failure is not None:
            raise failure
        return count

    async def _retire_or_hold(self, channel_id: str) -> bool:
        channel = self._channels.find(channel_id)
        if channel is None:
            self._ended.gone(channel_id)
            return False
        now = self._clock()
        wait = _FAILED_SECONDS
        gone = False
        try:
            # What is owed is known once the log has been read.
            await self._channels.warm(channel)
            if self._is_owing(channel):
                age = now - _ended_at(channel.metadata)
                wait = min(max(age, _OWING_SECONDS_MIN), _OWING_SECONDS_MAX)
            else:
                await self._retire(channel)
                gone = True
        except NotFoundError as error:
            # No adapter here knows its protocol, so nobody can tell what is in it.
            log.warning("channel not retired", channel_id=channel_id, error=str(error))
            wait = _OWING_SECONDS_MAX
        finally:
            # Whatever happened, cancellation included: it is asked about again, or never more.
            if gone:
                self._ended.gone(channel_id)
            else:
                self._ended.hold(channel_id, until=now + wait)
        return gone

    async def _retire(self, channel: Channel) -> None:
        metadata = channel.metadata
        if self._archive is not None:
            await self._archive.write(
                channel.channel_id, encode({"metadata": metadata}), self._pages(channel)
            )
        changes: list[Change] = [
            Delete(paths.cursor(agent_id, channel.channel_id))
            for agent_id in (
                *channel.recipients.ids,
                # A cursor may have been on its way when somebody was removed.
                *(it.agent_id for it in channel.firings.removed),
            )
        ]
        await self._channels.remove(channel, changes)
        self.retired += 1
        log.info("channel retired", channel_id=channel.channel_id, archived=bool(self._archive))
        self._on_retired(metadata, self._archive is not None)

    async def _pages(self, channel: Channel) -> AsyncIterator[list[bytes]]:
        for start in range(0, channel.length, _PAGE_RECORDS):
            yield [
                retired_line(record)
                for record in await self._channels.read(channel, start, start + _PAGE_RECORDS)
            ]


def _ended_at(metadata: ChannelMetadata) -> float:
    try:
        return seconds_from_iso(metadata.closed_at or metadata.created_at)
    except ValueError:
        return 0.0
