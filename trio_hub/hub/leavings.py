"""
What leaves a mailbox without a receipt: dead letters, and what has expired.

A dead letter is kept, and nothing passes it before it is: no cursor, and no delivery either. What
has expired is settled with that: its time is in the log, so a cursor that is lost changes nothing;
it is told of and audited, once more where the hub was killed before its cursor was written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import trio

from .._logging import get_logger
from ..ids import Now
from ..protocol.expiry import expires_at
from ..protocol.inbox import DeadLetter, Expired, Work
from ..protocol.runs import Run, joined
from ..records import Envelope
from .announcer import Announcer
from .cursors import CursorWriter
from .dead_letters import DeadLetterBox
from .mailbox import Mailbox, SavedCursor

__all__ = ["Leavings"]

log = get_logger(__name__)


class Leavings:
    """
    Takes what leaves the mailboxes.

    Args:
        mailboxes: By agent id, those that there are.
        letters: Keeps dead letters.
        cursors: Writes how far a mailbox is settled.
        announcer: Told of both.
        clock: Seconds since 1970.

    Attributes:
        changed: Called with a mailbox in which something may go on; for `Dispatcher`.
        buried: How many envelopes became dead letters.
        expired: How many were not delivered because their time was over.
    """

    def __init__(
        self,
        mailboxes: Mapping[str, Mailbox],
        letters: DeadLetterBox,
        cursors: CursorWriter,
        announcer: Announcer,
        clock: Now,
    ) -> None:
        self._mailboxes = mailboxes
        self._letters = letters
        self._cursors = cursors
        self._announcer = announcer
        self._clock = clock
        self.changed: Callable[[Mailbox], None]
        self.buried = self.expired = 0

    def moment(self, envelope: Envelope) -> float | None:
        """Return when an envelope expires (`trio.current_time`), or None: it does not."""
        if envelope.ttl_seconds is None:
            return None
        date = expires_at(envelope)
        return None if date is None else trio.current_time() + date - self._clock()

    def take(self, mailbox: Mailbox, work: Work[bytes]) -> None:
        """Take all that leaves with some work of a mailbox."""
        for letter in work.dead:
            self.bury(mailbox, letter)
        for envelope in work.expired:
            self.expire(mailbox, envelope)

    def bury(self, mailbox: Mailbox, letter: DeadLetter) -> None:
        """Have a dead letter kept; no cursor and no delivery of its channel passes it before."""
        agent_id, channel_id, position = mailbox.agent_id, letter.channel_id, letter.position
        if self._mailboxes.get(agent_id) is not mailbox:
            return  # Unregistered meanwhile.
        self.buried += 1
        log.warning(
            "dead letter",
            agent_id=agent_id,
            channel_id=channel_id,
            envelope_id=letter.envelope_id,
            attempts=letter.attempts,
        )

        def kept() -> None:
            kept_letter = self._letters.find(agent_id, letter.envelope_id)
            if kept_letter is not None:
                self._announcer.dead_letter(kept_letter)
            mailbox.inbox.buried(channel_id, position)
            if self._mailboxes.get(agent_id) is mailbox:
                self.changed(mailbox)

        mailbox.inbox.burying(channel_id, position)
        self._letters.bury(agent_id, letter, kept)

    def expire(self, mailbox: Mailbox, envelope: Expired) -> None:
        """Take note that an envelope was not delivered in time."""
        agent_id = mailbox.agent_id
        if self._mailboxes.get(agent_id) is not mailbox:
            return  # Unregistered meanwhile.
        self.expired += 1
        log.info(
            "envelope expired",
            agent_id=agent_id,
            channel_id=envelope.channel_id,
            envelope_id=envelope.envelope_id,
            attempts=envelope.attempts,
        )
        self._announcer.envelope_expired(agent_id, envelope)
        self._cursors.mark(mailbox)

    def settle_letters(self) -> None:
        """
        Take what is a dead letter for settled: a cursor that says so may not have been written.

        Without this, a letter would be delivered again by itself after a crash.
        """
        runs: dict[tuple[str, str], list[Run]] = {}
        for letter in self._letters:
            run = (letter.position, letter.position + 1)
            runs.setdefault((letter.agent_id, letter.channel_id), []).append(run)
        for (agent_id, channel_id), settled in runs.items():
            mailbox = self._mailboxes.get(agent_id)
            if mailbox is not None:
                saved = mailbox.saved.get(channel_id, SavedCursor())
                mailbox.saved[channel_id] = SavedCursor(
                    saved.cursor, joined([*saved.settled, *settled])
                )
