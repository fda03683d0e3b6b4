"""
The backlog: how much is owed and not settled, and since when, by type of channel.

Nothing is counted for it while envelopes are posted. Who wants to know has the mailboxes gone
through, a few between two checkpoints, and of those that are away the oldest envelope is read:
an envelope's id says when it was accepted, and of what is not in memory only the position is
known. An agent that is away stays where it is, so what was read once is remembered.
"""

from __future__ import annotations

import attrs
import trio

from .._logging import get_logger
from ..errors import NotFoundError, StoreError
from ..ids import seconds_from_id
from ..protocol.inbox import Victim
from .channels import Channel, ChannelBook
from .deliveries import Deliveries

__all__ = ["Backlog", "BacklogSurvey"]

log = get_logger(__name__)

# Mailboxes between two checkpoints: some hundred microseconds.
_MAILBOXES_AT_ONCE = 200
# Records read in one survey. With more agents away than that, it takes some surveys until the
# oldest is known to be the oldest.
_READS_MAX = 200
# And the same where reading takes long: figures are wanted most when a hub has much to do, and
# whoever asks for them does not wait for ever.
_READ_SECONDS_MAX = 1.0


@attrs.define
class Backlog:
    """
    What is owed in all channels of one type.

    Attributes:
        envelopes: Deliveries that are not settled: an envelope counts for each who has not
            acked it.
        oldest_at: When the oldest of them was accepted, in seconds since 1970; None where none
            is owed, or where it is not known yet.
    """

    envelopes: int = 0
    oldest_at: float | None = None

    def add(self, envelopes: int, oldest_at: float | None) -> None:
        """Count what one agent is owed in one channel."""
        self.envelopes += envelopes
        if oldest_at is not None and (self.oldest_at is None or oldest_at < self.oldest_at):
            self.oldest_at = oldest_at


class BacklogSurvey:
    """
    Goes through the mailboxes.

    Args:
        deliveries: Has the mailboxes.
        channels: Have the types and the logs.
    """

    def __init__(self, deliveries: Deliveries, channels: ChannelBook) -> None:
        self._deliveries = deliveries
        self._channels = channels
        # (agent, channel) -> the position that was read, and when its envelope was accepted.
        self._read: dict[tuple[str, str], tuple[int, float]] = {}

    async def run(self) -> dict[str, Backlog]:
        """Look at every agent that is owed something. Every type of channel is in the result."""
        found = {type_: Backlog() for type_ in self._deliveries.posted}
        remembered: dict[tuple[str, str], tuple[int, float]] = {}
        reads = 0
        read_until = trio.current_time() + _READ_SECONDS_MAX
        for number, mailbox in enumerate(list(self._deliveries.mailboxes.values())):
            if number % _MAILBOXES_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            if not mailbox.inbox.owed:
                continue
            for oldest in mailbox.inbox.owing():
                channel = self._channels.find(oldest.channel_id)
                if channel is None:
                    continue
                key = (mailbox.agent_id, oldest.channel_id)
                oldest_at = self._known(key, oldest)
                if oldest_at is None and reads < _READS_MAX and trio.current_time() < read_until:
                    reads += 1
                    oldest_at = await self._look_up(channel, oldest.position)
                if oldest.envelope_id is None and oldest_at is not None:
                    remembered[key] = (oldest.position, oldest_at)
                backlog = found.setdefault(channel.metadata.manifest.type, Backlog())
                backlog.add(mailbox.inbox.owed_in(oldest.channel_id), oldest_at)
        self._read = remembered
        return found

    def _known(self, key: tuple[str, str], oldest: Victim) -> float | None:
        if oldest.envelope_id is not None:
            return seconds_from_id(oldest.envelope_id)
        position, accepted_at = self._read.get(key, (-1, 0.0))
        return accepted_at if position == oldest.position else None

    async def _look_up(self, channel: Channel, position: int) -> float | None:
        try:
            record = await self._channels.read_one(channel, position)
        except (NotFoundError, StoreError) as error:
            log.warning("backlog not read", channel_id=channel.channel_id, error=str(error))
            return None
        if record is None or record.envelope is None:
            return None
        return seconds_from_id(record.envelope.envelope_id)
