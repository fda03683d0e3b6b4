"""What an inbox says: what to send, which page to read, what has died, where a cursor stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import attrs

from .runs import Run

__all__ = ["CursorSnapshot", "DeadLetter", "Delivery", "Expired", "PageWanted", "Victim", "Work"]

PayloadT_co = TypeVar("PayloadT_co", covariant=True)


@attrs.frozen
class Delivery(Generic[PayloadT_co]):
    """
    Send this now. `attempt` counts from 1 and is shown to the handler.

    What does not go out before `expires` is not to go out: `Inbox.expire` settles it.
    """

    channel_id: str
    position: int
    envelope_id: str
    attempt: int
    payload: PayloadT_co = attrs.field(repr=False)
    expires: float | None = None


@attrs.frozen
class Expired:
    """
    An envelope whose time was over before it could be sent (again). It is settled with that.

    `attempts` is how often it was sent.
    """

    channel_id: str
    position: int
    envelope_id: str
    attempts: int


@attrs.frozen
class PageWanted:
    """Read these positions of a channel's log; answer with `Inbox.loaded` or `read_failed`."""

    channel_id: str
    start: int
    stop: int


@attrs.frozen
class DeadLetter:
    """
    An envelope that failed `max_attempts` times and is out of the way.

    Keep it on disk, then say `Inbox.buried`; until then no cursor that passes it is given out.
    `attempts` is how often it was sent, deliveries that a lost connection cut short included.
    """

    channel_id: str
    position: int
    envelope_id: str
    attempts: int
    reason: str


@attrs.frozen
class CursorSnapshot:
    """
    What to write down for one channel, and to give to `Inbox.restore` one day.

    Attributes:
        owed: What `Inbox.restore` may be told is owed, as long as cursor and runs are these.
        length: Of the log in which that is owed.
    """

    channel_id: str
    cursor: int
    settled: tuple[Run, ...]
    owed: int = attrs.field(default=0, eq=False)
    length: int = attrs.field(default=0, eq=False)


@attrs.frozen
class Victim:
    """
    Who goes when a full inbox drops its oldest.

    `envelope_id` is None where the record is not in memory: it must be read, and may turn out
    not to be addressed to the recipient.
    """

    channel_id: str
    position: int
    envelope_id: str | None


@attrs.frozen
class Work(Generic[PayloadT_co]):
    """What `Inbox.poll` found to do. False where there is nothing."""

    sends: Sequence[Delivery[PayloadT_co]] = ()
    reads: Sequence[PageWanted] = ()
    dead: Sequence[DeadLetter] = ()
    expired: Sequence[Expired] = ()

    def __bool__(self) -> bool:
        return bool(self.sends or self.reads or self.dead or self.expired)
