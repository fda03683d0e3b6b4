"""
The inbox: everything that one recipient is owed, over all its channels.

It lets the ledgers share one window (`max_in_flight` envelopes in memory, the credit of the
recipient) and says what to do next: what to send, which pages of which log to read, which
letters are dead. A channel is either *live*, and what is posted goes straight into the window,
or *behind*, and is read back from its log until its replay ends. Nothing is posted past a replay,
so a recipient sees a log in order, without a gap and without an overlap.

How the window is shared:

- A channel may hold so many times what is free, and the last slots are for those that hold
  nothing, so one that hangs leaves room for the others (`DeliveryPolicy.allowance`).
- Those that are behind take turns to be read (`PageTurns`).

Nothing here looks at all channels but `attach`, `detach` and an overflow: a poll with nothing
due is one comparison, and a channel with nothing due is one small ledger.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Never, TypeVar

import attrs

from .delivery_policy import DeliveryPolicy
from .inbox_parts import NO_CHANNELS, InboxParts
from .inbox_settling import Settling
from .inbox_work import CursorSnapshot, DeadLetter, Delivery, Expired, PageWanted, Victim, Work
from .ledger import Ledger
from .runs import Run

__all__ = [
    "CursorSnapshot",
    "DeadLetter",
    "Delivery",
    "Expired",
    "Inbox",
    "PageWanted",
    "Victim",
    "Work",
]

PayloadT = TypeVar("PayloadT")


_NOTHING: Work[Never] = Work()
_FOR_EVER: Mapping[int, float] = MappingProxyType({})


class Inbox(Settling[PayloadT]):
    """
    One recipient. What becomes of an envelope that was sent is in `Settling`.

    Call `poll` after whatever may have changed something, and at `wake_at`. `now` is in seconds
    of a clock that does not step.

    Attributes:
        attached: Whether a connection is bound; nothing is sent or read otherwise.
        held: Envelopes in memory; with what is being read, never more than `max_in_flight`.
        owed: Envelopes addressed to the recipient and not settled, sent or not, all channels.
    """

    __slots__ = ("_replays", "_rng", "attached")

    def __init__(self, policy: DeliveryPolicy, rng: random.Random) -> None:
        """
        Args:
            policy: What applies to this recipient.
            rng: Source of jitter.
        """
        self.policy = policy
        self.attached = False
        self.held = self.owed = 0
        self._rng = rng
        # Whether the binding wants to hear of what is older than itself.
        self._replays = True
        self._use(NO_CHANNELS)

    # Channels come and go.

    def restore(
        self,
        channel_id: str,
        *,
        length: int,
        cursor: int = 0,
        settled: Iterable[Run] = (),
        owed: int | None = None,
    ) -> None:
        """
        Take up a channel: a new one (`length=0`), or one of a `CursorSnapshot`.

        Args:
            channel_id: Not known to this inbox yet.
            length: Records in its log.
            cursor: From the snapshot.
            settled: From the snapshot.
            owed: Addressed and unsettled envelopes, if counted; see `Ledger`.

        Raises:
            ValueError: Cursor and runs are those of another log.
        """
        assert channel_id not in self._ledgers, f"channel {channel_id} is there already"
        if self._holdings is NO_CHANNELS.holdings:
            self._use(InboxParts(self.policy, self._rng))
        ledger: Ledger[PayloadT] = Ledger(
            self.policy, self._rng, length=length, cursor=cursor, settled=settled, owed=owed
        )
        self._ledgers[channel_id] = ledger
        self.owed += ledger.owed
        if self.attached and ledger.offered < ledger.length:
            if self._replays:
                self._pages.want(channel_id, ledger)
            else:
                self._park(channel_id, ledger)

    def set_max_attempts(self, max_attempts: int) -> None:
        """Have envelopes die after so many failures, from the next failure on; 0 means never."""
        self.policy = attrs.evolve(self.policy, max_attempts=max_attempts)
        for ledgers in (self._ledgers, self._parked):
            for ledger in ledgers.values():
                ledger.obey(self.policy)

    def forget(self, channel_id: str) -> None:
        """Drop a channel and all that is owed in it; nothing happens where it is unknown."""
        ledger = self._ledgers.pop(channel_id, None)
        if ledger is None:
            return
        self.owed -= ledger.owed
        self.held -= ledger.held
        parked = self._parked.pop(channel_id, None)
        if parked is not None:
            self.owed -= parked.owed
        self._pages.forget(channel_id)
        for container in (self._ready, self._dirty):
            container.pop(channel_id, None)
        self._burials.forget(channel_id)
        self._expired = [it for it in self._expired if it.channel_id != channel_id]
        self._alarms.forget(channel_id)

    def is_settled(self, channel_id: str) -> bool:
        """Whether nothing is owed in a channel, and no dead letter of it is on its way."""
        return self._holdings.is_settled(channel_id) and not self._burials.holds_back(channel_id)

    def extended(
        self,
        channel_id: str,
        position: int,
        envelope_id: str,
        payload: PayloadT,
        addressed: bool,
        expires: float | None = None,
    ) -> None:
        """
        Say that a channel's log grew by one durable record.

        The payload is kept only where the channel is live and the window has room; otherwise it
        will be read back from the log. It is not sent at or after `expires`.

        Raises:
            KeyError: The channel was never given to `restore`.
        """
        ledger = self._ledgers[channel_id]
        assert position == ledger.length, (
            f"channel {channel_id} grew at {position}, expected {ledger.length}"
        )
        live = ledger.offered == position
        ledger.extended(addressed)
        if not addressed:
            if ledger.cursor > position:
                self._dirty[channel_id] = None
            return
        self.owed += 1
        if not self.attached:
            return
        free = self.policy.max_in_flight - self.held - self._pages.reserved
        # The first half saves the usual case a call.
        if (live and not self._pages.hungry) and (
            free > 0 if not ledger.held else self.policy.allowance(ledger.held, free)
        ):
            ledger.offer(position, envelope_id, payload, expires)
            self.held += 1
            self._ready[channel_id] = ledger
        else:
            self._pages.want(channel_id, ledger)

    # Bindings.

    def attach(self, *, replays: bool = True) -> None:
        """
        A connection is bound. Everything unsettled is delivered again, from the cursors.

        One that was bound before loses it, as after `detach`.

        Args:
            replays: False delivers only what is posted from now on. What is unsettled stays so,
                and is delivered in a later binding.
        """
        if self.attached:
            self.detach()
        self.attached, self._replays = True, replays
        for channel_id, ledger in list(self._ledgers.items()):
            if ledger.offered == ledger.length:
                continue
            if replays:
                self._pages.hungry[channel_id] = ledger
            else:
                self._park(channel_id, ledger)

    def detach(self) -> None:
        """The connection is gone. Only cursors and counts stay in memory."""
        self.attached = False
        for ledger in self._ledgers.values():
            ledger.detach()
        self._holdings.unpark()
        self.held = 0
        self._ready.clear()
        self._pages.clear()
        self._alarms.clear()

    # What to do.

    def poll(self, now: float) -> Work[PayloadT]:
        """Return what to do now. Everything in it is on its way from here on."""
        if self._alarms.any_due(now):
            self._ring(now)
        sends: list[Delivery[PayloadT]] = []
        if self._ready:
            ready, self._ready = self._ready, {}
            unburied = self.unburied
            for channel_id, ledger in ready.items():
                if ledger.perishable:
                    self._spoil(channel_id, ledger, now)
                if channel_id in unburied:
                    # `buried` looks at it again, alarms and all.
                    continue
                for entry in ledger.take(now, self.policy.max_in_flight):
                    sends.append(
                        Delivery(
                            channel_id,
                            entry.position,
                            entry.envelope_id,
                            entry.attempt,
                            entry.payload,
                            entry.expires,
                        )
                    )
                self._set_alarm(channel_id, ledger)
        pages = self._pages
        reads = pages.take(self.held) if pages.hungry or pages.behind else ()
        if not (sends or reads or self._burials.waiting or self._expired):
            return _NOTHING
        expired, self._expired = self._expired, []
        return Work(sends, reads, self._burials.take(), expired)

    @property
    def has_work(self) -> bool:
        """Whether `poll` may find something to do before any alarm rings."""
        return bool(
            self._ready
            or self._burials.waiting
            or self._expired
            or self._pages.hungry
            or self._pages.behind
        )

    def wake_at(self) -> float | None:
        """
        Return when to `poll` if nothing happens before, or None: at no time.

        It may be too early by a receipt or two; such a poll finds nothing to do.
        """
        return self._alarms.earliest(self._may_be_due)

    def may_wake_before(self, moment: float) -> bool:
        """Whether it is worth asking `wake_at` by who looks at `moment` anyway."""
        return self._alarms.any_before(moment)

    def is_wanted(self, page: PageWanted) -> bool:
        """Whether a read is still to be answered: the binding that wanted it may be over."""
        return self._pages.is_wanted(page)

    def loaded(
        self,
        page: PageWanted,
        records: Sequence[tuple[str, PayloadT | None]],
        expires: Mapping[int, float] = _FOR_EVER,
    ) -> bool:
        """
        Answer a read.

        Args:
            page: What was asked for.
            records: Envelope id and payload of each position from its start on; the payload is
                None where the record is not addressed to the recipient, or cannot be read. At
                least one and at most as many as were asked for; the rest is asked for again.
            expires: For the positions of those that expire, when.

        Returns False where nobody waits for it any more (the binding changed): it is dropped.
        """
        if not self._pages.answered(page):
            return False
        channel_id, start = page.channel_id, page.start
        assert 0 < len(records) <= page.stop - start, (
            f"{len(records)} records of channel {channel_id} for {start} to {page.stop}"
        )
        self._pages.succeeded(channel_id)
        ledger = self._ledgers[channel_id]
        held, owed = ledger.held, ledger.owed
        for position, (envelope_id, payload) in enumerate(records, start):
            # What was settled while it was being read is passed over.
            if position == ledger.offered:
                if payload is None:
                    ledger.skip(position)
                else:
                    ledger.offer(position, envelope_id, payload, expires.get(position))
        self._account(channel_id, ledger, held, owed)
        if ledger.offered < ledger.length:
            self._pages.want(channel_id, ledger)
        return True

    def read_failed(self, page: PageWanted, now: float) -> bool:
        """Say that a read failed; it is asked for again after a backoff. Returns as `loaded`."""
        if not self._pages.answered(page):
            return False
        channel_id = page.channel_id
        self._pages.failed(channel_id, now)
        self._set_alarm(channel_id, self._ledgers[channel_id])
        return True

    # Dead letters: what comes behind one waits until it is kept.

    @property
    def unburied(self) -> Mapping[str, Collection[int]]:
        """By channel, the positions of dead letters that are not kept yet."""
        return self._burials.unburied

    def take_gone(self) -> Work[PayloadT]:
        """
        Return what has died or expired and nobody was told of yet, for who cannot `poll` now.

        Cursors pass what has expired, so it is to be told of before they are written.
        """
        expired, self._expired = self._expired, []
        return Work(dead=self._burials.take(), expired=expired)

    def burying(self, channel_id: str, position: int) -> None:
        """
        Say that a dead letter is being written to disk: nothing passes it until it is `buried`.

        Of what the inbox handed out itself, it knows.
        """
        if channel_id in self._ledgers:
            self._burials.expect(channel_id, position)

    def buried(self, channel_id: str, position: int) -> bool:
        """
        Say that a dead letter is kept on disk: now a cursor may pass it there, and deliveries.

        What comes behind it waits until then. A recipient that began its life meanwhile never saw
        the letter, and would state a position behind it; the hub that hears that is perhaps one
        that has no letter, since it was killed before the store kept it.
        """
        if not self._burials.buried(channel_id, position):
            return False
        ledger = self._ledgers.get(channel_id)
        if ledger is not None and self.attached and not self._burials.holds_back(channel_id):
            self._ready[channel_id] = ledger
        return True

    # Cursors, overflow, statistics.

    def oldest(self, channel_id: str) -> Victim | None:
        """
        Return what to drop so that `channel_id` may be owed one more, or None: nothing is owed.

        The oldest of the same channel that is not with the recipient yet; only where that channel
        owes nothing, one of the channel that owes the most (this looks at all channels). Settle
        it with `settle`; where its id is unknown read it first, and ask again if it was not
        addressed.
        """
        return self._holdings.oldest(channel_id)

    def owing(self) -> list[Victim]:
        """Return the oldest unsettled envelope of each channel that owes any. For statistics."""
        return self._holdings.owing()

    def snapshot(self, channel_id: str) -> CursorSnapshot:
        """Return where one channel stands. Raises `KeyError` for an unknown one."""
        return self._holdings.snapshot(channel_id)

    def dirty(self) -> list[CursorSnapshot]:
        """
        Return the cursors that changed since the last call, for writing behind.

        A cursor that is lost only redelivers. A channel with dead letters that are not `buried`
        is kept back: its cursor passes them.
        """
        if not self._dirty:
            return []
        clean = [it for it in self._dirty if not self._burials.holds_back(it)]
        for channel_id in clean:
            del self._dirty[channel_id]
        return [self.snapshot(channel_id) for channel_id in clean]

    def not_written(self, channel_id: str) -> None:
        """Take note that a cursor which `dirty` returned was not kept: it is returned again."""
        if channel_id in self._ledgers:
            self._dirty[channel_id] = None

    # Inside.

    def _park(self, channel_id: str, ledger: Ledger[PayloadT]) -> None:
        """Begin a channel at the end of its log, for this binding."""
        self._parked[channel_id] = ledger
        self._ledgers[channel_id] = Ledger(
            self.policy, self._rng, length=ledger.length, cursor=ledger.length
        )

    def _set_alarm(self, channel_id: str, ledger: Ledger[PayloadT]) -> None:
        for due in (ledger.wake_at(), self._pages.paused_until(channel_id)):
            if due is not None:
                self._alarms.set(channel_id, due)

    def _may_be_due(self, channel_id: str) -> bool:
        if self._pages.paused_until(channel_id) is not None:
            return True
        return self._ledgers[channel_id].wake_at() is not None

    def _ring(self, now: float) -> None:
        """Look at the channels whose time has come."""
        for channel_id in self._alarms.due(now):
            ledger = self._ledgers[channel_id]
            if self._pages.wake(channel_id, now) and ledger.offered < ledger.length:
                self._pages.want(channel_id, ledger)
            self._mind_silence(channel_id, ledger, now)
            if ledger.has_pending:
                # `poll` sends what it may, then sets the alarm.
                self._ready[channel_id] = ledger
            else:
                self._set_alarm(channel_id, ledger)
