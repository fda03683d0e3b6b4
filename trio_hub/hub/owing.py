"""What a channel owes to whom, counted while its log is read, or before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from .channel import Channel, Owing
from .log_record import LogRecord
from .mailbox import Mailbox, SavedCursor

__all__ = ["OwingCounter", "owing_of"]


@attrs.define
class _Row:
    mailbox: Mailbox
    saved: SavedCursor
    # Counted up to here.
    start: int
    owed: int = 0

    def counts(self, position: int) -> bool:
        return position >= self.start and not any(
            start <= position < stop for start, stop in self.saved.settled
        )


class OwingCounter:
    """
    Counts what a channel owes to each of its participants while its log is read for the first
    time, and then hands the channel to their inboxes.

    Args:
        owing: By agent, what was counted when a snapshot was taken. It goes for those that have
            settled nothing since.
    """

    def __init__(
        self, channel: Channel, mailboxes: Iterable[Mailbox], owing: Mapping[str, Owing]
    ) -> None:
        self._channel = channel
        self._rows: list[_Row] = []
        for mailbox in mailboxes:
            saved = _behind_what_was_trimmed(
                mailbox.saved.get(channel.channel_id, SavedCursor()), channel.first
            )
            row, counted = _Row(mailbox, saved, saved.cursor), owing.get(mailbox.agent_id)
            if counted is not None and (counted.cursor, counted.settled) == (
                saved.cursor,
                saved.settled,
            ):
                row.start, row.owed = counted.length, counted.owed
            self._rows.append(row)
        #: Below it, nothing is left to count.
        self.lowest = min((row.start for row in self._rows), default=channel.length)

    def add(self, record: LogRecord) -> None:
        """Count one record."""
        position, envelope = record.position, record.envelope
        if envelope is None or position < self.lowest:
            return
        for row in self._rows:
            if row.counts(position) and row.mailbox.is_owed(self._channel, envelope):
                row.owed += 1

    def done(self) -> None:
        """Hand the counts over."""
        channel_id, length = self._channel.channel_id, self._channel.length
        for row in self._rows:
            # Only now: a reading that fails begins again, and from these cursors.
            row.mailbox.saved.pop(channel_id, None)
            cursor, settled, inbox = row.saved.cursor, row.saved.settled, row.mailbox.inbox
            try:
                inbox.restore(
                    channel_id, length=length, cursor=cursor, settled=settled, owed=row.owed
                )
            except ValueError:
                # The cursor of another log: better twice than never.
                inbox.restore(channel_id, length=length, cursor=min(self._channel.first, length))


def _behind_what_was_trimmed(saved: SavedCursor, first: int) -> SavedCursor:
    """Nothing is trimmed before it is settled; the cursor that says so is written later."""
    if saved.cursor >= first:
        return saved
    runs = [(max(start, first), stop) for start, stop in saved.settled if stop > first]
    if runs and runs[0][0] == first:
        # What follows the cursor at once is passed by it.
        return SavedCursor(runs[0][1], tuple(runs[1:]))
    return SavedCursor(first, tuple(runs))


def owing_of(channel: Channel, mailboxes: Iterable[Mailbox]) -> dict[str, Owing]:
    """Return what a warm channel owes, of those that have not settled all of it."""
    owing: dict[str, Owing] = {}
    for mailbox in mailboxes:
        if not mailbox.inbox.is_settled(channel.channel_id):
            at = mailbox.inbox.snapshot(channel.channel_id)
            owing[mailbox.agent_id] = Owing(at.cursor, at.settled, at.owed, at.length)
    return owing
