"""What a hub can be asked about dead letters, in the same process."""

from __future__ import annotations

from ..errors import StoreError
from ..records import Envelope
from .channels import ChannelBook
from .dead_letters import DeadLetterBox, KeptLetter
from .deliveries import Deliveries

__all__ = ["DeadLetterApi"]


class DeadLetterApi:
    """The part of `Hub` that is about dead letters. `Hub` fills in what it works with."""

    channels: ChannelBook
    _letters: DeadLetterBox
    _deliveries: Deliveries

    def list_dead_letters(self, agent_id: str | None = None) -> list[KeptLetter]:
        """Return what could not be delivered to an agent (None: to anybody), oldest first."""
        return self._letters.all_of(agent_id)

    async def read_dead_letter(self, agent_id: str, envelope_id: str) -> Envelope:
        """
        Return the envelope of a dead letter.

        Raises:
            NotFoundError: There is no such letter.
            StoreError: Its record cannot be read.
        """
        letter = self._letters.get(agent_id, envelope_id)
        channel = self.channels.get(letter.channel_id)
        (record,) = await self.channels.read(channel, letter.position, letter.position + 1)
        if record.envelope is None:
            raise StoreError(f"record {letter.position} of channel {letter.channel_id} is damaged")
        return record.envelope

    async def replay_dead_letter(self, agent_id: str, envelope_id: str) -> KeptLetter:
        """
        Deliver a dead letter once more: now, or when its recipient is back.

        An ack ends it; a nack leaves it where it is. The wish is durable on return.

        Raises:
            NotFoundError: There is no such letter.
        """
        return await self._deliveries.replay_letter(agent_id, envelope_id)

    async def discard_dead_letter(self, agent_id: str, envelope_id: str) -> None:
        """Throw a dead letter away; the envelope stays in its log. Raises `NotFoundError`."""
        await self._letters.discard(agent_id, envelope_id)
