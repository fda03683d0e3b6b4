"""
Deliveries: from the logs to the connections, and the receipts back.

Every registered agent has a `Mailbox`: the pure `Inbox` that decides what is sent when, and the
connection that the agent is bound to, if any. The *dispatcher* drains the mailboxes for which
something has changed (a log grew, a receipt came, a page was read, a connection has room again)
into their connections' outboxes: see `Dispatcher`. What an inbox is behind with is read by `Replay`; cursors are
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
from ..protocol.inbox import DeadLetter, Inbox
from ..protocol.trimming import Needs
from ..records import DeliveryRule, Envelope, InboxBlock, KeptLetter
from ..stores import Change, Delete
from ..wire.frames import ReceiptFrame
from . import paths
from .admission import Refusal
from .announcer import Announcer
from .channel import Channel, Owing
from .committer import Committer
from .cursors import CursorWriter, load_cursors
from .dead_letters import DeadLetterBox
from .dispatcher import Dispatcher
from .leavings import Leavings
from .letter_replay import LetterReplay
from .log_record import LogRecord
from .mailbox import Binding, Mailbox, SavedCursor, kept_payload
from .overflow import Overflow
from .owing import OwingCounter, owing_of
from .replay import Replay
from .spans import HubSpans
from .timers import Timers
from .turn import Turn

__all__ = ["Deliveries"]

log = get_logger(__name__)


class Deliveries:
    """
    All mailboxes.

    Args:
        committer: Writes cursors and dead letters.
        turn: At its end, what has changed is looked at.
        timers: Wake inboxes.
        letters: Takes what cannot be delivered.
        read_log: Reads a slice of a channel's log, or the beginning of it.
        read_raw: Reads one record as it stands there; nothing where it cannot be read.
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
        read_raw: Callable[[Channel, int], Awaitable[bytes]],
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
        self._letters = letters
        self._find_channel = find_channel
        self._refusal = refusal
        self._announcer = announcer
        self._spans = spans
        self._policy = policy
        self._rng = rng
        self._mailboxes: dict[str, Mailbox] = {}
        self._cursors = CursorWriter(committer, timers, cursor_flush_seconds)
        self._leavings = Leavings(self._mailboxes, letters, self._cursors, announcer, clock)
        self._moment = self._leavings.moment
        self._overflow = Overflow(
            read_log, find_channel, self._leavings.bury, announcer.inbox_pressure
        )
        self._dispatcher = Dispatcher(
            turn, timers, self._cursors, self._overflow, self._leavings, spans
        )
        changed = self._leavings.changed = self._dispatcher.changed
        self._replay = Replay(read_log, read_raw, find_channel, self._admits, self._moment, changed)
        self._letter_replay = LetterReplay(
            letters,
            self._replay,
            timers,
            policy.ack_wait_seconds,
            self._moment,
            self._dispatcher.count_redelivery,
        )
        self._dispatcher.want_page = self._replay.want
        self._dispatcher.want_raw = self._replay.want_raw
        self._dispatcher.pump_letters = self._letter_replay.pump
        #: What was said of deliveries.
        self.receipts = {"ack": 0, "nack": 0, "progress": 0}
        #: By type of channel, how many envelopes went into a log, the hub's own included.
        self.posted: Counter[str] = Counter()

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._dispatcher.run)
            nursery.start_soon(self._replay.run)
            nursery.start_soon(self._overflow.run)

    @property
    def mailboxes(self) -> Mapping[str, Mailbox]:
        """By agent id."""
        return self._mailboxes

    @property
    def delivered(self) -> int:
        """How many envelopes were given to connections."""
        return self._dispatcher.delivered

    @property
    def redelivered(self) -> int:
        """How many of them not for the first time."""
        return self._dispatcher.redelivered

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
            mailbox.obey(limits)

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
        mailbox = self._mailboxes.pop(agent_id, None)
        if mailbox is None:
            return
        # What is being read for it comes to nothing.
        mailbox.binding = None
        mailbox.clear()
        self._dispatcher.forget(agent_id)
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

    def unsettled_from(self, agent_id: str, channel: Channel) -> int | None:
        """Return from where on something may be unsettled in a warm channel; None: nothing is."""
        mailbox = self._mailboxes.get(agent_id)
        if mailbox is None or channel.machine is None:
            return None
        cursor = _settled_to(mailbox.inbox, channel.channel_id)
        return cursor if cursor < channel.length else None

    def is_owing(self, channel: Channel) -> bool:
        """Whether a warm channel owes something to anybody, dead letters included."""
        channel_id = channel.channel_id
        mailboxes = [self._mailboxes.get(it) for it in channel.recipients.ids]
        return any(
            not mailbox.inbox.is_settled(channel_id) for mailbox in mailboxes if mailbox is not None
        ) or any(letter.channel_id == channel_id for letter in self._letters)

    def needs_of(self, channel: Channel, *, has_task: bool) -> Needs:
        """Return what the log of a warm channel is needed for, as far as deliveries know."""
        channel_id = channel.channel_id
        members = [self._mailboxes[it] for it in channel.recipients.ids if it in self._mailboxes]
        letters = [it.position for it in self._letters if it.channel_id == channel_id]
        return Needs(
            length=channel.length,
            settled=[_settled_to(it.inbox, channel_id) for it in members],
            letters=[
                *letters,
                *(at for it in members for at in it.inbox.unburied.get(channel_id, ())),
            ],
            has_task=has_task,
        )

    # The logs (see `LogListener`)

    def counter(self, channel: Channel, owing: Mapping[str, Owing]) -> OwingCounter:
        """Return who counts what a channel owes while its log is read."""
        ids = channel.recipients.ids
        mailboxes = [self._mailboxes[it] for it in ids if it in self._mailboxes]
        return OwingCounter(channel, mailboxes, owing)

    def owing(self, channel: Channel) -> dict[str, Owing]:
        """Return what a warm channel owes to whom, for a snapshot of it."""
        ids = channel.recipients.ids
        return owing_of(channel, [self._mailboxes[it] for it in ids if it in self._mailboxes])

    def left(self, channel: Channel, agent_ids: Collection[str]) -> None:
        """Deliver nothing more in a channel to those who take no part in it any more."""
        channel_id = channel.channel_id
        for agent_id in agent_ids:
            mailbox = self._mailboxes.get(agent_id)
            if mailbox is not None:
                mailbox.leave(channel_id)
                # What the channel held of the window is free for others.
                self._dispatcher.changed(mailbox)
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
        moments: dict[int, float | None] = {}
        for record in records:
            if record.envelope is not None and record.envelope.ttl_seconds is not None:
                moments[record.position] = self._moment(record.envelope)
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
                    kept_payload(record.raw),
                    addressed,
                    moments.get(record.position) if moments else None,
                )
            self._dispatcher.touched(mailbox)

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
        mailbox.clear()
        mailbox.inbox.attach(replays=replays)
        self._dispatcher.changed(mailbox)
        self._letter_replay.attached(mailbox, replays=replays)
        return before if before is not binding else None

    def detach(self, agent_id: str, binding: Binding) -> None:
        """Unbind an agent, if it is still bound to that connection."""
        mailbox = self._mailboxes.get(agent_id)
        if mailbox is None or mailbox.binding is not binding:
            return
        mailbox.binding = None
        mailbox.clear()
        mailbox.inbox.detach()
        if self._spans is not None:
            self._spans.detached(agent_id)
        self._letter_replay.detached(agent_id)
        self._leavings.take(mailbox, mailbox.inbox.poll(trio.current_time()))

    def resume(self, agent_id: str, channel: Channel, position: int) -> None:
        """Believe an agent that it has processed a channel up to and including `position`."""
        mailbox = self._mailboxes[agent_id]
        if mailbox.inbox.resume(channel.channel_id, position, trio.current_time()):
            self._dispatcher.changed(mailbox)

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
            self._dispatcher.changed(mailbox)
        else:
            self._dispatcher.touched(mailbox)

    def give_up(self, agent_id: str, channel_id: str, position: int, reason: str) -> bool:
        """Bury what its recipient will never take; False where it is not on its way."""
        mailbox = self._mailboxes.get(agent_id)
        if mailbox is None or not mailbox.inbox.give_up(
            channel_id, position, trio.current_time(), reason
        ):
            return False
        self._dispatcher.changed(mailbox)
        return True

    def room_again(self, agent_ids: Iterable[str]) -> None:
        """Go on for agents whose connection was full and has room again."""
        for agent_id in agent_ids:
            mailbox = self._mailboxes.get(agent_id)
            if mailbox is not None:
                self._dispatcher.changed(mailbox)

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


def _settled_to(inbox: Inbox[bytes], channel_id: str) -> int:
    """Return up to where a channel is settled; 0 where the inbox has not heard of it."""
    try:
        return inbox.snapshot(channel_id).cursor
    except KeyError:
        return 0
