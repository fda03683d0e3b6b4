"""What a hub can be asked about dead letters, in the same process."""

from __future__ import annotations

from ..errors import StoreError
from ..records import DeadLetterPage, Envelope, KeptLetter
from ..wire.params import LIST_LIMIT_DEFAULT
from .channels import ChannelBook, LogRecord
from .dead_letters import DeadLetterBox
from .deliveries import Deliveries
from .limits import HubLimits

__all__ = ["DeadLetterApi"]


class DeadLetterApi:
    """The part of `Hub` that is about dead letters. `Hub` fills in what it works with."""

    channels: ChannelBook
    _limits: HubLimits
    _letters: DeadLetterBox
    _deliveries: Deliveries

    def list_dead_letters(
        self,
        agent_id: str | None = None,
        *,
        limit: int = LIST_LIMIT_DEFAULT,
        after: str | None = None,
    ) -> DeadLetterPage:
        """
        Return what could not be delivered to an agent (None: to anybody), oldest envelope first.

        Args:
            limit: At most so many; never more than `HubLimits.page_records_max`.
            after: Go on behind an earlier page: its `after`.
        """
        return self._letters.page(agent_id, min(limit, self._limits.page_records_max), after)

    async def read_dead_letter(self, agent_id: str, envelope_id: str) -> Envelope:
        """
        Return the envelope of a dead letter.

        Raises:
            NotFoundError: There is no such letter.
            StoreError: Its record cannot be read.
        """
        letter = self._letters.get(agent_id, envelope_id)
        channel = self.channels.find(letter.channel_id)
        record: LogRecord | None = None
        if channel is not None:
            record = await self.channels.read_one(channel, letter.position)
        envelope = None if record is None else record.envelope
        if envelope is None:
            raise StoreError(
                f"envelope {envelope_id} cannot be read: record {letter.position} of channel "
                f"{letter.channel_id} is damaged or gone"
            )
        return envelope

    async def replay_dead_letter(self, agent_id: str, envelope_id: str) -> KeptLetter:
        """
        Deliver a dead letter once more: now, or when its recipient is back.

        An ack ends it; a nack, or silence for `ack_wait`, leaves it where it is, with one more
        attempt counted. A connection that breaks changes nothing: it is delivered again when
        its recipient is back. The wish is durable on return.

        Raises:
            NotFoundError: There is no such letter, or its recipient is no longer registered.
            StoreError: The wish could not be kept, as far as is known.

        Cancellation: it may or may not be replayed.
        """
        return await self._deliveries.replay_letter(agent_id, envelope_id)

    async def discard_dead_letter(self, agent_id: str, envelope_id: str) -> None:
        """
        Throw a dead letter away; the envelope stays in its channel's log. Durable on return.

        Raises:
            NotFoundError: There is no such letter.
            StoreError: That could not be kept, as far as is known.

        Cancellation: it may or may not be gone.
        """
        await self._letters.discard(agent_id, envelope_id)
