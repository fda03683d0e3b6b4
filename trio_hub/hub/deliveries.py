"""
Deliveries: from the logs to the connections, and the receipts back.

Every registered agent has a `Mailbox`: the pure `Inbox` that decides what is sent when, and the
connection that the agent is bound to, if any. The *dispatcher* drains the mailboxes for which
something has changed (a log grew, a receipt came, a page was read, a connection has room again)
into their connections' outboxes. What an inbox is behind with is read by `Replay`; cursors are
written behind by `CursorWriter`; what exceeds a rule is dropped by `Overflow`.

What is posted never waits for any of this: an agent that is slow or away costs a cursor.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

import trio

from .._logging import get_logger
from ..errors import NotFoundError
from ..ids import Now
from ..protocol.delivery_policy import DeliveryPolicy
from ..protocol.expiry import EXPIRED
from ..protocol.inbox import DeadLetter, Delivery, Inbox, Work
from ..records import DeliveryRule, Envelope, InboxBlock, KeptLetter
from ..stores import Change, Delete
from ..wire.frames import ReceiptFrame
from . import paths
from .admission import Refusal
from .announcer import Announcer
from .channels import Channel, LogRecord
from .committer import Committer
from .cursors import CursorWriter, load_cursors
from .dead_letters import DeadLetterBox
from .doorbell import Doorbell
from .leavings import Leavings
from .letter_replay import LetterReplay
from .mailbox import Binding, Mailbox, OwingCounter, SavedCursor, too_large
from .overflow import Overflow
from .replay import Replay
from .spans import HubSpans
from .timers import Timers
from .turn import Turn

__all__ = ["Deliveries"]

log = get_logger(__name__)

# Each may be a system call or two. A channel of thousands is served in slices of this many.
_MAILBOXES_IN_A_ROW_MAX = 64


class Deliveries:
    """
    All mailboxes.

    Args:
        committer: Writes cursors and dead letters.
        turn: At its end, what has changed is looked at.
        timers: Wake inboxes.
        letters: Takes what cannot be delivered.
        read_log: Reads a slice of a channel's log.
        find_channel: Returns a channel by id.
        refusal: Returns why an envelope is not handed to an agent, or None.
        announcer: Told of posts, of pressure and of what cannot be delivered.
        policy: How deliveries are retried.
        rng: Source of jitter.
        clock: Seconds since 1970.
        cursor_flush_seconds: How far behind cursors may be written.
        spans: Where the application traces.
    """

    def __init__(
        self,
        *,
        committer: Committer,
        turn: Turn,
        timers: Timers,
        letters: DeadLetterBox,
        read_log: Callable[[Channel, int, int], Awaitable[list[LogRecord]]],
        find_channel: Callable[[str], Channel | None],
        refusal: Callable[[Envelope, str], Refusal | None],
        announcer: Announcer,
        policy: DeliveryPolicy,
        rng: random.Random,
        clock: Now,
        cursor_flush_seconds: float,
        spans: HubSpans | None = None,
    ) -> None:
        self._committer = committer
        self._turn = turn
        turn.dispatch = self._dispatch_some
        self._timers = timers
        self._letters = letters
        self._read_log = read_log
        self._find_channel = find_channel
        self._refusal = refusal
        self._announcer = announcer
        self._spans = spans
        self._policy = policy
        self._rng = rng
        self._mailboxes: dict[str, Mailbox] = {}
        # A set that keeps its order, so that a run with the same events is the same run.
        self._ready: dict[str, Mailbox] = {}
        self._bell = Doorbell()
        self._cursors = CursorWriter(committer, timers, cursor_flush_seconds)
        self._leavings = Leavings(self._mailboxes, letters, self._cursors, announcer, clock)
        self._moment = self._leavings.moment
        self._replay = Replay(read_log, find_channel, self._admits, self._moment, self._changed)
        self._overflow = Overflow(
            read_log, find_channel, self._leavings.bury, announcer.inbox_pressure
        )
        self._letter_replay = LetterReplay(
            letters,
            self._replay,
            timers,
            policy.ack_wait_seconds,
            self._moment,
            self._count_letter,
        )
        self.delivered = 0
        self.redelivered = 0
        #: What was said of deliveries.
        self.receipts = {"ack": 0, "nack": 0, "progress": 0}
        #: By type of channel, how many envelopes went into a log, the hub's own included.
        self.posted: Counter[str] = Counter()

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._dispatch)
            nursery.start_soon(self._replay.run)
            nursery.start_soon(self._overflow.run)

    @property
    def mailboxes(self) -> Mapping[str, Mailbox]:
        """By agent id."""
        return self._mailboxes

    @property
    def buried(self) -> int:
        """How many envelopes became dead letters."""
        return self._leavings.buried

    @property
    def expired(self) -> int:
        """How many envelopes were not delivered because their time was over."""
        return self._leavings.expired

    # Agents come and go

    def load(self, documents: Mapping[str, bytes]) -> list[str]:
        """Take the cursors of the store; every agent and dead letter has been added before."""
        problems = load_cursors(documents, self._mailboxes)
        self._leavings.settle_letters()
        return problems

    def add_agent(self, agent_id: str, limits: InboxBlock) -> None:
        """Give an agent a mailbox, or the one it has new limits."""
        mailbox = self._mailboxes.get(agent_id)
        if mailbox is None:
            inbox: Inbox[bytes] = Inbox(self._policy, self._rng)
            self._mailboxes[agent_id] = Mailbox(agent_id, inbox, limits, self._refusal)
        else:
            mailbox.limits = limits

    def obey(self, agent_id: str, rule: DeliveryRule) -> None:
        """Deliver to an agent by the hub's policy, but for what its rule says otherwise."""
        mailbox = self._mailboxes.get(agent_id)
        if mailbox is not None:
            of_rule = rule.max_attempts
            mailbox.inbox.set_max_attempts(
                self._policy.max_attempts if of_rule is None else of_rule
            )

    def remove_agent(self, agent_id: str, channels: Iterable[Channel]) -> None:
        """Take an agent's mailbox away, and what it left in the store."""
        if self._mailboxes.pop(agent_id, None) is None:
            return
        self._ready.pop(agent_id, None)
        self._cursors.forget(agent_id)
        changes: list[Change] = [
            Delete(paths.cursor(agent_id, channel.channel_id)) for channel in channels
        ]
        if changes:
            self._committer.submit(changes)
        self._letter_replay.detached(agent_id)
        self._letters.forget_agent(agent_id)

    def owed(self, agent_id: str) -> int:
        """Return how many envelopes are unsettled, as far as the agent's channels are warm."""
        mailbox = self._mailboxes.get(agent_id)
        return 0 if mailbox is None else mailbox.inbox.owed

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
        # One beyond the end is of another log, and so says nothing about this one.
        return saved.cursor != channel.length

    def is_owing(self, channel: Channel) -> bool:
        """Whether a warm channel owes something to anybody, dead letters included."""
        channel_id = channel.channel_id
        mailboxes = [self._mailboxes.get(it) for it in channel.recipients.ids]
        return any(
            not mailbox.inbox.is_settled(channel_id) for mailbox in mailboxes if mailbox is not None
        ) or any(letter.channel_id == channel_id for letter in self._letters)

    # The logs (see `LogListener`)

    def counter(self, channel: Channel) -> OwingCounter:
        """Return who counts what a channel owes while its log is read."""
        ids = channel.recipients.ids
        return OwingCounter(channel, [self._mailboxes[it] for it in ids if it in self._mailboxes])

    def left(self, channel: Channel, agent_ids: Collection[str]) -> None:
        """Deliver nothing more in a channel to those who take no part in it any more."""
        channel_id = channel.channel_id
        for agent_id in agent_ids:
            mailbox = self._mailboxes.get(agent_id)
            if mailbox is not None:
                mailbox.leave(channel_id)
                # What the channel held of the window is free for others.
                self._changed(mailbox)
        self._committer.submit([Delete(paths.cursor(it, channel_id)) for it in agent_ids])

    def dropped(self, channel: Channel) -> None:
        """Forget a channel that never came to be, or is no more."""
        for agent_id in channel.recipients.ids:
            mailbox = self._mailboxes.get(agent_id)
            if mailbox is not None:
                mailbox.inbox.forget(channel.channel_id)
                mailbox.saved.pop(channel.channel_id, None)

    def extended(self, channel: Channel, records: list[LogRecord]) -> None:
        """Hand durable records to everybody who takes part."""
        if self._announcer.listeners.hear_posts:
            self._announcer.posted(channel.metadata, records)
        self.posted[channel.metadata.manifest.type] += len(records)
        channel_id = channel.channel_id
        is_addressed = channel.recipients.is_addressed
        moments = {
            it.position: self._moment(it.envelope)
            for it in records
            if it.envelope is not None and it.envelope.ttl_seconds is not None
        }
        for agent_id in channel.recipients.ids:
            mailbox = self._mailboxes.get(agent_id)
            if mailbox is None:
                continue
            inbox = mailbox.inbox
            for record in records:
                envelope = record.envelope
                if envelope is None:
                    inbox.extended(channel_id, record.position, "", b"", addressed=False)
                    continue
                addressed = (
                    is_addressed(envelope, agent_id)
                    and self._admits(mailbox, envelope, record.position)
                    and self._overflow.takes(mailbox, envelope, record.position)
                )
                inbox.extended(
                    channel_id,
                    record.position,
                    envelope.envelope_id,
                    record.raw,
                    addressed,
                    moments.get(record.position) if moments else None,
                )
            self._touched(mailbox)

    def _admits(self, mailbox: Mailbox, envelope: Envelope, position: int) -> bool:
        """
        Whether an envelope is handed to a recipient, whom it is addressed to.

        It is asked once, when the window takes it: live, or read back. What is passed over is
        settled with that, and its cursor says so.
        """
        refusal = mailbox.refusal(envelope, mailbox.agent_id)
        if refusal is None:
            return True
        self._announcer.dispatch_failed(envelope, mailbox.agent_id, refusal.error)
        log.debug(
            "envelope not admitted",
            agent_id=mailbox.agent_id,
            channel_id=envelope.channel_id,
            envelope_id=envelope.envelope_id,
        )
        if refusal.is_failure:
            reason = f"undeliverable: {refusal.error.message}"
            letter = DeadLetter(envelope.channel_id, position, envelope.envelope_id, 0, reason)
            self._leavings.bury(mailbox, letter)
        return False

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
        mailbox.inbox.attach(replays=replays)
        self._changed(mailbox)
        self._letter_replay.attached(mailbox, replays=replays)
        return before if before is not binding else None

    def detach(self, agent_id: str, binding: Binding) -> None:
        """Unbind an agent, if it is still bound to that connection."""
        mailbox = self._mailboxes.get(agent_id)
        if mailbox is None or mailbox.binding is not binding:
            return
        mailbox.binding = None
        mailbox.backlog.clear()
        mailbox.inbox.detach()
        if self._spans is not None:
            self._spans.detached(agent_id)
        self._letter_replay.detached(agent_id)
        self._leave(mailbox, mailbox.inbox.poll(trio.current_time()))

    def resume(self, agent_id: str, channel: Channel, position: int) -> None:
        """Believe an agent that it has processed a channel up to and including `position`."""
        mailbox = self._mailboxes[agent_id]
        if mailbox.inbox.resume(channel.channel_id, position, trio.current_time()):
            self._changed(mailbox)

    def receipt(self, frame: ReceiptFrame) -> None:
        """Take a receipt from the connection that its recipient is bound to."""
        mailbox = self._mailboxes.get(frame.recipient_id)
        if mailbox is None:
            return
        self.receipts[frame.status] += 1
        if self._spans is not None:
            self._spans.receipt(frame.recipient_id, frame.envelope_id, frame.status)
        now = trio.current_time()
        inbox, channel_id, envelope_id = mailbox.inbox, frame.channel_id, frame.envelope_id
        match frame.status:
            case "ack" if frame.reason == EXPIRED and inbox.expire(
                channel_id, envelope_id, now, sent=True
            ):
                known = True
            case "ack":
                known = inbox.ack(channel_id, envelope_id, now)
            case "nack":
                known = inbox.nack(channel_id, envelope_id, now, frame.reason)
                log.info(
                    "envelope nacked",
                    agent_id=frame.recipient_id,
                    channel_id=channel_id,
                    envelope_id=envelope_id,
                )
            case "progress":
                known = inbox.progress(channel_id, envelope_id, now)
        if not known:
            self._letter_replay.receipt(frame)
            self._changed(mailbox)
        else:
            self._touched(mailbox)

    def give_up(self, agent_id: str, channel_id: str, position: int, reason: str) -> bool:
        """Bury what its recipient will never take; False where it is not on its way."""
        mailbox = self._mailboxes.get(agent_id)
        if mailbox is None or not mailbox.inbox.give_up(
            channel_id, position, trio.current_time(), reason
        ):
            return False
        self._changed(mailbox)
        return True

    def room_again(self, agent_ids: Iterable[str]) -> None:
        """Go on for agents whose connection was full and has room again."""
        for agent_id in agent_ids:
            mailbox = self._mailboxes.get(agent_id)
            if mailbox is not None:
                self._changed(mailbox)

    def flush_cursors(self) -> None:
        """Submit the cursors that have changed."""
        self._cursors.flush()

    # Dead letters

    async def replay_letter(self, agent_id: str, envelope_id: str) -> KeptLetter:
        """
        Deliver a dead letter once more: now, or when its recipient is back.

        Raises:
            NotFoundError: There is no such letter, or its recipient is no more.
            StoreError: The wish could not be kept.

        Cancellation: it may or may not be replayed.
        """
        self._letters.get(agent_id, envelope_id)
        if agent_id not in self._mailboxes:
            raise NotFoundError(
                f"agent {agent_id} is not registered any more, so nothing can be delivered to "
                "it; discard its letters"
            )
        return await self._letter_replay.ask(agent_id, envelope_id)

    def _count_letter(self) -> None:
        self.redelivered += 1

    # The dispatcher

    async def _dispatch(self) -> None:
        while True:
            await self._bell.answer()
            while self._ready:
                with self._turn:
                    pass  # Its end looks at them.
                if self._ready:
                    await trio.lowlevel.checkpoint()

    def _dispatch_some(self) -> None:
        """Look at mailboxes that have changed; after so many, others have their turn first."""
        ready = self._ready
        for _ in range(min(len(ready), _MAILBOXES_IN_A_ROW_MAX)):
            self._pump(ready.pop(next(iter(ready))))
        if ready:
            self._bell.ring()

    def _changed(self, mailbox: Mailbox) -> None:
        """Have a mailbox looked at, and its cursors written in a while."""
        self._note_change(mailbox)
        if mailbox.binding is not None:
            self._ready[mailbox.agent_id] = mailbox
            if not self._turn.is_on:
                self._bell.ring()

    def _touched(self, mailbox: Mailbox) -> None:
        """
        Have a mailbox looked at if there is something to do for it now.

        After most receipts, and with what an agent said itself, there is not. An alarm that is
        set already rings early enough.
        """
        if mailbox.inbox.has_work:
            self._changed(mailbox)
        else:
            self._note_change(mailbox)

    def _note_change(self, mailbox: Mailbox) -> None:
        """Take note that what a mailbox is owed has changed."""
        self._overflow.note_pressure(mailbox)
        self._cursors.mark(mailbox)

    def _pump(self, mailbox: Mailbox) -> None:
        """Send what is due, as far as the connection has room."""
        binding, backlog = mailbox.binding, mailbox.backlog
        if binding is None:
            return
        while True:
            while backlog:
                if not binding.has_room:
                    return
                self._send(mailbox, binding, backlog.popleft())
            work = mailbox.inbox.poll(trio.current_time())
            if not work:
                break
            for page in work.reads:
                self._replay.want(mailbox, page)
            self._leave(mailbox, work)
            backlog.extend(work.sends)
            if not (backlog or mailbox.inbox.has_work):
                break
        self._letter_replay.pump(mailbox.agent_id)
        self._schedule(mailbox)

    def _leave(self, mailbox: Mailbox, work: Work[bytes]) -> None:
        for letter in work.dead:
            self._leavings.bury(mailbox, letter)
        for envelope in work.expired:
            self._leavings.expire(mailbox, envelope)

    def _send(self, mailbox: Mailbox, binding: Binding, delivery: Delivery[bytes]) -> None:
        if delivery.expires is not None and delivery.expires <= trio.current_time():
            # It waited for room.
            mailbox.inbox.expire(
                delivery.channel_id, delivery.envelope_id, trio.current_time(), sent=False
            )
            return
        if binding.deliver(mailbox.agent_id, delivery):
            self.delivered += 1
            if self._spans is not None:
                self._spans.sent(mailbox.agent_id, delivery)
            if delivery.attempt > 1:
                self.redelivered += 1
            return
        mailbox.inbox.give_up(
            delivery.channel_id, delivery.position, trio.current_time(), too_large(delivery)
        )

    def _schedule(self, mailbox: Mailbox) -> None:
        """Have the timers look at an inbox when something in it is due."""
        due = mailbox.inbox.wake_at()
        if due is None or (mailbox.wakes_at is not None and mailbox.wakes_at <= due):
            return
        mailbox.wakes_at = due

        def wake() -> None:
            if mailbox.wakes_at == due:
                mailbox.wakes_at = None
            self._changed(mailbox)

        self._timers.call_at(due, wake)
