"""
How envelopes leave an inbox: by a receipt, by a deadline, or because the hub drops them.

Whichever way one leaves, its ledger settles it. Here is counted what that changes over all
channels, and noted what it makes possible: the next of the channel may be sent, a page may be
read, a cursor is to be written. The next poll finds it.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from .alarms import Alarms
from .burials import Burials
from .delivery_policy import DeliveryPolicy
from .delivery_states import DeliveryState
from .holdings import Holdings
from .inbox_parts import InboxParts
from .inbox_work import DeadLetter, Expired
from .ledger import Ledger
from .ledger_entry import Entry
from .page_turns import PageTurns

__all__ = ["Settling"]

PayloadT = TypeVar("PayloadT")


class Settling(Generic[PayloadT]):
    """
    What an `Inbox` does about envelopes that are answered, have died or are dropped.

    Attributes:
        policy: What applies to this recipient.
        held: As in `Inbox`.
        owed: As in `Inbox`.
    """

    __slots__ = (
        "_alarms",
        "_burials",
        "_dirty",
        "_expired",
        "_holdings",
        "_ledgers",
        "_pages",
        "_parked",
        "_ready",
        "held",
        "owed",
        "policy",
    )

    policy: DeliveryPolicy
    held: int
    owed: int
    # What `InboxParts` has; used with every envelope, so not by way of it.
    _holdings: Holdings[PayloadT]
    _ledgers: dict[str, Ledger[PayloadT]]
    _parked: dict[str, Ledger[PayloadT]]
    _ready: dict[str, Ledger[PayloadT]]
    _pages: PageTurns[PayloadT]
    _alarms: Alarms
    _dirty: dict[str, None]
    _burials: Burials
    _expired: list[Expired]

    # Receipts.

    def ack(self, channel_id: str, envelope_id: str, now: float) -> bool:
        """Settle one envelope, in any order. Returns False, and does nothing, if it is unknown."""
        ledger = self._ledgers.get(channel_id)
        if ledger is None:
            return False
        held, owed = ledger.held, ledger.owed
        if not ledger.ack(envelope_id, now):
            parked = self._parked.get(channel_id)
            if parked is None or not parked.ack(envelope_id, now):
                return False
            self.owed -= 1
        self._account(channel_id, ledger, held, owed)
        return True

    def nack(self, channel_id: str, envelope_id: str, now: float, reason: str = "") -> bool:
        """
        Count a failure: the envelope and all after it in its channel are sent again, in order.

        Returns False, and does nothing, where it is not in flight.
        """
        ledger = self._ledgers.get(channel_id)
        if ledger is None:
            return False
        held, owed = ledger.held, ledger.owed
        entry = ledger.nack(envelope_id, now)
        if entry is None:
            return False
        if entry.state is DeliveryState.DEAD:
            self._bury(channel_id, entry, reason)
        self._account(channel_id, ledger, held, owed)
        return True

    def progress(self, channel_id: str, envelope_id: str, now: float) -> bool:
        """The handler is alive: `ack_wait` starts anew. Returns False where it is not in flight."""
        ledger = self._ledgers.get(channel_id)
        return ledger is not None and ledger.progress(envelope_id, now)

    def resume(
        self, channel_id: str, position: int, now: float, *, owed: int | None = None
    ) -> bool:
        """
        The recipient says that it has processed all of a channel up to and including `position`.

        Args:
            channel_id: Any channel; an unknown one is ignored.
            position: Of a record that the log has.
            now: The time.
            owed: Addressed and unsettled envelopes after it, if counted; see `Ledger`.

        Returns False where that was settled already.
        """
        ledger = self._ledgers.get(channel_id)
        if ledger is None:
            return False
        held, before = ledger.held, self.owed_in(channel_id)
        if not self._holdings.settle_through(channel_id, position, now, owed):
            return False
        self._account(channel_id, ledger, held, ledger.owed - self.owed_in(channel_id) + before)
        return True

    # Without a receipt.

    def give_up(self, channel_id: str, position: int, now: float, reason: str) -> bool:
        """
        Make a dead letter of an envelope in the window that cannot be delivered at all.

        The next `poll` hands it out, as if it had failed too often. Returns False, and does
        nothing, where it is not in the window.
        """
        ledger = self._ledgers.get(channel_id)
        entry = ledger.find(position) if ledger is not None else None
        if ledger is None or entry is None:
            return False
        held, owed = ledger.held, ledger.owed
        ledger.settle(position, now)
        self._bury(channel_id, entry, reason)
        self._account(channel_id, ledger, held, owed)
        return True

    def expire(self, channel_id: str, envelope_id: str, now: float, *, sent: bool) -> bool:
        """
        Settle an envelope that was not handled in time. The next `poll` hands it out.

        Args:
            sent: Whether it went out: its recipient says so. Otherwise it is a `Delivery` that
                could not go out before its time was over.

        Returns False, and does nothing, where it is not known to have been sent, or lasts for ever.
        """
        ledger = self._ledgers.get(channel_id)
        if ledger is None:
            return False
        held, owed = ledger.held, ledger.owed
        entry = ledger.expire_one(envelope_id, now)
        if entry is None:
            return False
        self._note_expired(channel_id, entry, entry.attempt - (not sent))
        self._account(channel_id, ledger, held, owed)
        return True

    def settle(self, channel_id: str, position: int, now: float, *, addressed: bool = True) -> bool:
        """Settle one record without a receipt: dropped, unreadable, or not `addressed` at all."""
        ledger = self._ledgers[channel_id]
        held, before = ledger.held, self.owed_in(channel_id)
        if not self._holdings.settle(channel_id, position, now, addressed=addressed):
            return False
        self._account(channel_id, ledger, held, ledger.owed - self.owed_in(channel_id) + before)
        return True

    def find(self, channel_id: str, position: int) -> Entry[PayloadT] | None:
        """Return what stands in the window at a position of a channel, or None."""
        ledger = self._ledgers.get(channel_id)
        return None if ledger is None else ledger.find(position)

    def owed_in(self, channel_id: str) -> int:
        """Return how many envelopes one channel owes; 0 for an unknown one."""
        return self._holdings.owed_in(channel_id)

    # Inside.

    def _use(self, parts: InboxParts[PayloadT]) -> None:
        self._holdings = parts.holdings
        self._ledgers, self._parked = parts.holdings.ledgers, parts.holdings.parked
        self._ready, self._dirty = parts.ready, parts.dirty
        self._pages, self._alarms = parts.pages, parts.alarms
        self._burials, self._expired = parts.burials, parts.expired

    def _account(self, channel_id: str, ledger: Ledger[PayloadT], held: int, owed: int) -> None:
        """Carry over what changed in a ledger that held and owed this much before."""
        self.held += ledger.held - held
        self.owed += ledger.owed - owed
        self._dirty[channel_id] = None
        if ledger.has_pending:
            self._ready[channel_id] = ledger
        if self._pages.behind or self._pages.hungry:
            self._pages.settled(channel_id, ledger)

    def _bury(self, channel_id: str, entry: Entry[PayloadT], reason: str) -> None:
        """Hand out a dead letter, and keep the cursor back until it is buried."""
        self._burials.add(
            DeadLetter(channel_id, entry.position, entry.envelope_id, entry.attempt, reason)
        )

    def _mind_silence(self, channel_id: str, ledger: Ledger[PayloadT], now: float) -> None:
        """Count a failure of what was silent too long."""
        held, owed = ledger.held, ledger.owed
        entry = ledger.expire(now)
        if entry is not None:
            if entry.state is DeliveryState.DEAD:
                self._bury(channel_id, entry, f"silent for {self.policy.ack_wait_seconds:g} s")
            self._account(channel_id, ledger, held, owed)

    def _spoil(self, channel_id: str, ledger: Ledger[PayloadT], now: float) -> None:
        """Settle what was to be sent and has expired."""
        held, owed = ledger.held, ledger.owed
        for entry in ledger.spoil(now):
            self._note_expired(channel_id, entry, entry.attempt)
        if ledger.held < held:
            self._account(channel_id, ledger, held, owed)
            # It is being looked at.
            self._ready.pop(channel_id, None)

    def _note_expired(self, channel_id: str, entry: Entry[PayloadT], attempts: int) -> None:
        self._expired.append(Expired(channel_id, entry.position, entry.envelope_id, attempts))
