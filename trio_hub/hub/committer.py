"""
The way to the store: what is submitted is committed in that order, and settled in that order.

Submitting never blocks and has no checkpoint, so that a channel can plan, apply and submit
without anybody coming in between.

A `SubmittingStore` groups for itself, and tickets go straight to it. For any other store the
committer's task gathers: while one commit is under way, whatever comes meanwhile waits for the
next one and shares it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import attrs
import trio

from .._histogram import SECONDS, Histogram
from .._logging import get_logger
from ..errors import StoreError
from ..stores import Change, KnowledgeStore, Outcome, SubmittingStore
from .doorbell import Doorbell
from .turn import Turn

__all__ = ["Committer", "Ticket"]

log = get_logger(__name__)

# Enough to share a sync between all that a busy moment brings; more only adds latency.
_BATCH_CHANGES_MAX = 2000


@attrs.define(eq=False)
class Ticket:
    """
    Something that was submitted.

    Attributes:
        error: Why it failed; None while it waits and once it is durable.
        submitted_at: When it was, by a clock for measuring.
    """

    changes: Sequence[Change]
    on_durable: Callable[[], None] | None
    on_failed: Callable[[StoreError], None] | None
    done: bool = False
    error: StoreError | None = None
    submitted_at: float = attrs.field(factory=time.perf_counter)
    _event: trio.Event | None = None
    _callbacks: list[Callable[[StoreError | None], None]] = attrs.field(factory=list)

    def when_settled(self, callback: Callable[[StoreError | None], None]) -> None:
        """Call `callback` with how it ended: now, or when it has."""
        if self.done:
            callback(self.error)
        else:
            self._callbacks.append(callback)

    async def wait(self) -> None:
        """
        Return once it is durable.

        Raises:
            StoreError: It could not be kept, as far as is known.

        Cancellation: only the waiting ends; what was submitted is carried through.
        """
        if not self.done:
            if self._event is None:
                self._event = trio.Event()
            await self._event.wait()
        if self.error is not None:
            # One error may be met by many; each raises its own, so that tracebacks do not mix.
            raise StoreError(self.error.message) from self.error

    def settle(self, error: StoreError | None, answered: Callable[[], None] | None = None) -> None:
        """
        Tell everybody who cares how it ended.

        Args:
            answered: Called when those who asked have been answered. They come first where it
                is durable, because they wait; what follows from it comes after.
        """
        self.done = True
        self.error = error
        if error is not None and self.on_failed is not None:
            self.on_failed(error)
        for callback in self._callbacks:
            callback(error)
        if answered is not None:
            answered()
        if error is None and self.on_durable is not None:
            self.on_durable()
        if self._event is not None:
            self._event.set()


class Committer:
    """
    Writes to a store for the whole hub.

    Args:
        store: An open store.
        turn: What is settled together is settled in one turn of it.

    Attributes:
        commits: Tickets that were kept.
        failures: How often the store could not keep what it was given.
        seconds: From the submission of a ticket until it was durable.
    """

    def __init__(self, store: KnowledgeStore, turn: Turn | None = None) -> None:
        self._store = store
        self._turn = turn if turn is not None else Turn()
        self._submit_to_store = store.submit if isinstance(store, SubmittingStore) else None
        self._waiting: list[Ticket] = []
        # With the store, and not settled yet.
        self._under_way = 0
        self._doorbell = Doorbell()
        self._idle = trio.Event()
        self._idle.set()
        # What a ticket's callback has raised: a mistake of this program, for `run` to raise.
        self._crash: BaseException | None = None
        # Whether a failure among those that are being settled was told of: it takes many tickets.
        self._told = False
        self.commits = 0
        self.failures = 0
        self.seconds = Histogram(SECONDS)

    @property
    def waiting(self) -> int:
        """How many tickets are not settled."""
        return len(self._waiting) + self._under_way

    def submit(
        self,
        changes: Sequence[Change],
        on_durable: Callable[[], None] | None = None,
        on_failed: Callable[[StoreError], None] | None = None,
    ) -> Ticket:
        """
        Queue `changes`, to be kept together or not at all. Never blocks.

        Args:
            on_durable: Called when they are durable, in the order of submission, before any
                waiter runs.
            on_failed: Called instead when the store could not keep them.
        """
        ticket = Ticket(changes, on_durable, on_failed)
        if self._submit_to_store is None:
            if not self._waiting:
                self._doorbell.ring()
            self._waiting.append(ticket)
        else:
            # First, for it refuses what is no batch, and then nothing is under way.
            self._submit_to_store(
                changes, partial(self._settled, ticket), after=self._after_settling
            )
            self._under_way += 1
        if self._idle.is_set():
            self._idle = trio.Event()
        return ticket

    async def commit(self, changes: Sequence[Change]) -> None:
        """Submit `changes` and wait until they are durable. See `Ticket.wait`."""
        await self.submit(changes).wait()

    async def flushed(self) -> None:
        """Wait until nothing is waiting or under way."""
        await self._idle.wait()

    async def caught_up(self) -> None:
        """
        Wait until what was submitted before this call is durable, whatever comes after it.

        Raises:
            StoreError: It could not be kept, as far as is known.

        Cancellation: only the waiting ends.
        """
        if not self._idle.is_set():
            await self.submit(()).wait()

    async def run(self) -> None:
        """
        Write until cancelled. What is with the store is carried through first, so that every
        ticket of it is settled; what still waits then fails.
        """
        try:
            while True:
                await self._doorbell.answer()
                if self._crash is not None:
                    raise self._crash
                with trio.CancelScope(shield=True):
                    while self._waiting:
                        await self._commit_some()
                self._note_idle()
        finally:
            with trio.CancelScope(shield=True):
                while self._under_way:
                    await self._idle.wait()
            waiting, self._waiting = self._waiting, []
            self._settle_all(waiting, StoreError("the hub has closed before this could be kept"))
            self._note_idle()

    # Through a store that takes tickets

    def _settled(self, ticket: Ticket, result: Outcome) -> None:
        """Called by the store, which must not hear of our mistakes."""
        turn = self._turn
        # Whoever is the first of many is answered at once, and can go on while we do.
        answered = None if turn.is_on else turn.cork.write_out
        turn.begin()
        self._under_way -= 1
        try:
            if isinstance(result, StoreError):
                self._tell_of_failure(result)
                ticket.settle(result)
            else:
                self._note_kept(ticket)
                ticket.settle(None, answered)
        except BaseException as error:
            self._crash_with(error)

    def _note_kept(self, ticket: Ticket) -> None:
        self.commits += 1
        self.seconds.observe(time.perf_counter() - ticket.submitted_at)

    def _after_settling(self) -> None:
        self._told = False
        try:
            self._turn.end()
        except BaseException as error:
            self._crash_with(error)
        self._note_idle()

    def _tell_of_failure(self, error: StoreError) -> None:
        if not self._told:
            self._told = True
            self.failures += 1
            log.error("commit failed", exc_info=error)

    def _crash_with(self, error: BaseException) -> None:
        self._crash = self._crash or error
        self._doorbell.ring()

    # Through any other

    async def _commit_some(self) -> None:
        batch, changes = self._take()
        try:
            if changes:
                await self._store.commit(changes)
        except StoreError as error:
            self.failures += 1
            log.exception("commit failed", tickets=len(batch))
            # Those that wait were planned on top of what has just failed, and not only where they
            # touch the same path: an id counts on the floor of ids that was to be kept before it.
            # So none of them is tried alone.
            waiting, self._waiting = self._waiting, []
            self._settle_all(batch + waiting, error)
            return
        for ticket in batch:
            self._note_kept(ticket)
        self._settle_all(batch, None)

    def _take(self) -> tuple[list[Ticket], list[Change]]:
        changes: list[Change] = []
        taken = 0
        for ticket in self._waiting:
            if taken and len(changes) + len(ticket.changes) > _BATCH_CHANGES_MAX:
                break
            changes.extend(ticket.changes)
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return batch, changes

    def _settle_all(self, tickets: Sequence[Ticket], error: StoreError | None) -> None:
        with self._turn:
            for ticket in tickets:
                ticket.settle(error)

    def _note_idle(self) -> None:
        if not (self._waiting or self._under_way):
            self._idle.set()
