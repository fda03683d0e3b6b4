"""
The replay engine: reads back from the logs what inboxes are behind with, and what is too large to be
kept in memory until it is sent.

An inbox that is behind says which page it wants next, one page of a channel at a time, and only
as far as its window has room. A few readers answer side by side, so that one long log or one
slow read does not hold up everybody else's return.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from .._logging import get_logger
from ..errors import NotFoundError, StoreError
from ..protocol.inbox import PageWanted
from ..records import Envelope
from .channels import Channel, LogRecord
from .doorbell import Doorbell
from .mailbox import Mailbox, kept_payload

__all__ = ["RawAnswer", "RecordAnswer", "Replay"]

log = get_logger(__name__)

_T = TypeVar("_T")

_READERS = 4

#: Takes a record: None where there is none (any more), or why it could not be read now.
RecordAnswer = Callable[[LogRecord | StoreError | None], None]
#: The same for the bytes of one: none where it is not there, or cannot be read.
RawAnswer = Callable[[bytes | StoreError], None]


class Replay:
    """
    Answers the pages that inboxes want.

    Args:
        read_log: Reads a slice of a channel's log, or the beginning of it.
        read_raw: Reads one record as it stands there; nothing where it cannot be read.
        find_channel: Returns a channel by id.
        admits: Whether the envelope at a position is handed to the one it is addressed to.
        moment: When an envelope expires (`trio.current_time`), or None.
        on_answered: Told of a mailbox whose inbox has its page, or has to ask again.
    """

    def __init__(
        self,
        read_log: Callable[[Channel, int, int], Awaitable[list[LogRecord]]],
        read_raw: Callable[[Channel, int], Awaitable[bytes]],
        find_channel: Callable[[str], Channel | None],
        admits: Callable[[Mailbox, Envelope, int], bool],
        moment: Callable[[Envelope], float | None],
        on_answered: Callable[[Mailbox], None],
    ) -> None:
        self._read_log = read_log
        self._read_raw = read_raw
        self._find_channel = find_channel
        self._admits = admits
        self._moment = moment
        self._on_answered = on_answered
        # Bounded by the inboxes: each waits for one page of a channel, one letter and one large
        # envelope at the most.
        self._wanted: deque[Callable[[], Awaitable[None]]] = deque()
        self._bell = Doorbell()
        # What was read last, while more is to be read: a large envelope is often for many.
        self._last: tuple[str, int, bytes] | None = None

    def want(self, mailbox: Mailbox, page: PageWanted) -> None:
        """Have a page read, in its turn."""
        self._wanted.append(lambda: self._answer(mailbox, page))
        self._bell.ring()

    def want_record(self, channel_id: str, position: int, answer: RecordAnswer) -> None:
        """Have one record read, in its turn."""
        self._wanted.append(lambda: self._answer_record(channel_id, position, answer))
        self._bell.ring()

    def want_raw(
        self, channel_id: str, position: int, is_due: Callable[[], bool], answer: RawAnswer
    ) -> None:
        """Have the bytes of one record read in their turn, if they are due then."""
        self._wanted.append(lambda: self._answer_raw(channel_id, position, is_due, answer))
        self._bell.ring()

    async def run(self) -> None:
        """Read until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(_READERS):
                nursery.start_soon(self._read)

    async def _read(self) -> None:
        while True:
            await self._bell.answer()
            while self._wanted:
                read = self._wanted.popleft()
                if self._wanted:
                    self._bell.ring()
                await read()
            self._last = None

    async def _answer(self, mailbox: Mailbox, page: PageWanted) -> None:
        inbox, channel_id = mailbox.inbox, page.channel_id
        if not inbox.is_wanted(page):
            return  # A recipient that comes back again and again costs no reads.
        channel = self._find_channel(channel_id)
        try:
            if channel is None:
                raise StoreError(f"channel {channel_id} is gone")
            records = await self._read_log(channel, page.start, page.stop)
        except (NotFoundError, StoreError) as error:
            log.warning(
                "replay read failed",
                agent_id=mailbox.agent_id,
                channel_id=channel_id,
                error=error.message,
            )
            inbox.read_failed(page, trio.current_time())
        else:
            # What was trimmed before it got here is owed to nobody.
            missing = (records[0].position if records else page.stop) - page.start
            inbox.loaded(
                page,
                [
                    *[("", None)] * missing,
                    *(self._seen_by(mailbox, channel, it) for it in records),
                ],
                {
                    it.position: moment
                    for it in records
                    if it.envelope is not None and (moment := self._moment(it.envelope)) is not None
                },
            )
        self._on_answered(mailbox)

    async def _answer_record(self, channel_id: str, position: int, answer: RecordAnswer) -> None:
        found = await self._found(
            channel_id, position, lambda it: self._read_log(it, position, position + 1)
        )
        # A log that was damaged may be shorter than it was.
        answer(found if isinstance(found, StoreError) else found[0] if found else None)

    async def _answer_raw(
        self, channel_id: str, position: int, is_due: Callable[[], bool], answer: RawAnswer
    ) -> None:
        if not is_due():
            return
        if self._last is not None and self._last[:2] == (channel_id, position):
            answer(self._last[2])
            return
        found = await self._found(channel_id, position, lambda it: self._read_raw(it, position))
        if not isinstance(found, StoreError):
            found = found or b""
            self._last = (channel_id, position, found)
        answer(found)

    async def _found(
        self, channel_id: str, position: int, read: Callable[[Channel], Awaitable[_T]]
    ) -> _T | StoreError | None:
        """Read what stands at one place: None where the channel is gone, or why it cannot be read."""
        channel = self._find_channel(channel_id)
        try:
            return None if channel is None else await read(channel)
        except NotFoundError:
            return None  # It went while it was being read.
        except StoreError as error:
            log.warning(
                "record not read", channel_id=channel_id, position=position, error=error.message
            )
            return error

    def _seen_by(
        self, mailbox: Mailbox, channel: Channel, record: LogRecord
    ) -> tuple[str, bytes | None]:
        """Return a record as an inbox takes it: without a payload where it is not for its owner."""
        envelope = record.envelope
        if (
            envelope is None
            or not channel.recipients.is_addressed(envelope, mailbox.agent_id)
            or not self._admits(mailbox, envelope, record.position)
        ):
            return "", None
        return envelope.envelope_id, kept_payload(record.raw)
