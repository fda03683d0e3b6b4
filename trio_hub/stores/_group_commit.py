"""
Many callers, one transaction: batches that wait together share one sync.

There is no writer task. The first caller to find nobody at work *leads*: it takes everything that
waits, has it written in one trip to a thread, settles all of it, and hands the lead to whoever
came meanwhile. So a lone batch costs one thread trip and nothing else, and the busier it gets
the more share a sync, without any delay that somebody would have to tune.

A batch is in one of two states that matter for cancellation. While it *waits* it can be
withdrawn, and nothing has happened. Once it is *taken* it is carried through, and its caller
stays for the result, cancelled or not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import attrs
import trio

from ..errors import StoreError
from .base import Change

__all__ = ["GROUP_CHANGES_MAX", "GroupCommit", "Outcome"]

Outcome = tuple[int, ...] | StoreError

#: Changes in one transaction, unless a single batch has more. It bounds how long those who come
#: next wait, and how much one failure takes with it.
GROUP_CHANGES_MAX = 8192


@attrs.define(eq=False)
class _Ticket:
    changes: Sequence[Change]
    taken: bool = False
    leads: bool = False
    outcome: Outcome | None = None
    woken: trio.Event = attrs.field(factory=trio.Event)

    def settle(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.woken.set()


class GroupCommit:
    """
    The queue in front of a writer.

    Args:
        write: Runs in a thread, never twice at once. Given batches in order, it answers for
            each with its positions or with the `StoreError` that concerns it alone; it raises
            `StoreError` where the whole transaction failed, or was never begun.
        on_kept: Called on Trio's thread with the batches that are now durable.
        on_failed: Called on Trio's thread when a whole transaction failed.
    """

    def __init__(
        self,
        write: Callable[[list[Sequence[Change]]], list[Outcome]],
        *,
        on_kept: Callable[[Sequence[Sequence[Change]]], None],
        on_failed: Callable[[StoreError], None],
    ) -> None:
        self._write = write
        self._on_kept = on_kept
        self._on_failed = on_failed
        self._waiting: deque[_Ticket] = deque()
        self._led = False
        self._idle = trio.Event()
        self._idle.set()
        self._limiter = trio.CapacityLimiter(1)

    async def commit(self, changes: Sequence[Change]) -> tuple[int, ...]:
        """
        Have `changes` written in their turn; return the positions of the appended records.

        Raises:
            StoreError: This batch was refused, or the transaction it was part of failed, or one
                failed that it had waited behind.

        Cancellation: raises `trio.Cancelled` only where nothing has happened. A batch that was
        already taken is carried through, and this returns (or raises) its result.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        ticket = _Ticket(changes)
        self._waiting.append(ticket)
        if self._led:
            await self._wait_for_turn(ticket)
        else:
            assert len(self._waiting) == 1, "batches wait and nobody leads"
            self._led = ticket.leads = True
            self._idle = trio.Event()
        if ticket.leads:
            await self._lead(ticket)
        assert ticket.outcome is not None
        if isinstance(ticket.outcome, StoreError):
            raise ticket.outcome
        return ticket.outcome

    async def wait_idle(self) -> None:
        """Wait until every batch that was given to `commit` is settled."""
        while self._led:
            await self._idle.wait()

    async def alone(self, work: Callable[[], None]) -> None:
        """Run `work` in a thread while no group is being written. Cancellation: as `to_thread`."""
        await trio.to_thread.run_sync(work, limiter=self._limiter)

    async def _wait_for_turn(self, ticket: _Ticket) -> None:
        try:
            await ticket.woken.wait()
        except BaseException:
            if ticket.outcome is None and not ticket.taken:
                self._withdraw(ticket)
                raise
            # Taken in the very moment of the cancellation, or before it. Returning the result
            # keeps the rule that Cancelled means "nothing happened"; Trio delivers it next.
            with trio.CancelScope(shield=True):
                await ticket.woken.wait()

    def _withdraw(self, ticket: _Ticket) -> None:
        self._waiting.remove(ticket)
        if ticket.leads:
            self._pass_on()

    def _pass_on(self) -> None:
        if self._waiting:
            self._waiting[0].leads = True
            self._waiting[0].woken.set()
        else:
            self._led = False
            self._idle.set()

    async def _lead(self, ticket: _Ticket) -> None:
        group = self._take()
        assert group[0] is ticket, "the leader stands first in line"
        batches = [taken.changes for taken in group]
        try:
            with trio.CancelScope(shield=True):
                outcomes = await trio.to_thread.run_sync(
                    self._write, batches, limiter=self._limiter
                )
        except StoreError as exc:
            self._fail_all(group, exc)
            return
        except BaseException as exc:
            self._fail_all(group, StoreError(f"the commit was broken off by {exc!r}"))
            raise
        finally:
            self._pass_on()
        assert len(outcomes) == len(group), "one outcome for each batch"
        kept = [
            batch
            for batch, outcome in zip(batches, outcomes, strict=True)
            if not isinstance(outcome, StoreError)
        ]
        for taken, outcome in zip(group, outcomes, strict=True):
            taken.settle(outcome)
        self._on_kept(kept)

    def _take(self) -> list[_Ticket]:
        group: list[_Ticket] = []
        changes = 0
        while self._waiting:
            changes += len(self._waiting[0].changes)
            if group and changes > GROUP_CHANGES_MAX:
                break
            ticket = self._waiting.popleft()
            ticket.taken = True
            group.append(ticket)
        return group

    def _fail_all(self, group: list[_Ticket], cause: StoreError) -> None:
        # Those who already wait may build on what was just lost, so they fail with it. Each gets
        # an exception of its own: one that is raised in many tasks would collect their tracebacks.
        for ticket in group:
            ticket.settle(_copy(cause, cause.message))
        while self._waiting:
            self._waiting.popleft().settle(
                _copy(cause, f"a commit before this one failed, so it was not tried: {cause}")
            )
        self._on_failed(cause)


def _copy(cause: StoreError, message: str) -> StoreError:
    error = StoreError(message)
    error.__cause__ = cause.__cause__
    return error
