"""The channels of a hub, to be found by id, by who takes part, and by who opened them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ..errors import NotFoundError
from .channel import Channel

__all__ = ["ChannelIndex"]


class ChannelIndex:
    """All channels that are there. A change costs the same however many there are."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}
        self._by_agent: dict[str, dict[str, Channel]] = {}
        # Creator -> the ids of its channels that have not ended.
        self._open_of: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._channels)

    def __iter__(self) -> Iterator[Channel]:
        return iter(self._channels.values())

    def __contains__(self, channel_id: str) -> bool:
        return channel_id in self._channels

    def get(self, channel_id: str) -> Channel:
        """Return a channel, or raise `NotFoundError`."""
        channel = self._channels.get(channel_id)
        if channel is None:
            raise NotFoundError(f"no channel with id {channel_id!r}")
        return channel

    def find(self, channel_id: str) -> Channel | None:
        """Return a channel, or None."""
        return self._channels.get(channel_id)

    def of_agent(self, agent_id: str) -> Iterator[Channel]:
        """Return the channels that an agent takes part in, oldest first."""
        return iter(self._by_agent.get(agent_id, {}).values())

    def count_open_of(self, creator_id: str) -> int:
        """Return how many channels that an agent created have not ended."""
        return len(self._open_of.get(creator_id, ()))

    def add(self, channel: Channel) -> None:
        """Take a channel."""
        self._channels[channel.channel_id] = channel
        for agent_id in _concerned(channel):
            self._by_agent.setdefault(agent_id, {})[channel.channel_id] = channel
        if not channel.metadata.is_terminal:
            self._open_of.setdefault(channel.metadata.creator_id, set()).add(channel.channel_id)

    def ended(self, channel: Channel) -> None:
        """Count a channel among the open ones no longer. Idempotent."""
        open_ones = self._open_of.get(channel.metadata.creator_id)
        if open_ones is not None:
            open_ones.discard(channel.channel_id)
            if not open_ones:
                del self._open_of[channel.metadata.creator_id]

    def part(self, channel: Channel, agent_ids: Collection[str]) -> None:
        """Find a channel no longer by these agents."""
        for agent_id in agent_ids:
            channels = self._by_agent.get(agent_id)
            if channels is not None:
                channels.pop(channel.channel_id, None)
                if not channels:
                    del self._by_agent[agent_id]

    def remove(self, channel: Channel) -> None:
        """Forget a channel. Idempotent."""
        self._channels.pop(channel.channel_id, None)
        self.ended(channel)
        self.part(channel, _concerned(channel))


def _concerned(channel: Channel) -> dict[str, None]:
    """Return those who take part and those who are owed something, once each."""
    return dict.fromkeys((*channel.metadata.participant_ids, *channel.recipients.ids))
