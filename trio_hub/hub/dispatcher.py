"""
The dispatcher: looks at the mailboxes that have changed, and gives what they have due to their
connections.

What changes during a turn is looked at when that ends. What changes outside of one wakes a task.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

import attrs
import trio

from ..errors import StoreError
from ..protocol.inbox import Delivery
from ..protocol.inbox_work import PageWanted
from .cursors import CursorWriter
from .doorbell import Doorbell
from .leavings import Leavings
from .mailbox import Binding, Mailbox, too_large
from .overflow import Overflow
from .replay import RawAnswer
from .spans import HubSpans
from .timers import Timers
from .turn import Turn

__all__ = ["Dispatcher"]

# After a read that failed; and how often, until a record is taken for one that cannot be read.
_FETCH_AGAIN_SECONDS = 1.0
_FETCHES_MAX = 10
# Each may be a system call or two. A channel of thousands is served in slices of this many.
_MAILBOXES_IN_A_ROW_MAX = 64


class Dispatcher:
    """
    From mailboxes to connections.

    Args:
        turn: At its end, what has changed is looked at.
        timers: Wake inboxes.
        cursors: Writes down what was settled.
        overflow: Told of whom something is owed to.
        leavings: Takes what cannot be delivered.
        spans: Where the application traces.

    Attributes:
        delivered: How many envelopes were given to connections.
        redelivered: How many of them not for the first time.
        want_page: Called with what a mailbox is behind with; for `Replay`.
        want_raw: Called with what is to be sent and was too large to be kept; for `Replay`.
        pump_letters: Called with an agent that was looked at; for `LetterReplay`.
    """

    def __init__(
        self,
        turn: Turn,
        timers: Timers,
        cursors: CursorWriter,
        overflow: Overflow,
        leavings: Leavings,
        spans: HubSpans | None,
    ) -> None:
        self._turn = turn
        turn.dispatch = self._dispatch_some
        self._timers = timers
        self._cursors = cursors
        self._overflow = overflow
        self._leavings = leavings
        self._spans = spans
        # A set that keeps its order, so that a run with the same events is the same run.
        self._ready: dict[str, Mailbox] = {}
        self._bell = Doorbell()
        self.delivered = 0
        self.redelivered = 0
        self.want_page: Callable[[Mailbox, PageWanted], None]
        self.want_raw: Callable[[str, int, Callable[[], bool], RawAnswer], None]
        self.pump_letters: Callable[[str], None]

    async def run(self) -> None:
        """Look at what has changed outside of a turn, until cancelled."""
        while True:
            await self._bell.answer()
            while self._ready:
                with self._turn:
                    pass  # Its end looks at them.
                if self._ready:
                    await trio.lowlevel.checkpoint()

    def changed(self, mailbox: Mailbox) -> None:
        """Have a mailbox looked at, and its cursors written in a while."""
        self._note_change(mailbox)
        if mailbox.binding is not None:
            self._ready[mailbox.agent_id] = mailbox
            if not self._turn.is_on:
                self._bell.ring()

    def touched(self, mailbox: Mailbox) -> None:
        """
        Have a mailbox looked at if there is something to do for it now.

        After most receipts, and with what an agent said itself, there is not. An alarm that is
        set already rings early enough.
        """
        if mailbox.inbox.has_work:
            self.changed(mailbox)
        else:
            self._note_change(mailbox)

    def count_redelivery(self) -> None:
        """Something was delivered once more by somebody else."""
        self.redelivered += 1

    def forget(self, agent_id: str) -> None:
        """An agent is no more."""
        self._ready.pop(agent_id, None)

    # Inside

    def _dispatch_some(self) -> None:
        """Look at mailboxes that have changed; after so many, others have their turn first."""
        ready = self._ready
        if not ready:
            return
        now = trio.current_time()
        for _ in range(min(len(ready), _MAILBOXES_IN_A_ROW_MAX)):
            self._pump(ready.pop(next(iter(ready))), now)
        if ready:
            self._bell.ring()

    def _note_change(self, mailbox: Mailbox) -> None:
        """Take note that what a mailbox is owed has changed."""
        self._overflow.note_pressure(mailbox)
        self._cursors.mark(mailbox)

    def _pump(self, mailbox: Mailbox, now: float) -> None:
        """Send what is due, as far as the connection has room."""
        binding = mailbox.binding
        if binding is None:
            return
        if self._send_due(mailbox, binding, now):
            self.pump_letters(mailbox.agent_id)
            self._schedule(mailbox)
        else:
            # The inbox is not asked, but its cursors are written all the same.
            self._take_gone(mailbox)

    def _send_due(self, mailbox: Mailbox, binding: Binding, now: float) -> bool:
        """Send what is due; False where something of it has to wait."""
        backlog, inbox = mailbox.backlog, mailbox.inbox
        is_polled = False
        # Nothing is read from a log either for who takes nothing.
        while binding.has_room:
            if backlog:
                delivery = backlog[-1]
                if delivery.channel_id in inbox.unburied:
                    return False  # When that is kept, it goes on.
                if not delivery.payload and self._is_to_be_sent(mailbox, delivery):
                    self._fetch(mailbox, delivery)
                    return False
                self._send(mailbox, binding, backlog.pop())
                continue
            if is_polled and not inbox.has_work:
                return True
            work = inbox.poll(now)
            if not work:
                return True
            is_polled = True
            for page in work.reads:
                self.want_page(mailbox, page)
            if work.dead or work.expired:
                self._leavings.take(mailbox, work)
            backlog.extend(reversed(work.sends))
        return False

    def _is_to_be_sent(self, mailbox: Mailbox, delivery: Delivery[bytes]) -> bool:
        """Whether a delivery was not settled while it waited, and has not expired."""
        return (
            delivery.expires is None or delivery.expires > trio.current_time()
        ) and mailbox.inbox.find(delivery.channel_id, delivery.position) is not None

    def _send(self, mailbox: Mailbox, binding: Binding, delivery: Delivery[bytes]) -> None:
        if delivery.expires is not None and delivery.expires <= trio.current_time():
            # It waited for room.
            mailbox.inbox.expire(
                delivery.channel_id, delivery.envelope_id, trio.current_time(), sent=False
            )
            return
        if not delivery.payload:
            return  # It was settled, so nobody has read it.
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
        # At once: what comes behind it in the backlog waits until it is kept.
        self._take_gone(mailbox)

    def _fetch(self, mailbox: Mailbox, delivery: Delivery[bytes]) -> None:
        """Have an envelope read that is to be sent next; what is behind it waits."""
        if mailbox.fetching is not delivery:
            mailbox.fetching = delivery
            self.want_raw(
                delivery.channel_id,
                delivery.position,
                lambda: self._is_due(mailbox, delivery),
                lambda found: self._fetched(mailbox, delivery, found),
            )

    def _is_due(self, mailbox: Mailbox, delivery: Delivery[bytes]) -> bool:
        """Whether what was to be read is still to be: a queue lies in between."""
        binding = mailbox.binding
        if mailbox.fetching is not delivery or binding is None:
            return False
        if not binding.has_room:
            mailbox.fetching = None  # It is asked for again when there is.
        return binding.has_room

    def _fetched(
        self, mailbox: Mailbox, delivery: Delivery[bytes], found: bytes | StoreError
    ) -> None:
        if mailbox.fetching is not delivery:
            return  # Another binding has begun, or its channel was left.
        if isinstance(found, StoreError):
            mailbox.fetches_failed += 1
            if mailbox.fetches_failed < _FETCHES_MAX:
                self._timers.call_in(
                    _FETCH_AGAIN_SECONDS, lambda: self._fetch_again(mailbox, delivery)
                )
                return
        mailbox.fetching = None
        mailbox.fetches_failed = 0
        backlog, inbox, now = mailbox.backlog, mailbox.inbox, trio.current_time()
        channel_id, position = delivery.channel_id, delivery.position
        if backlog and backlog[-1] is delivery:
            backlog.pop()
            if inbox.find(channel_id, position) is None:
                pass  # It was settled meanwhile.
            elif isinstance(found, StoreError):
                inbox.give_up(channel_id, position, now, f"undeliverable: {found.message}")
            elif found:
                backlog.append(attrs.evolve(delivery, payload=found))
            else:
                inbox.settle(channel_id, position, now)
        self.changed(mailbox)

    def _fetch_again(self, mailbox: Mailbox, delivery: Delivery[bytes]) -> None:
        if mailbox.fetching is delivery:
            mailbox.fetching = None
            self.changed(mailbox)

    def _take_gone(self, mailbox: Mailbox) -> None:
        gone = mailbox.inbox.take_gone()
        if gone:
            self._leavings.take(mailbox, gone)

    def _schedule(self, mailbox: Mailbox) -> None:
        """Have the timers look at an inbox when something in it is due."""
        set_for = mailbox.wakes_at
        if set_for is not None and not mailbox.inbox.may_wake_before(set_for):
            return
        due = mailbox.inbox.wake_at()
        if due is None or (set_for is not None and set_for <= due):
            return
        mailbox.wakes_at = due
        # Half an hour from now, most often: by then the agent may be no more.
        remembered = weakref.ref(mailbox)

        def wake() -> None:
            mailbox = remembered()
            if mailbox is not None:
                if mailbox.wakes_at == due:
                    mailbox.wakes_at = None
                self.changed(mailbox)

        self._timers.call_at(due, wake)
