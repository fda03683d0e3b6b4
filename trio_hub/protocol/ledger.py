"""
The delivery ledger: what one recipient has been told, and has answered, in one channel.

The channel's log is the queue. The ledger never holds more of it than the *window*: envelopes
that were offered to it, are addressed to its recipient and are not yet settled. Everything else
is two numbers, for a log is settled in a run from its start::

    0 ............. cursor ............. offered ............. length
      all settled          the window,           not read yet
                           and settled ones
                           between its entries

- Every position below `cursor` is settled. It is the position of the oldest entry of the window,
  or `offered` where the window is empty, so it cannot pass what is unsettled, whatever the order
  in which receipts arrive.
- Within the window, in log order, stands first what is in flight, then what is to be sent.
  A failure moves the border back to the envelope that failed, so redelivery is in order too, and
  nothing newer is sent while an older one waits for its backoff.
- A client handles the envelopes of a channel one after another. So silence is blamed on the
  oldest one in flight alone, and its clock starts when it is sent or when the one before it is
  settled, whichever comes later: nothing fails for having stood in a queue.
- What has a time after which it need not be sent any more is not sent after it. What was sent
  in time is its recipient's: only where it fails, it is not sent again.
- When the connection goes, the window is forgotten and `offered` falls back to `cursor`. What was
  settled further up is remembered as *runs* (start, stop), and of what was sent, how often.

Pure: no I/O and no clock. `now` is in seconds of any clock that does not step (the hub's
monotonic one), random waits come from the generator that is given.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

import attrs

from .delivery_policy import DeliveryPolicy
from .delivery_states import DELIVERY, DeliveryEvent, DeliveryState, next_state
from .ledger_entry import Entry
from .runs import Run, joined

__all__ = ["Ledger"]

PayloadT = TypeVar("PayloadT")

# Attribute access on an enum class costs more than the whole lookup that it is for.
_IN_FLIGHT, _WAITING = DeliveryState.IN_FLIGHT, DeliveryState.WAITING
_SEND, _ACK = DeliveryEvent.SEND, DeliveryEvent.ACK


@attrs.define(eq=False, init=False)
class Ledger(Generic[PayloadT]):
    """
    One (recipient, channel). Cheap where nothing is due: the window exists only while it is used.

    Attributes:
        length: Length of the log.
        cursor: Every position below it is settled.
        offered: Every position below it was offered in this binding; `length` when caught up.
        held: Entries in the window: this many payloads are in memory.
        perishable: False where nothing in the window expires.
        owed: Envelopes addressed to the recipient and not settled, offered or not.
    """

    length: int
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
    # Sent in an earlier binding and not offered again yet; without their payloads.
    _known: dict[str, Entry[PayloadT]] | None
    # Settled runs above `offered`, sorted; none touches `offered` or another.
    _runs: list[Run] | None

    def __init__(
        self,
        policy: DeliveryPolicy,
        rng: random.Random,
        *,
        length: int = 0,
        cursor: int = 0,
        settled: Iterable[Run] = (),
        owed: int | None = None,
    ) -> None:
        """
        Start a ledger, or take one up again from a `snapshot`.

        Args:
            policy: Deadlines, attempts, backoff.
            rng: Source of jitter.
            length: Length of the log.
            cursor: As in the snapshot.
            settled: The runs of the snapshot.
            owed: How many unsettled envelopes are addressed to the recipient. None, where nobody
                counted, takes every unsettled position for one until it has been read.

        Raises:
            ValueError: Cursor and runs do not fit a log of that length; they are another log's.
        """
        runs = joined(run for run in settled if run[1] > cursor)
        if not 0 <= cursor <= length or (runs and (runs[0][0] < 0 or runs[-1][1] > length)):
            raise ValueError(
                f"cursor {cursor} with settled runs {runs} does not fit a log of {length} records:"
                " it was taken from another log; start from 0 to redeliver everything"
            )
        self.length = length
        self.held = 0
        self.owed = length
        self.perishable = False
        self._policy = policy
        self._rng = rng
        self._deadline = 0.0
        self._window = self._pending = self._known = None
        self._runs = list(runs) or None
        self._move_offered(cursor)
        self._limit_owed(length if owed is None else max(owed, 0))

    # What stands where.

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

    @property
    def readable_to(self) -> int:
        """Where a read of the log that begins at `offered` should stop: the next settled run."""
        return self._runs[0][0] if self._runs is not None else self.length

    def snapshot(self) -> tuple[int, tuple[Run, ...]]:
        """
        Return the cursor and the settled runs above it: all that must outlive the process.

        There are at most as many runs as there are unsettled envelopes that were ever sent.
        """
        return self.cursor, tuple(self._settled_runs())

    def oldest(self) -> tuple[int, str | None] | None:
        """
        Return position and id of the oldest unsettled envelope that the recipient has not got.

        Only where it has got them all, the oldest one in flight. The id is None where the record
        is not in memory: then it must be read, and may turn out not to be addressed at all.
        None where nothing is owed.
        """
        if self._pending is not None:
            return self._pending[0].position, self._pending[0].envelope_id
        if self.owed > self.held:
            return self.offered, None
        if self._window is not None:
            first = next(iter(self._window.values()))
            return first.position, first.envelope_id
        return None

    def first_owed(self) -> tuple[int, str | None] | None:
        """
        Return position and id of the oldest unsettled envelope, sent or not; None: none is owed.

        The id is None where the record is not in memory: then it must be read, and may turn out
        not to be addressed at all.
        """
        if self._window is not None:
            first = next(iter(self._window.values()))
            return first.position, first.envelope_id
        return (self.offered, None) if self.owed else None

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

    # The log grows and is read.

    def extended(self, addressed: bool) -> None:
        """Say that the log grew by one record, addressed to the recipient or not."""
        if addressed:
            self.owed += 1
        elif self.offered == self.length:
            self.offered += 1
            if self._window is None:
                self.cursor = self.offered
        self.length += 1

    def offer(
        self, position: int, envelope_id: str, payload: PayloadT, expires: float | None = None
    ) -> None:
        """
        Put the record at `offered`, which is addressed to the recipient, into the window.

        It is not sent at or after `expires`; see `spoil`.
        """
        assert position == self.offered < self.length, (
            f"offered position {position}, expected {self.offered} of {self.length}"
        )
        entry = self._known.pop(envelope_id, None) if self._known is not None else None
        if entry is None:
            entry = Entry(position, envelope_id, payload)
        else:
            assert entry.position == position, f"envelope {envelope_id} stands in the log twice"
            entry.payload = payload
            self._known = self._known or None
        if self._window is None:
            self._window = {envelope_id: entry}
        else:
            assert envelope_id not in self._window, f"envelope {envelope_id} is in the window"
            self._window[envelope_id] = entry
        if self._pending is None:
            self._pending = [entry]
        else:
            self._pending.append(entry)
        if expires is not None:
            entry.expires = expires
            self.perishable = True
        self.held += 1
        if self.owed < self.held:
            self.owed = self.held  # whoever counted was wrong
        self._move_offered(position + 1)

    def skip(self, position: int) -> None:
        """Pass over the record at `offered`, which is not addressed to the recipient."""
        assert position == self.offered < self.length, (
            f"skipped position {position}, expected {self.offered} of {self.length}"
        )
        self._move_offered(position + 1)

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

    def expire_one(self, envelope_id: str, now: float) -> Entry[PayloadT] | None:
        """Settle what was not handled in time; None where it is unknown, or lasts for ever."""
        for entries in (self._window, self._known):
            entry = entries.get(envelope_id) if entries is not None else None
            if entry is not None and entry.expires is not None:
                if entries is self._window:
                    self._leave(entry, DeliveryEvent.EXPIRE, now)
                else:
                    self._ack_known(envelope_id)
                return entry
        return None

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

    # Receipts.

    def ack(self, envelope_id: str, now: float) -> bool:
        """
        Settle one envelope.

        It need not be in flight: the receipt may be for a delivery before the last, or from
        before a reconnect. An id that is unknown settles nothing, and False is returned: at
        worst that envelope is delivered once more.
        """
        entry = self._window.get(envelope_id) if self._window is not None else None
        if entry is None:
            return self._ack_known(envelope_id)
        self._leave(entry, _ACK, now)
        return True

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

    # Bindings, and settling from outside.

    def detach(self) -> None:
        """
        The connection is gone: forget the window, fall back to the cursor.

        What was sent keeps its counts, and its backoff if it waits for one.
        """
        if self._window is None:
            return
        self._runs = self._settled_runs() or None
        known = self._known or {}
        for entry in self._window.values():
            entry.state = next_state(entry.state, DeliveryEvent.REPLAY)
            if entry.attempt:
                del entry.payload
                known[entry.envelope_id] = entry
        self._known = known or None
        self._window = self._pending = None
        self.held = 0
        self.perishable = False
        self.offered = self.cursor

    def absorb(self, newer: Ledger[PayloadT]) -> None:
        """Take over a ledger that began at the end of this one's log; both are detached."""
        assert self._window is None
        assert newer._window is None
        cursor, settled = newer.snapshot()
        runs = joined([*(self._runs or ()), (self.length, cursor), *settled])
        self._runs = list(runs) or None
        self._known = {**(self._known or {}), **(newer._known or {})} or None
        self.length = newer.length
        self.owed += newer.owed
        self._move_offered(self.offered)

    def settle(
        self,
        position: int,
        now: float,
        *,
        addressed: bool = True,
    ) -> bool:
        """
        Settle the record at `position` without a receipt; `addressed` says whether it was owed.

        Returns False where it was settled already.
        """
        assert 0 <= position < self.length, f"position {position} of {self.length}"
        if position < self.offered:
            entry = self.find(position)
            if entry is not None:
                self._leave(entry, DeliveryEvent.DROP, now)
            return entry is not None
        if any(start <= position < stop for start, stop in self._runs or ()):
            return False
        self._forget_known(position, position + 1)
        self._settle_ahead(position, addressed)
        return True

    def settle_through(self, position: int, now: float, *, owed: int | None = None) -> bool:
        """
        Settle everything up to and including `position`: the recipient says it is processed.

        Args:
            position: A position of this log.
            now: The time.
            owed: How many unsettled envelopes after `position` are addressed to the recipient;
                None where nobody counted: then `owed` may be too large until they are read.

        Returns False where all of it was settled already.
        """
        assert 0 <= position < self.length, f"position {position} of {self.length}"
        if position < self.cursor:
            return False
        for entry in self.window:
            if entry.position <= position:
                self._leave(entry, DeliveryEvent.DROP, now)
        if position >= self.offered:
            self._forget_known(0, position + 1)
            self._move_offered(position + 1)
            self._limit_owed(self.owed if owed is None else owed)
        return True

    # Inside.

    def _move_offered(self, position: int) -> None:
        """Move `offered` up to `position`, and on over what is settled from there."""
        runs = self._runs
        if runs is not None:
            while runs and runs[0][0] <= position:
                position = max(position, runs.pop(0)[1])
            if not runs:
                self._runs = None
        self.offered = position
        if self._window is None:
            self.cursor = position
        if position == self.length:
            self.owed = self.held

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

    def _ack_known(self, envelope_id: str) -> bool:
        """Settle what was sent in an earlier binding and not offered in this one."""
        entry = self._known.pop(envelope_id, None) if self._known is not None else None
        if entry is None:
            return False
        self._known = self._known or None
        entry.state = next_state(entry.state, _ACK)
        self._settle_ahead(entry.position, addressed=True)
        return True

    def _settle_ahead(self, position: int, addressed: bool) -> None:
        """Settle one unsettled position at or above `offered`."""
        if addressed and self.owed > self.held:
            self.owed -= 1
        self._runs = list(joined([*(self._runs or ()), (position, position + 1)]))
        self._move_offered(self.offered)

    def _settled_runs(self) -> list[Run]:
        """What is settled above the cursor: between the entries of the window, and ahead."""
        runs: list[Run] = []
        start = self.cursor
        for entry in self._window.values() if self._window is not None else ():
            if start < entry.position:
                runs.append((start, entry.position))
            start = entry.position + 1
        if start < self.offered:
            runs.append((start, self.offered))
        return runs + (self._runs or [])

    def _limit_owed(self, owed: int) -> None:
        """Believe a count of what is owed as far as it can be true."""
        settled = sum(stop - start for start, stop in self._runs or ())
        self.owed = self.held + min(owed, self.length - self.offered - settled)

    def _forget_known(self, start: int, stop: int) -> None:
        if self._known is not None:
            kept = {i: e for i, e in self._known.items() if not start <= e.position < stop}
            self._known = kept or None
