"""
Deliveries: from the logs to the connections, and the receipts back.

Every registered agent has a *mailbox*: the pure `Inbox` that decides what is sent when, and the
connection that the agent is bound to, if any. Three tasks of the hub's nursery do the rest:

- the *dispatcher* drains the mailboxes for which something has changed (a log grew, a receipt
  came, a connection has room again) into their connections' outboxes;
- the *replay readers* answer an inbox that is behind with pages of the log;
- the timers wake an inbox when a backoff or a silence is over, and write cursors behind.

What is posted never waits for any of this: an agent that is slow or away costs a cursor.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

import attrs
import structlog
import trio

from ..errors import FrameError, StoreError
from ..protocol.delivery_policy import DeliveryPolicy
from ..protocol.inbox import DeadLetter, Delivery, Inbox, PageWanted
from ..protocol.ledger import Run
from ..records import InboxBlock, is_addressed_to
from ..stores import Change, Delete, Put
from ..wire.frames import ReceiptFrame
from ..wire.validation import decode_strictly, encode
from . import paths
from .channels import Channel, LogRecord
from .committer import Committer
from .doorbell import Doorbell
from .timers import Timers

__all__ = ["Binding", "Deliveries", "Mailbox"]

log = structlog.get_logger(__name__)

# Pages are read side by side, so that one long log does not hold up the others.
_REPLAY_READERS = 4
# How many cursors go into one commit.
_CURSORS_PER_COMMIT = 500


class Binding(Protocol):
    """A connection, as far as deliveries go."""

    @property
    def has_room(self) -> bool:
        """Whether its outbox should be given more."""
        ...

    def deliver(self, agent_id: str, delivery: Delivery[bytes]) -> bool:
        """Send an envelope. False where it is larger than the peer takes."""
        ...


@attrs.frozen
class SavedCursor:
    """A cursor as it stands in the store."""

    cursor: int = 0
    settled: tuple[Run, ...] = ()


@attrs.define(eq=False)
class Mailbox:
    """
    One agent's deliveries.

    Attributes:
        binding: The connection it is bound to, or None while it is away.
        limits: How much may wait, by the agent's rule.
        backlog: Deliveries that are due, while the connection's outbox is full.
        saved: Cursors of channels that are cold.
        wakes_at: When the timers will look at the inbox anyway.
    """

    agent_id: str
    inbox: Inbox[bytes]
    limits: InboxBlock
    binding: Binding | None = None
    backlog: deque[Delivery[bytes]] = attrs.field(factory=deque)
    saved: dict[str, SavedCursor] = attrs.field(factory=dict)
    wakes_at: float | None = None


class _Owing:
    """Counts what a channel owes to each of its participants, while its log is read."""

    def __init__(self, channel: Channel, mailboxes: list[Mailbox]) -> None:
        self._channel = channel
        self._rows = [
            (mailbox, mailbox.saved.pop(channel.channel_id, SavedCursor())) for mailbox in mailboxes
        ]
        self._owed = [0] * len(self._rows)
        self._from = min((saved.cursor for _, saved in self._rows), default=0)

    def add(self, record: LogRecord) -> None:
        """Count one record."""
        if record.envelope is None or record.position < self._from:
            return
        for index, (mailbox, saved) in enumerate(self._rows):
            if (
                record.position >= saved.cursor
                and not any(start <= record.position < stop for start, stop in saved.settled)
                and is_addressed_to(record.envelope, mailbox.agent_id)
            ):
                self._owed[index] += 1

    def done(self) -> None:
        """Hand the counts to the inboxes."""
        channel_id, length = self._channel.channel_id, self._channel.length
        for (mailbox, saved), owed in zip(self._rows, self._owed, strict=True):
            try:
                mailbox.inbox.restore(
                    channel_id,
                    length=length,
                    cursor=saved.cursor,
                    settled=saved.settled,
                    owed=owed,
                )
            except ValueError as error:
                # A cursor of another log: better twice than never.
                log.warning(
                    "cursor set aside",
                    agent_id=mailbox.agent_id,
                    channel_id=channel_id,
                    error=str(error),
                )
                mailbox.inbox.restore(channel_id, length=length)


class Deliveries:
    """
    All mailboxes.

    Args:
        committer: Writes cursors and dead letters.
        timers: Wake inboxes.
        read_log: Reads a slice of a channel's log.
        find_channel: Returns a channel by id.
        policy: What applies where a rule says nothing else.
        rng: Source of jitter.
        cursor_flush_seconds: How far behind cursors may be written.
    """

    def __init__(
        self,
        *,
        committer: Committer,
        timers: Timers,
        read_log: Callable[[Channel, int, int], Awaitable[list[LogRecord]]],
        find_channel: Callable[[str], Channel | None],
        policy: DeliveryPolicy,
        rng: random.Random,
        cursor_flush_seconds: float,
    ) -> None:
        self._committer = committer
        self._timers = timers
        self._read_log = read_log
        self._find_channel = find_channel
        self._policy = policy
        self._rng = rng
        self._cursor_flush_seconds = cursor_flush_seconds
        self._mailboxes: dict[str, Mailbox] = {}
        # Sets that keep their order, so that a run is the same each time.
        self._ready: dict[str, Mailbox] = {}
        self._dirty: dict[str, Mailbox] = {}
        self._flush_is_due = False
        self._pages: deque[tuple[Mailbox, PageWanted]] = deque()
        self._dispatch_bell = Doorbell()
        self._page_bell = Doorbell()
        self.delivered = 0
        self.redelivered = 0

    # Agents come and go

    def load(self, documents: Mapping[str, bytes]) -> list[str]:
        """Take the cursors of the store; every agent has been added before."""
        problems: list[str] = []
        for path, data in documents.items():
            agent_id, _, channel_id = path.removeprefix(f"{paths.CURSORS}/").partition("/")
            mailbox = self._mailboxes.get(agent_id)
            if mailbox is None:
                continue
            try:
                saved = decode_strictly(data, SavedCursor, "cursor")
            except FrameError as error:
                problems.append(
                    f"the cursor of {agent_id} in channel {channel_id} is set aside, what it had "
                    f"settled is delivered again: {error}"
                )
                continue
            mailbox.saved[channel_id] = saved
        return problems

    def add_agent(self, agent_id: str, limits: InboxBlock) -> None:
        """Give an agent a mailbox, or the one it has new limits."""
        mailbox = self._mailboxes.get(agent_id)
        if mailbox is None:
            inbox: Inbox[bytes] = Inbox(self._policy, self._rng)
            self._mailboxes[agent_id] = Mailbox(agent_id, inbox, limits)
        else:
            mailbox.limits = limits

    def remove_agent(self, agent_id: str, channels: Iterable[Channel]) -> None:
        """Take an agent's mailbox away, and its cursors in `channels` out of the store."""
        if self._mailboxes.pop(agent_id, None) is None:
            return
        self._ready.pop(agent_id, None)
        self._dirty.pop(agent_id, None)
        changes: list[Change] = [
            Delete(paths.cursor(agent_id, channel.channel_id)) for channel in channels
        ]
        if changes:
            self._committer.submit(changes)

    def owed(self, agent_id: str) -> int:
        """Return how many envelopes are unsettled, as far as the agent's channels are warm."""
        mailbox = self._mailboxes.get(agent_id)
        return 0 if mailbox is None else mailbox.inbox.owed

    def is_full(self, agent_id: str) -> bool:
        """Whether an inbox is owed as much as its rule allows, and new posts are to be refused."""
        mailbox = self._mailboxes.get(agent_id)
        if mailbox is None or mailbox.limits.overflow != "reject":
            return False
        return 0 < mailbox.limits.max_pending <= mailbox.inbox.owed

    def binding_of(self, agent_id: str) -> Binding | None:
        """Return the connection that an agent is bound to."""
        mailbox = self._mailboxes.get(agent_id)
        return None if mailbox is None else mailbox.binding

    def is_unread(self, agent_id: str, channel: Channel) -> bool:
        """Whether a cold channel may owe something to an agent."""
        mailbox = self._mailboxes.get(agent_id)
        if mailbox is None or channel.machine is not None:
            return False
        saved = mailbox.saved.get(channel.channel_id, SavedCursor())
        return saved.cursor < channel.length

    # The logs

    def counter(self, channel: Channel) -> _Owing:
        """Return who counts what a channel owes while its log is read."""
        ids = channel.metadata.participant_ids
        return _Owing(channel, [self._mailboxes[it] for it in ids if it in self._mailboxes])

    def extended(self, channel: Channel, records: list[LogRecord]) -> None:
        """Hand durable records to everybody who takes part."""
        channel_id = channel.channel_id
        ready, mailboxes = self._ready, self._mailboxes
        for agent_id in channel.metadata.participant_ids:
            mailbox = mailboxes.get(agent_id)
            if mailbox is None:
                continue
            inbox = mailbox.inbox
            for record in records:
                envelope = record.envelope
                if envelope is None:
                    inbox.extended(channel_id, record.position, "", b"", addressed=False)
                    continue
                addressed = is_addressed_to(envelope, agent_id)
                inbox.extended(
                    channel_id, record.position, envelope.envelope_id, record.raw, addressed
                )
            self._mark_dirty(mailbox)
            if mailbox.binding is not None:
                ready[agent_id] = mailbox
        if ready:
            self._dispatch_bell.ring()

    # The connections

    def attach(self, agent_id: str, binding: Binding, *, replays: bool = True) -> Binding | None:
        """
        Bind an agent to a connection and begin its replay.

        Args:
            replays: Deliver what is unsettled, not only what comes from now on.

        Returns:
            The connection that it was bound to before, which should be told.
        """
        mailbox = self._mailboxes[agent_id]
        before, mailbox.binding = mailbox.binding, binding
        mailbox.backlog.clear()
        mailbox.inbox.attach()
        self._wake(mailbox)
        return before if before is not binding else None

    def detach(self, agent_id: str, binding: Binding) -> None:
        """Unbind an agent, if it is still bound to that connection."""
        mailbox = self._mailboxes.get(agent_id)
        if mailbox is None or mailbox.binding is not binding:
            return
        mailbox.binding = None
        mailbox.backlog.clear()
        mailbox.inbox.detach()

    def resume(self, agent_id: str, channel: Channel, position: int) -> None:
        """Believe an agent that it has processed a channel up to and including `position`."""
        mailbox = self._mailboxes[agent_id]
        if mailbox.inbox.resume(channel.channel_id, position, trio.current_time()):
            self._mark_dirty(mailbox)

    def receipt(self, frame: ReceiptFrame) -> None:
        """Take a receipt from the connection that its recipient is bound to."""
        mailbox = self._mailboxes.get(frame.recipient_id)
        if mailbox is None:
            return
        now = trio.current_time()
        inbox = mailbox.inbox
        if frame.status == "ack":
            inbox.ack(frame.channel_id, frame.envelope_id, now)
        elif frame.status == "nack":
            if inbox.nack(frame.channel_id, frame.envelope_id, now, frame.reason):
                log.info(
                    "envelope nacked",
                    agent_id=frame.recipient_id,
                    channel_id=frame.channel_id,
                    envelope_id=frame.envelope_id,
                )
        else:
            inbox.progress(frame.channel_id, frame.envelope_id, now)
        self._mark_dirty(mailbox)
        self._wake(mailbox)

    def room_again(self, agent_ids: Iterable[str]) -> None:
        """A connection that was full has room for what these agents are owed."""
        for agent_id in agent_ids:
            mailbox = self._mailboxes.get(agent_id)
            if mailbox is not None:
                self._wake(mailbox)

    # Tasks of the hub's nursery

    async def run_dispatcher(self) -> None:
        """Drain what changed into the outboxes, until cancelled."""
        while True:
            await self._dispatch_bell.answer()
            while self._ready:
                ready, self._ready = self._ready, {}
                for mailbox in ready.values():
                    self._pump(mailbox)

    async def run_replay(self) -> None:
        """Read the pages that inboxes want, until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(_REPLAY_READERS):
                nursery.start_soon(self._run_reader)

    async def _run_reader(self) -> None:
        while True:
            await self._page_bell.answer()
            while self._pages:
                mailbox, page = self._pages.popleft()
                if self._pages:
                    self._page_bell.ring()
                await self._answer(mailbox, page)

    async def _answer(self, mailbox: Mailbox, page: PageWanted) -> None:
        channel = self._find_channel(page.channel_id)
        try:
            if channel is None:
                raise StoreError(f"channel {page.channel_id} is gone")
            records = await self._read_log(channel, page.start, page.stop)
        except StoreError as error:
            log.warning("replay read failed", channel_id=page.channel_id, error=str(error))
            mailbox.inbox.read_failed(page.channel_id, page.start, trio.current_time())
            self._wake(mailbox)
            return
        found: list[tuple[str, bytes | None]] = []
        for record in records:
            if record.envelope is None or not is_addressed_to(record.envelope, mailbox.agent_id):
                found.append(("", None))
            else:
                found.append((record.envelope.envelope_id, record.raw))
        if mailbox.inbox.loaded(page.channel_id, page.start, found):
            self._mark_dirty(mailbox)
        self._wake(mailbox)

    # Inside

    def _wake(self, mailbox: Mailbox) -> None:
        self._ready[mailbox.agent_id] = mailbox
        self._dispatch_bell.ring()

    def _pump(self, mailbox: Mailbox) -> None:
        binding = mailbox.binding
        if binding is None:
            return
        backlog = mailbox.backlog
        while True:
            while backlog:
                if not binding.has_room:
                    return
                self._send(mailbox, binding, backlog.popleft())
            work = mailbox.inbox.poll(trio.current_time())
            if not work:
                break
            backlog.extend(work.sends)
            for page in work.reads:
                self._pages.append((mailbox, page))
                self._page_bell.ring()
            for letter in work.dead:
                self._bury(mailbox, letter)
        self._schedule(mailbox)

    def _send(self, mailbox: Mailbox, binding: Binding, delivery: Delivery[bytes]) -> None:
        if binding.deliver(mailbox.agent_id, delivery):
            self.delivered += 1
            if delivery.attempt > 1:
                self.redelivered += 1
            return
        reason = f"undeliverable: {len(delivery.payload)} bytes are more than the peer can take"
        letter = DeadLetter(
            delivery.channel_id,
            delivery.position,
            delivery.envelope_id,
            delivery.attempt,
            reason,
        )
        self._bury(mailbox, letter)
        mailbox.inbox.settle(delivery.channel_id, delivery.position, trio.current_time())

    def _schedule(self, mailbox: Mailbox) -> None:
        due = mailbox.inbox.wake_at()
        if due is None or (mailbox.wakes_at is not None and mailbox.wakes_at <= due):
            return
        mailbox.wakes_at = due

        def ring() -> None:
            if mailbox.wakes_at == due:
                mailbox.wakes_at = None
            self._wake(mailbox)

        self._timers.call_at(due, ring)

    def _bury(self, mailbox: Mailbox, letter: DeadLetter) -> None:
        log.warning(
            "dead letter",
            agent_id=mailbox.agent_id,
            channel_id=letter.channel_id,
            envelope_id=letter.envelope_id,
            attempts=letter.attempts,
        )

        def buried() -> None:
            mailbox.inbox.buried(letter.channel_id, letter.position)
            self._mark_dirty(mailbox)

        path = paths.dead_letter(mailbox.agent_id, letter.envelope_id)
        self._committer.submit([Put(path, encode(letter))], on_durable=buried)

    def _mark_dirty(self, mailbox: Mailbox) -> None:
        self._dirty[mailbox.agent_id] = mailbox
        if not self._flush_is_due:
            self._flush_is_due = True
            self._timers.call_in(self._cursor_flush_seconds, self.flush_cursors)

    def flush_cursors(self) -> None:
        """Submit the cursors that have changed. A cursor that is lost only redelivers."""
        self._flush_is_due = False
        dirty, self._dirty = self._dirty, {}
        changes: list[Change] = []
        for mailbox in dirty.values():
            for snapshot in mailbox.inbox.dirty():
                saved = SavedCursor(snapshot.cursor, snapshot.settled)
                path = paths.cursor(mailbox.agent_id, snapshot.channel_id)
                changes.append(Put(path, encode(saved)))
        for start in range(0, len(changes), _CURSORS_PER_COMMIT):
            self._committer.submit(changes[start : start + _CURSORS_PER_COMMIT])
