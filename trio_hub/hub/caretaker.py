"""
The caretaker: ends the channels whose time is over, and reads back those in doubt.

A channel has at most two dates: until when its invitees may answer, and when it expires. Both
are in its metadata, so a hub that was down when one passed knows at once when it is up. Dates
wait in a heap; the timers wake the caretaker for the earliest, and every so often in case that
the wall clock has stepped.
"""

from __future__ import annotations

import heapq

from .._logging import get_logger
from ..errors import NotFoundError, StoreError
from ..ids import Now, seconds_from_iso
from ..records import ChannelState
from .channels import Channel, ChannelBook
from .doorbell import Doorbell
from .timers import Timers

__all__ = ["Caretaker"]

log = get_logger(__name__)

# After the store could not be read or written: enough not to be in its way. Somebody may wait for
# what is in doubt; nobody waits for an end.
_DOUBT_RETRY_SECONDS = 1.0
_END_RETRY_SECONDS = 5.0


class Caretaker:
    """
    Looks after channels.

    Args:
        channels: All of them.
        timers: Wake it.
        clock: Seconds since 1970.
        invite_ack_timeout: Seconds that invitees have to accept.
    """

    def __init__(
        self, channels: ChannelBook, timers: Timers, clock: Now, *, invite_ack_timeout: float
    ) -> None:
        self._channels = channels
        self._timers = timers
        self._clock = clock
        self._invite_ack_timeout = invite_ack_timeout
        # When to look, at what date of which channel.
        self._dates: list[tuple[float, float, str]] = []
        self._known: set[tuple[float, str]] = set()
        self._bell = Doorbell()

    def look_after(self, channel: Channel) -> None:
        """Take note of a channel's dates; called whenever it has changed."""
        metadata = channel.metadata
        if metadata.is_terminal or channel.recipients.is_reflection:
            # What belongs to another hub is ended by that.
            return
        try:
            if metadata.state is ChannelState.PENDING:
                created = seconds_from_iso(metadata.created_at)
                self._note(created + self._invite_ack_timeout, channel.channel_id)
            if metadata.expires_at is not None:
                self._note(seconds_from_iso(metadata.expires_at), channel.channel_id)
        except ValueError as error:
            log.warning("no date", channel_id=channel.channel_id, error=str(error))

    def look(self) -> None:
        """See whether there is something to do, now that time has passed."""
        if self._channels.in_doubt or (self._dates and self._dates[0][0] <= self._clock()):
            self._bell.ring()

    async def run(self) -> None:
        """End what is due, until cancelled."""
        while True:
            await self._bell.answer()
            try:
                await self._channels.settle_doubts()
            except StoreError as error:
                log.warning("the store fails, trying again", error=str(error))
                self._timers.call_in(_DOUBT_RETRY_SECONDS, self._bell.ring)
            while self._dates and self._dates[0][0] <= self._clock():
                _, date, channel_id = heapq.heappop(self._dates)
                try:
                    await self._end_if_due(channel_id)
                except StoreError as error:
                    # It alone waits: its log may be damaged for good, and the others' are not.
                    log.warning("not ended, trying again", channel_id=channel_id, error=str(error))
                    self._look_again(self._clock() + _END_RETRY_SECONDS, date, channel_id)
                else:
                    self._known.discard((date, channel_id))

    async def _end_if_due(self, channel_id: str) -> None:
        channel = self._channels.find(channel_id)
        if channel is None or channel.metadata.is_terminal:
            return
        try:
            machine = await self._channels.warm(channel)
        except NotFoundError as error:
            # No adapter here knows its protocol: nobody can post to it either.
            log.warning("channel cannot be ended", channel_id=channel_id, error=str(error))
            return
        metadata, now = machine.metadata, self._clock()
        ticket = None
        if metadata.expires_at is not None and seconds_from_iso(metadata.expires_at) <= now:
            ticket = self._channels.end_nowait(channel, machine, ChannelState.EXPIRED, "ttl")
        elif (
            metadata.state is ChannelState.PENDING
            and seconds_from_iso(metadata.created_at) + self._invite_ack_timeout <= now
        ):
            ticket = self._channels.end_nowait(
                channel, machine, ChannelState.CLOSED, "invite_timeout"
            )
        if ticket is not None:
            log.info("channel ended", channel_id=channel_id, reason=channel.metadata.close_reason)
            await ticket.wait()

    def _note(self, date: float, channel_id: str) -> None:
        if (date, channel_id) in self._known:
            return
        self._known.add((date, channel_id))
        self._look_again(date, date, channel_id)

    def _look_again(self, when: float, date: float, channel_id: str) -> None:
        heapq.heappush(self._dates, (when, date, channel_id))
        self._timers.call_at_date(when, self._clock, self.look)
