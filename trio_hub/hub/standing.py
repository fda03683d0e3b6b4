"""How far an envelope has come, for those who wait for an answer to it."""

from __future__ import annotations

from ..protocol.standing import standing
from ..records import DeliveryStanding, is_addressed_to
from .channels import ChannelBook, LogRecord
from .dead_letters import DeadLetterBox
from .deliveries import Deliveries
from .registry import Registry
from .remote_agents import REMOTE_KIND

__all__ = ["StandingApi"]


class StandingApi:
    """The part of `Hub` that is about envelopes on their way. `Hub` fills in what it works with."""

    channels: ChannelBook
    _deliveries: Deliveries
    _letters: DeadLetterBox
    _registry: Registry

    async def find_record(self, channel_id: str, envelope_id: str) -> LogRecord | None:
        """Return an envelope as it stands in its channel's log, or None. Raises `NotFoundError`."""
        channel = self.channels.get(channel_id)
        position = await self.channels.position_of(channel, envelope_id)
        return None if position is None else await self.channels.read_one(channel, position)

    async def standing_of(self, channel_id: str, record: LogRecord) -> list[DeliveryStanding]:
        """
        Return how far an envelope has come to each participant that it is for.

        Args:
            record: Of that channel's log.

        Raises:
            NotFoundError: There is no such channel.
            StoreError: Its log cannot be read.
        """
        channel = self.channels.get(channel_id)
        # Only then its inboxes know of it.
        await self.channels.warm(channel)
        envelope = record.envelope
        found: list[DeliveryStanding] = []
        for agent_id in channel.metadata.participant_ids:
            registration = self._registry.find(agent_id)
            mailbox = self._deliveries.mailboxes.get(agent_id)
            if (
                registration is None
                or mailbox is None
                or envelope is None
                or not is_addressed_to(envelope, agent_id)
            ):
                continue
            if registration.passport.effective_kind == REMOTE_KIND:
                found.append(DeliveryStanding(agent_id=agent_id, state="far"))
                continue
            stands = standing(mailbox.inbox, channel_id, record.position)
            if stands is None:
                continue
            state, attempt = stands
            letter = self._letters.find(agent_id, envelope.envelope_id)
            found.append(
                DeliveryStanding(
                    agent_id=agent_id,
                    state=state if letter is None else "dead",
                    is_connected=mailbox.binding is not None,
                    attempt=attempt,
                )
            )
        return found
