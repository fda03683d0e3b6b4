"""
The audit log: who did what to whom, kept for good, and chained so that changes show.

It is one log in the store, ``/audit/log``, of records that are only ever added. They ride on the
committer with whatever else is being written, so an audit record costs no sync of its own where
anything else is committed, and nobody who posts waits for one. No record is ever dropped: where
the store fails, those that wait are chained again upon what the disk really holds, and written.

What bounds them: every kind but three is about something that is on disk itself, or is answered
only when its record is. Two of them, refused credentials and take-overs, come from hellos; these
wait in `room` once `WAITING_RECORDS_MAX` records wait for the disk. The third, failed handshakes, is
summed up to one record a minute.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import trio

from .._logging import get_logger
from ..errors import DamagedRecord, FrameError, ProtocolError, StoreError
from ..ids import Now, iso_from_seconds, seconds_from_iso
from ..records import AuditPage, AuditRecord
from ..stores import Append, KnowledgeStore
from . import paths
from .audit_chain import ChainCheck, decode_record, seal
from .committer import Committer, Ticket
from .doorbell import Doorbell

__all__ = [
    "SCANNED_RECORDS_MAX",
    "WAITING_RECORDS_MAX",
    "AuditLog",
    "AuditTail",
    "read_audit_records",
]

log = get_logger(__name__)

#: Records of the audit log that may wait for the disk before those who say hello wait too: a few
#: megabytes.
WAITING_RECORDS_MAX = 10_000
#: Records that one query of the audit log reads before it answers with what it has found; whoever asks
#: goes on from there.
SCANNED_RECORDS_MAX = 20_000
_PAGE_RECORDS = 500
_RETRY_SECONDS = 1.0


async def read_audit_records(store: KnowledgeStore, start: int, stop: int) -> list[bytes | None]:
    """Read a slice of the audit log; None stands for a record that cannot be read."""
    found: list[bytes | None] = []
    while start + len(found) < stop:
        first = start + len(found)
        try:
            raws = await store.read_range(paths.AUDIT_LOG, first, stop)
        except DamagedRecord as error:
            found += await store.read_range(paths.AUDIT_LOG, first, error.position)
            found.append(None)
            continue
        if not raws:
            break
        found += raws
    return found


class AuditLog:
    """
    The audit log of one hub; ``hub.audit``.

    Args:
        store: Where it is read from.
        committer: Writes it.
        clock: Seconds since 1970.
    """

    def __init__(self, store: KnowledgeStore, committer: Committer, clock: Now) -> None:
        self._store = store
        self._committer = committer
        self._clock = clock
        # Not durable yet, in order; the first `_submitted` of them are with the committer.
        self._waiting: deque[AuditRecord] = deque()
        self._submitted = 0
        # The log on disk, and its last hash with what was submitted on top.
        self._length = 0
        self._durable_head = ""
        self._head = ""
        # Whether the disk has to be asked first how far the log goes.
        self._in_doubt = True
        # How often in a row it was asked in vain.
        self._failures = 0
        self._bell = Doorbell()
        self._grown = trio.Event()

    async def load(self) -> list[str]:
        """Find the end of the log. Returns what is wrong with it."""
        try:
            await self._find_end()
        except StoreError as error:
            self._bell.ring()
            return [f"the audit log cannot be read, and waits until it can: {error.message}"]
        return []

    async def run(self) -> None:
        """Settle what became of records whose commit failed, until cancelled."""
        while True:
            await self._bell.answer()
            while self._in_doubt:
                # At once the first time. A disk that is full can still be read, and would be
                # asked to write again and again.
                if self._failures:
                    log.warning("the audit log waits for the disk", waiting=self.waiting)
                    await trio.sleep(_RETRY_SECONDS)
                self._failures += 1
                try:
                    await self._find_end()
                except StoreError as error:
                    log.warning("the audit log cannot be read", error=error.message)
            self._submit_waiting()

    # Writing

    def record(
        self,
        kind: str,
        *,
        agent_id: str | None = None,
        channel_id: str | None = None,
        by: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> Ticket | None:
        """
        Add a record. It is written as soon as the disk can; this never blocks.

        Applications may add kinds of their own. Leave message texts and secrets out.

        Args:
            details: What JSON can say.

        Returns:
            A ticket to wait for, or None where the store has just failed and has to be asked
            first; see `written`.
        """
        record = AuditRecord(
            position=0,
            at=iso_from_seconds(self._clock()),
            kind=kind,
            agent_id=agent_id,
            channel_id=channel_id,
            by=by,
            details=dict(details or {}),
        )
        self._waiting.append(record)
        return None if self._in_doubt else self._submit(record)

    async def written(self, ticket: Ticket | None) -> None:
        """
        Wait until a record is durable, or until the disk has failed to keep it.

        In the second case it is written later; whoever waits should not wait for a disk that
        may be gone for hours.
        """
        if ticket is not None and not ticket.done:
            settled = trio.Event()
            ticket.when_settled(lambda _error: settled.set())
            await settled.wait()

    async def room(self) -> None:
        """Wait until few enough records wait for the disk. No checkpoint where that is so now."""
        while len(self._waiting) > WAITING_RECORDS_MAX:
            await self._grown.wait()

    # Reading

    def __len__(self) -> int:
        """How many records are durable."""
        return self._length

    @property
    def waiting(self) -> int:
        """How many records are not durable yet."""
        return len(self._waiting)

    @property
    def head(self) -> str:
        """The hash of the last durable record. Keep it elsewhere to notice a log cut short."""
        return self._durable_head

    async def query(
        self,
        *,
        kind: str | None = None,
        agent_id: str | None = None,
        channel_id: str | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> AuditPage:
        """
        Return the latest records that meet everything given.

        It reads the log from its end, in pages, and stops when it has enough or has read 20,000
        records; go on with ``before=page.start``. Records that cannot be read are passed over.

        Args:
            agent_id: That it happened to, or that did it.
            since: Not before this time (ISO 8601).
            until: Before this time.
            before: Below this position; None is the end of the log.

        Raises:
            ProtocolError: What is no time.
            StoreError: The log cannot be read.
        """
        since, until = _in_utc(since), _in_utc(until)
        stop = start = self._length if before is None else min(before, self._length)
        lowest = max(0, stop - SCANNED_RECORDS_MAX)
        found: list[AuditRecord] = []
        while start > lowest and len(found) < limit:
            stop, start = start, max(lowest, start - _PAGE_RECORDS)
            page = _decoded(await read_audit_records(self._store, start, stop))
            found[:0] = [
                record
                for record in page
                if (kind is None or record.kind == kind)
                and (agent_id is None or agent_id in (record.agent_id, record.by))
                and (channel_id is None or record.channel_id == channel_id)
                and (since is None or record.at >= since)
                and (until is None or record.at < until)
            ]
        if len(found) > limit:
            found = found[-limit:]
            start = found[0].position
        return AuditPage(records=tuple(found), start=start)

    def tail(self, *, since: int | None = None) -> AuditTail:
        """
        Return an asynchronous iterator over the records from now on, or from a position on.

        It reads the log behind the hub, so it misses nothing however slow it is.
        """
        return AuditTail(self, self._length if since is None else since)

    async def verify(self) -> ChainCheck:
        """Check the whole chain as it stands on disk. Raises `StoreError`."""
        check = ChainCheck()
        for start in range(0, self._length, _PAGE_RECORDS):
            stop = min(start + _PAGE_RECORDS, self._length)
            for raw in await read_audit_records(self._store, start, stop):
                if not check.add(raw):
                    return check
        return check

    # Inside

    def _submit(self, record: AuditRecord) -> Ticket:
        position = self._length + self._submitted
        chained = attrs.evolve(record, position=position, previous=self._head)
        raw, sealed = seal(chained)
        self._head = sealed.hash
        self._submitted += 1

        def durable() -> None:
            self._waiting.popleft()
            self._submitted -= 1
            self._length += 1
            self._durable_head = sealed.hash
            self._failures = 0
            self._tell()

        return self._committer.submit(
            [Append(paths.AUDIT_LOG, raw, position)], durable, self._doubt
        )

    def _submit_waiting(self) -> None:
        for record in list(self._waiting)[self._submitted :]:
            self._submit(record)

    def _doubt(self, _error: StoreError) -> None:
        # All that were submitted fail together, for each stands on the one before.
        self._submitted = 0
        self._in_doubt = True
        self._bell.ring()

    async def _find_end(self) -> None:
        """Ask the disk where the log ends, and forget what it has kept after all."""
        length = await self._store.length(paths.AUDIT_LOG)
        head = ""
        if length:
            (raw,) = await read_audit_records(self._store, length - 1, length)
            last = _decoded([raw])
            # Upon a record that cannot be read, the chain begins anew; `verify` names it.
            head = last[0].hash if last else ""
        for _ in range(min(length - self._length, len(self._waiting))):
            self._waiting.popleft()
        self._length, self._head, self._durable_head = length, head, head
        self._in_doubt = False
        self._tell()

    def _tell(self) -> None:
        self._grown.set()
        self._grown = trio.Event()

    async def _read_from(self, position: int) -> Sequence[bytes | None]:
        """Return at least one record from `position` on, once there is one."""
        while position >= self._length:
            await self._grown.wait()
        stop = min(position + _PAGE_RECORDS, self._length)
        return await read_audit_records(self._store, position, stop)


class AuditTail:
    """
    The records of an audit log as they come. Get one from `AuditLog.tail`.

    Attributes:
        position: Of the next record.
    """

    def __init__(self, audit: AuditLog, position: int) -> None:
        self._audit = audit
        self._page: deque[bytes | None] = deque()
        self.position = position

    def __aiter__(self) -> AuditTail:
        return self

    async def __anext__(self) -> AuditRecord:
        """
        Wait for the next record. One that cannot be read is passed over.

        Raises:
            StoreError: The log cannot be read now. Ask again: nothing is missed.

        Cancellation: nothing is missed either.
        """
        while True:
            if not self._page:
                self._page.extend(await self._audit._read_from(self.position))  # noqa: SLF001  (of this very module)
            found = _decoded([self._page.popleft()])
            self.position += 1
            if found:
                return found[0]


def _in_utc(time: str | None) -> str | None:
    """Write a time as the records do, so that the two compare as text."""
    try:
        return None if time is None else iso_from_seconds(seconds_from_iso(time))
    except ValueError:
        raise ProtocolError(f"{time!r} is no time: write it like 2026-01-31T12:00:00Z") from None


def _decoded(raws: Sequence[bytes | None]) -> list[AuditRecord]:
    records = []
    for raw in raws:
        if raw is not None:
            try:
                records.append(decode_record(raw))
            except FrameError as error:
                log.warning("audit record unreadable", error=error.message[:200])
    return records
