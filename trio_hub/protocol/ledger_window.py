"""
The window of a ledger: what is in flight to one recipient in one channel, and what is to be sent.

- In log order stands first what is in flight, then what is to be sent. A failure moves the border
  back to the envelope that failed, so redelivery is in order too, and nothing newer is sent while
  an older one waits for its backoff.
- A client handles the envelopes of a channel one after another. So silence is blamed on the
  oldest one in flight alone, and its clock starts when it is sent or when the one before it is
  settled, whichever comes later: nothing fails for having stood in a queue.
- What has a time after which it need not be sent any more is not sent after it. What was sent
  in time is its recipient's: only where it fails, it is not sent again.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Generic, TypeVar

from .delivery_policy import DeliveryPolicy
from .delivery_states import DELIVERY, DeliveryEvent, DeliveryState, next_state
from .ledger_entry import Entry

__all__ = ["LedgerWindow"]

PayloadT = TypeVar("PayloadT")

# Attribute access on an enum class costs more than the whole lookup that it is for.
_IN_FLIGHT, _WAITING = DeliveryState.IN_FLIGHT, DeliveryState.WAITING
_SEND = DeliveryEvent.SEND


class LedgerWindow(Generic[PayloadT]):
    """
    What a `Ledger` does about the envelopes in its window.

    Attributes:
        cursor: Position of the oldest entry, or `offered` where there is none.
        offered: Every position below it was offered in this binding.
        held: Entries in the window: this many payloads are in memory.
        owed: As in `Ledger`.
        perishable: False where nothing in the window expires.
    """

    __slots__ = (
        "_deadline",
        "_pending",
        "_policy",
        "_rng",
        "_window",
        "cursor",
        "held",
        "offered",
        "owed",
        "perishable",
    )

    cursor: int
    offered: int
    held: int
    owed: int
    perishable: bool
    _policy: DeliveryPolicy
    _rng: random.Random
    # When the oldest one in flight counts as silent; means nothing while none is.
    _deadline: float
    # By envelope id, in log order. In flight first, then `_pending`.
    _window: dict[str, Entry[PayloadT]] | None
    _pending: list[Entry[PayloadT]] | None

    @property
    def has_pending(self) -> bool:
        """Whether something in the window is to be sent, now or after its backoff."""
        return self._pending is not None

    @property
    def window(self) -> tuple[Entry[PayloadT], ...]:
        """The entries, in log order. For looking at."""
        return tuple(self._window.values()) if self._window is not None else ()

    def find(self, position: int) -> Entry[PayloadT] | None:
        """Return the entry of the window at `position`, or None."""
        return next((entry for entry in self.window if entry.position == position), None)

    def wake_at(self) -> float | None:
        """Return when to look again if no receipt arrives, or None: at no time."""
        window, pending = self._window, self._pending
        if window is None:
            return None
        if pending is None:
            return self._deadline
        due = None
        if pending[0].state is _WAITING:
            # One that expires before its backoff is over lets those behind it go.
            due, expires = pending[0].due, pending[0].expires
            due = due if expires is None else min(due, expires)
        if len(window) == len(pending):
            return due
        return self._deadline if due is None else min(due, self._deadline)

    def obey(self, policy: DeliveryPolicy) -> None:
        """Go by another policy from now on. Deadlines that are running stay."""
        self._policy = policy

    def spoil(self, now: float) -> Sequence[Entry[PayloadT]]:
        """Settle what is to be sent and has expired; return it. Call it before `take`."""
        gone = [
            entry
            for entry in self._pending or ()
            if entry.expires is not None and entry.expires <= now
        ]
        for entry in gone:
            self._leave(entry, DeliveryEvent.EXPIRE, now)
        return gone

    def take(self, now: float, room: int) -> Sequence[Entry[PayloadT]]:
        """
        Return what is to be sent now, in log order, at most `room` entries; they are in flight.

        An entry that waits for its backoff holds back all that are newer.
        """
        pending, window = self._pending, self._window
        if pending is None or window is None:
            return ()
        if len(pending) == len(window):
            # Nothing was in flight, so the first one sent is the oldest.
            self._deadline = now + self._policy.ack_wait_seconds
        for count, entry in enumerate(pending):
            if count == room or (entry.state is _WAITING and entry.due > now):
                self._pending = pending[count:]
                return pending[:count]
            entry.state = DELIVERY[entry.state][_SEND]
            entry.attempt += 1
        self._pending = None
        return pending

    def nack(self, envelope_id: str, now: float) -> Entry[PayloadT] | None:
        """
        Count a failure of one envelope; it and all after it are to be sent again, in order.

        Returns the entry, whose state says what comes of it: `UNSENT` (again at once, after its
        first failure), `WAITING` (for its backoff) or `DEAD` (`max_attempts` reached: it has
        left the window). None where it is not in flight: every delivery fails at most once.
        """
        entry = self._window.get(envelope_id) if self._window is not None else None
        if entry is None or entry.state is not _IN_FLIGHT:
            return None
        return self._fail(entry, now)

    def progress(self, envelope_id: str, now: float) -> bool:
        """Restart the clock of an envelope that is being worked on, if its clock is running."""
        entry = self._window.get(envelope_id) if self._window is not None else None
        if entry is None or entry.state is not _IN_FLIGHT:
            return False
        entry.state = next_state(entry.state, DeliveryEvent.PROGRESS)
        if entry.position == self.cursor:
            self._deadline = now + self._policy.ack_wait_seconds
        return True

    def expire(self, now: float) -> Entry[PayloadT] | None:
        """Count a failure of the oldest envelope in flight if it was silent too long; as `nack`."""
        window, pending = self._window, self._pending
        if window is None or (pending is not None and len(pending) == len(window)):
            return None
        if self._deadline > now:
            return None
        return self._fail(next(iter(window.values())), now)

    def _leave(self, entry: Entry[PayloadT], event: DeliveryEvent, now: float) -> None:
        """Take an entry out of the window for good."""
        window = self._window
        assert window is not None
        if entry.state is not _IN_FLIGHT:
            assert self._pending is not None
            self._pending.remove(entry)
            self._pending = self._pending or None
        entry.state = DELIVERY[entry.state][event]
        del window[entry.envelope_id]
        self.held -= 1
        self.owed -= 1
        if not window:
            self._window = None
            self.perishable = False
            self.cursor = self.offered
        elif entry.position == self.cursor:
            self.cursor = next(iter(window.values())).position
            self._deadline = now + self._policy.ack_wait_seconds

    def _fail(self, entry: Entry[PayloadT], now: float) -> Entry[PayloadT]:
        assert self._window is not None
        entry.failures += 1
        after = [other for other in self._window.values() if other.position > entry.position]
        for other in after:
            other.state = next_state(other.state, DeliveryEvent.REPLAY)
        policy = self._policy
        if policy.max_attempts and entry.failures >= policy.max_attempts:
            # While it still counts as in flight, so that it is not looked for among `_pending`.
            self._pending = after or None
            self._leave(entry, DeliveryEvent.EXHAUST, now)
            return entry
        if entry.failures == 1:
            entry.state = next_state(entry.state, DeliveryEvent.RETRY)
        else:
            entry.state = next_state(entry.state, DeliveryEvent.BACK_OFF)
            entry.due = now + policy.backoff.delay(entry.failures - 2, self._rng)
        self._pending = [entry, *after]
        return entry
