"""
The caretaker: ends the channels whose time is over, and reads back those in doubt.

A channel has at most two dates: until when its invitees may answer, and when it expires. Both
are in its metadata, so a hub that was down when one passed knows at once when it is up. The next
of each channel waits in a heap until the channel has ended; the timers wake the caretaker for the
earliest, and every so often in case that the wall clock has stepped.
"""

from __future__ import annotations

from collections.abc import Iterator

from .._logging import get_logger
from ..errors import NotFoundError, StoreError
from ..ids import Now, seconds_from_iso
from ..protocol.alarms import Alarms
from ..records import ChannelMetadata, ChannelState
from .channels import Channel, ChannelBook
from .date_bell import DateBell
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
        self._alarms = Alarms()
        # Channels that could not be ended, and when that is tried again, whatever becomes of them.
        self._held_off: dict[str, float] = {}
        self._bell = DateBell(timers, clock, self._alarms.earliest)

    def look_after(self, channel: Channel) -> None:
        """Take note of a channel's dates; called whenever it has changed."""
        if channel.metadata.is_terminal or channel.recipients.is_reflection:
            # What belongs to another hub is ended by that.
            self._alarms.forget(channel.channel_id)
            self._held_off.pop(channel.channel_id, None)
            return
        for date in self._dates_of(channel.metadata):
            self._set(channel.channel_id, date)

    def look(self) -> None:
        """See whether there is something to do, now that time has passed."""
        if self._channels.in_doubt:
            self._bell.ring()
        self._bell.look()

    async def run(self) -> None:
        """End what is due, until cancelled."""
        while True:
            await self._bell.answer()
            try:
                await self._channels.settle_doubts()
            except StoreError as error:
                log.warning("the store fails, trying again", error=str(error))
                self._timers.call_in(_DOUBT_RETRY_SECONDS, self._bell.ring)
            for channel_id in list(self._alarms.due(self._clock())):
                try:
                    await self._end_if_due(channel_id)
                except StoreError as error:
                    # It alone waits: its log may be damaged for good, and the others' are not.
                    log.warning("not ended, trying again", channel_id=channel_id, error=str(error))
                    again = self._held_off[channel_id] = self._clock() + _END_RETRY_SECONDS
                    self._alarms.forget(channel_id)
                    self._set(channel_id, again)
            self._bell.dates_changed()

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
            return
        # What was due was another date of it, or the wall clock has stepped back.
        for date in self._dates_of(metadata):
            if date > now:
                self._set(channel_id, date)

    def _dates_of(self, metadata: ChannelMetadata) -> Iterator[float]:
        try:
            if metadata.state is ChannelState.PENDING:
                yield seconds_from_iso(metadata.created_at) + self._invite_ack_timeout
            if metadata.expires_at is not None:
                yield seconds_from_iso(metadata.expires_at)
        except ValueError as error:
            log.warning("no date", channel_id=metadata.channel_id, error=str(error))

    def _set(self, channel_id: str, date: float) -> None:
        date = max(date, self._held_off.get(channel_id, date))
        self._alarms.set(channel_id, date)
        self._bell.dates_changed()
