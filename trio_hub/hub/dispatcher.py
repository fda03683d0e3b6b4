"""
The dispatcher: looks at the mailboxes that have changed, and gives what they have due to their
connections.

What changes during a turn is looked at when that ends. What changes outside of one wakes a task.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

import trio

from ..protocol.inbox import Delivery
from ..protocol.inbox_work import PageWanted
from .cursors import CursorWriter
from .doorbell import Doorbell
from .leavings import Leavings
from .mailbox import Binding, Mailbox, too_large
from .overflow import Overflow
from .spans import HubSpans
from .timers import Timers
from .turn import Turn

__all__ = ["Dispatcher"]

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
        binding, backlog, inbox = mailbox.binding, mailbox.backlog, mailbox.inbox
        if binding is None:
            return
        is_polled = False
        while True:
            unburied = inbox.unburied
            while backlog:
                if not binding.has_room:
                    return
                if backlog[-1].channel_id in unburied:
                    # When that is kept, it goes on; the inbox is not asked before.
                    self._bury_dead(mailbox)
                    return
                self._send(mailbox, binding, backlog.pop())
            if is_polled and not inbox.has_work:
                break
            work = inbox.poll(now)
            if not work:
                break
            is_polled = True
            for page in work.reads:
                self.want_page(mailbox, page)
            if work.dead or work.expired:
                self._leavings.take(mailbox, work)
            backlog.extend(reversed(work.sends))
        self.pump_letters(mailbox.agent_id)
        self._schedule(mailbox)

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
        # At once: what comes behind it in the backlog waits until it is kept.
        self._bury_dead(mailbox)

    def _bury_dead(self, mailbox: Mailbox) -> None:
        for letter in mailbox.inbox.take_dead():
            self._leavings.bury(mailbox, letter)

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
