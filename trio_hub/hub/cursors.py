"""
Cursors, written behind: how far each recipient has settled each channel.

A cursor that is lost costs nothing but a redelivery, so receipts are not answered and cursors
are not synced one by one: those that have changed are gathered for a moment and go out with
whatever is being committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import FrameError, StoreError
from ..protocol.inbox import CursorSnapshot
from ..stores import Put
from ..wire.validation import decode_strictly, encode
from . import paths
from .committer import Committer
from .mailbox import Mailbox, SavedCursor
from .timers import Timers

__all__ = ["CursorWriter", "load_cursors"]

# How many cursors go into one ticket: a commit takes as many tickets as it likes.
_PER_TICKET = 200


class CursorWriter:
    """
    Writes the cursors that have changed.

    Args:
        committer: Writes them.
        timers: Say when.
        delay: Seconds for which changes are gathered.
    """

    def __init__(self, committer: Committer, timers: Timers, delay: float) -> None:
        self._committer = committer
        self._timers = timers
        self._delay = delay
        self._dirty: dict[str, Mailbox] = {}
        self._is_due = False

    def mark(self, mailbox: Mailbox) -> None:
        """Say that something may have been settled in a mailbox."""
        self._dirty[mailbox.agent_id] = mailbox
        if not self._is_due:
            self._is_due = True
            self._timers.call_in(self._delay, self.flush)

    def forget(self, agent_id: str) -> None:
        """Write nothing more for an agent that is no more."""
        self._dirty.pop(agent_id, None)

    def flush(self) -> None:
        """Submit what has changed."""
        self._is_due = False
        dirty, self._dirty = self._dirty, {}
        cursors: list[tuple[Mailbox, CursorSnapshot]] = [
            (mailbox, snapshot) for mailbox in dirty.values() for snapshot in mailbox.inbox.dirty()
        ]
        for start in range(0, len(cursors), _PER_TICKET):
            self._write(cursors[start : start + _PER_TICKET])

    def _write(self, cursors: Sequence[tuple[Mailbox, CursorSnapshot]]) -> None:
        def failed(_error: StoreError) -> None:
            # Nobody waits for a cursor, so it is up to us to try again.
            for mailbox, snapshot in cursors:
                mailbox.inbox.not_written(snapshot.channel_id)
                self.mark(mailbox)

        changes = [
            Put(
                paths.cursor(mailbox.agent_id, snapshot.channel_id),
                encode(SavedCursor(snapshot.cursor, snapshot.settled)),
            )
            for mailbox, snapshot in cursors
        ]
        self._committer.submit(changes, on_failed=failed)


def load_cursors(documents: Mapping[str, bytes], mailboxes: Mapping[str, Mailbox]) -> list[str]:
    """
    Give each mailbox what the store holds of it below ``/cursors``.

    Returns:
        One sentence for each cursor that cannot be read.
    """
    problems: list[str] = []
    for path, data in documents.items():
        agent_id, _, channel_id = path.removeprefix(f"{paths.CURSORS}/").partition("/")
        mailbox = mailboxes.get(agent_id)
        if mailbox is None:
            continue
        try:
            mailbox.saved[channel_id] = decode_strictly(data, SavedCursor, "cursor")
        except FrameError as error:
            problems.append(
                f"the cursor of {agent_id} in channel {channel_id} is set aside, and what it had "
                f"settled is delivered again: {error.message}"
            )
    return problems
