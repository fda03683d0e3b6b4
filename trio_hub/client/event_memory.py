"""
What has arrived in each channel and was not looked at yet.

Whoever opens a channel, or posts into it, and then waits for something must not miss what came
in between. So the last events of every channel are kept for a while, and a wait looks at those
first. Time moves forward only: a wait that returned an event has passed over everything before
it, and no later wait sees those again; waits that were there at the same time each see all.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

import attrs
import trio

from ..errors import NetworkError
from ..records import Envelope

__all__ = ["CHANNEL_EVENTS_MAX", "EVENTS_MAX", "EventMemory"]

#: Events of one channel that a client remembers for an agent, for whoever waits for one that came
#: already (`wait_for_channel_event`); then the oldest goes.
CHANNEL_EVENTS_MAX = 128
#: Events that a client remembers for an agent in all; then the channel goes that was quiet for longest.
EVENTS_MAX = 1024


@attrs.define(eq=False)
class _ChannelEvents:
    # Numbers count what arrived; `first` is that of events[0], `fresh` of the first not looked at.
    events: deque[Envelope] = attrs.field(factory=deque)
    first: int = 0
    fresh: int = 0
    waiters: int = 0
    arrived: trio.Event = attrs.field(factory=trio.Event)

    @property
    def end(self) -> int:
        return self.first + len(self.events)

    def drop_oldest(self) -> None:
        self.events.popleft()
        self.first += 1

    def wake(self) -> None:
        if self.waiters:
            self.arrived.set()
            self.arrived = trio.Event()


class EventMemory:
    """
    The recent events of one identity.

    Args:
        per_channel_max: Events kept for one channel; the oldest go first.
        events_max: Events kept in all; the channel that was quiet for longest goes first.
    """

    def __init__(
        self, per_channel_max: int = CHANNEL_EVENTS_MAX, events_max: int = EVENTS_MAX
    ) -> None:
        self._per_channel_max = per_channel_max
        self._events_max = events_max
        self._channels: OrderedDict[str, _ChannelEvents] = OrderedDict()
        self._count = 0
        self._ended: NetworkError | None = None

    def __len__(self) -> int:
        return self._count

    def remember(self, envelope: Envelope) -> None:
        """Keep an event and wake who waits for one of its channel."""
        channel = self._channel(envelope.channel_id)
        channel.events.append(envelope)
        self._count += 1
        if len(channel.events) > self._per_channel_max:
            channel.drop_oldest()
            self._count -= 1
        channel.wake()
        while self._count > self._events_max:
            self._forget_quietest()

    def end(self, error: NetworkError) -> None:
        """Nothing will arrive any more: everybody who waits, now or later, raises `error`."""
        self._ended = error
        for channel in self._channels.values():
            channel.wake()

    async def wait(self, channel_id: str, predicate: Callable[[Envelope], bool]) -> Envelope:
        """
        Return the next event of a channel that `predicate` likes.

        Raises:
            NetworkError: What the memory was ended with.

        Cancellation: nothing is passed over; the next wait sees what this one saw.
        """
        channel = self._channel(channel_id)
        number = channel.fresh
        channel.waiters += 1
        try:
            while True:
                number = max(number, channel.first)
                while number < channel.end:
                    envelope = channel.events[number - channel.first]
                    number += 1
                    if predicate(envelope):
                        self._passed(channel, number)
                        return envelope
                if self._ended is not None:
                    raise self._ended
                await channel.arrived.wait()
        finally:
            channel.waiters -= 1

    def _passed(self, channel: _ChannelEvents, number: int) -> None:
        channel.fresh = max(channel.fresh, number)
        # Others that wait may be further back; they keep what they have not seen.
        while channel.waiters == 1 and channel.events and channel.first < channel.fresh:
            channel.drop_oldest()
            self._count -= 1

    def _channel(self, channel_id: str) -> _ChannelEvents:
        channel = self._channels.get(channel_id)
        if channel is None:
            channel = self._channels[channel_id] = _ChannelEvents()
            self._forget_idle()
        self._channels.move_to_end(channel_id)
        return channel

    def _forget_quietest(self) -> None:
        for channel_id, channel in self._channels.items():
            if channel.events:
                channel.drop_oldest()
                self._count -= 1
                if not channel.events and not channel.waiters:
                    del self._channels[channel_id]
                return

    def _forget_idle(self) -> None:
        # A channel without events is only a number, but numbers add up too.
        while len(self._channels) > self._events_max:
            channel_id, channel = next(iter(self._channels.items()))
            if channel.waiters:
                return
            self._count -= len(channel.events)
            del self._channels[channel_id]
