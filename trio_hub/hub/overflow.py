"""
Overflow: what happens when more waits for an agent than its rule allows.

``reject`` is settled before a post is accepted. The other two policies accept the post and drop
for this one recipient: the new envelope, or the oldest that it has not got yet. What is dropped
stays in the channel's log for everybody else, and becomes a dead letter of this recipient, so
that nothing vanishes without a trace.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from .._logging import get_logger
from ..errors import NotFoundError, StoreError
from ..protocol.inbox import DeadLetter
from ..records import Envelope, is_bookkeeping
from .channels import Channel, LogRecord
from .doorbell import Doorbell
from .mailbox import Mailbox

__all__ = ["Overflow"]

log = get_logger(__name__)


class Overflow:
    """
    Keeps inboxes within their limits.

    Args:
        read_log: Reads a slice of a channel's log, or the beginning of it.
        find_channel: Returns a channel by id.
        on_dropped: Told of everything that was dropped.
        on_pressure: Told once per crossing: of whom, how much waits, how much may.
    """

    def __init__(
        self,
        read_log: Callable[[Channel, int, int], Awaitable[list[LogRecord]]],
        find_channel: Callable[[str], Channel | None],
        on_dropped: Callable[[Mailbox, DeadLetter], None],
        on_pressure: Callable[[str, int, int], None],
    ) -> None:
        self._read_log = read_log
        self._find_channel = find_channel
        self._on_dropped = on_dropped
        self._on_pressure = on_pressure
        # Those that must drop their oldest, and in which channel something newer came.
        self._over: dict[str, tuple[Mailbox, str]] = {}
        self._bell = Doorbell()

    def takes(self, mailbox: Mailbox, envelope: Envelope, position: int) -> bool:
        """
        Whether a new envelope goes into a mailbox; False where it is dropped instead.

        Where the oldest is to go for it, that follows in `run`.
        """
        if not mailbox.is_full or is_bookkeeping(envelope.event_type):
            return True
        policy = mailbox.limits.overflow
        if policy == "drop_newest":
            self._on_dropped(
                mailbox,
                DeadLetter(
                    envelope.channel_id,
                    position,
                    envelope.envelope_id,
                    0,
                    "dropped: the inbox was full",
                ),
            )
            return False
        if policy == "drop_oldest":
            self._over[mailbox.agent_id] = (mailbox, envelope.channel_id)
            self._bell.ring()
        return True

    def note_pressure(self, mailbox: Mailbox) -> None:
        """Report once when more waits than the high-water mark, and again when it is crossed."""
        high_water = mailbox.high_water
        pressed = 0 < high_water <= mailbox.inbox.owed
        if pressed and not mailbox.pressed:
            log.warning(
                "inbox pressure",
                agent_id=mailbox.agent_id,
                pending=mailbox.inbox.owed,
                high_water=high_water,
                max_pending=mailbox.limits.max_pending,
            )
            self._on_pressure(mailbox.agent_id, mailbox.inbox.owed, mailbox.limits.max_pending)
        mailbox.pressed = pressed

    async def run(self) -> None:
        """Drop the oldest where that is the policy, until cancelled."""
        while True:
            await self._bell.answer()
            while self._over:
                mailbox, channel_id = self._over.pop(next(iter(self._over)))
                try:
                    while mailbox.is_over and mailbox.limits.overflow == "drop_oldest":
                        if not await self._drop_oldest(mailbox, channel_id):
                            break
                except (NotFoundError, StoreError) as error:
                    # The next post tries again.
                    log.warning("cannot drop", agent_id=mailbox.agent_id, error=error.message)

    async def _drop_oldest(self, mailbox: Mailbox, channel_id: str) -> bool:
        """Drop one envelope, or pass over one record that was not addressed."""
        victim = mailbox.inbox.oldest(channel_id)
        if victim is None:
            return False
        envelope_id = victim.envelope_id
        if envelope_id is None:
            channel = self._find_channel(victim.channel_id)
            if channel is None:
                return False
            records = await self._read_log(channel, victim.position, victim.position + 1)
            envelope = records[0].envelope if records else None
            if envelope is not None and mailbox.is_owed(channel, envelope):
                envelope_id = envelope.envelope_id
        settled = mailbox.inbox.settle(
            victim.channel_id,
            victim.position,
            trio.current_time(),
            addressed=envelope_id is not None,
        )
        if settled and envelope_id is not None:
            self._on_dropped(
                mailbox,
                DeadLetter(
                    victim.channel_id,
                    victim.position,
                    envelope_id,
                    0,
                    "dropped: the inbox was full of newer ones",
                ),
            )
        return True
