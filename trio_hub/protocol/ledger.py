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
- What becomes of the entries of the window is in `LedgerWindow`.
- When the connection goes, the window is forgotten and `offered` falls back to `cursor`. What was
  settled further up is remembered as *runs* (start, stop), and of what was sent, how often.

Pure: no I/O and no clock. `now` is in seconds of any clock that does not step (the hub's
monotonic one), random waits come from the generator that is given.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import TypeVar

from .delivery_policy import DeliveryPolicy
from .delivery_states import DeliveryEvent, next_state
from .ledger_entry import Entry
from .ledger_window import LedgerWindow
from .runs import Run, joined

__all__ = ["Ledger"]

PayloadT = TypeVar("PayloadT")

# Attribute access on an enum class costs more than what it is for.
_ACK = DeliveryEvent.ACK


class Ledger(LedgerWindow[PayloadT]):
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

    __slots__ = ("_known", "_runs", "length")

    length: int
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
