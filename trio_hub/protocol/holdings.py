"""
The ledgers of one recipient, and those that are parked while a binding wants no replay.

Where a binding does not want to hear of what is older than itself, the ledger of a channel with
a backlog is parked for as long as that binding lasts, and one that begins at the end of the log
stands in its place.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

from .inbox_work import CursorSnapshot, Victim
from .ledger import Ledger
from .runs import joined

__all__ = ["Holdings"]

PayloadT = TypeVar("PayloadT")


@attrs.define(eq=False)
class Holdings(Generic[PayloadT]):
    """
    What there is of each channel.

    Attributes:
        ledgers: By channel id, those that are delivered from.
        parked: By channel id, those that are not.
    """

    ledgers: dict[str, Ledger[PayloadT]] = attrs.field(factory=dict)
    parked: dict[str, Ledger[PayloadT]] = attrs.field(factory=dict)

    def unpark(self) -> None:
        """The binding has ended: have the parked ledgers go on. All are detached."""
        for channel_id, parked in self.parked.items():
            parked.absorb(self.ledgers[channel_id])
            self.ledgers[channel_id] = parked
        self.parked.clear()

    def settle(self, channel_id: str, position: int, now: float, *, addressed: bool) -> bool:
        """Settle one record without a receipt; False where it was settled already."""
        parked, ledger = self.parked.get(channel_id), self.ledgers[channel_id]
        if parked is not None and position < parked.length:
            ledger = parked
        return ledger.settle(position, now, addressed=addressed)

    def settle_through(self, channel_id: str, position: int, now: float, owed: int | None) -> bool:
        """Settle all up to and including `position`; see `Ledger.settle_through`."""
        parked, ledger = self.parked.get(channel_id), self.ledgers[channel_id]
        settled = False
        if parked is not None:
            left = None if owed is None else max(0, owed - ledger.owed)
            settled = parked.settle_through(min(position, parked.length - 1), now, owed=left)
        if parked is None or position >= parked.length:
            settled |= ledger.settle_through(position, now, owed=owed)
        return settled

    def is_settled(self, channel_id: str) -> bool:
        """Whether all of a channel is settled."""
        ledger = self.parked.get(channel_id) or self.ledgers.get(channel_id)
        return ledger is None or ledger.cursor == ledger.length

    def owed_in(self, channel_id: str) -> int:
        """Return how many envelopes one channel owes; 0 for an unknown one."""
        ledger, parked = self.ledgers.get(channel_id), self.parked.get(channel_id)
        return (ledger.owed if ledger is not None else 0) + (parked.owed if parked else 0)

    def owing(self) -> list[Victim]:
        """Return the oldest unsettled envelope of each channel that owes any."""
        found: list[Victim] = []
        for channel_id, ledger in self.ledgers.items():
            parked = self.parked.get(channel_id)
            oldest = (parked.first_owed() if parked is not None else None) or ledger.first_owed()
            if oldest is not None:
                found.append(Victim(channel_id, *oldest))
        return found

    def oldest(self, channel_id: str) -> Victim | None:
        """
        Return the oldest unsettled envelope that is not with the recipient yet: of `channel_id`,
        or where that owes nothing, of the channel that owes the most.
        """
        if not self.owed_in(channel_id):
            channel_id = max(self.ledgers, key=self.owed_in, default=channel_id)
        parked, ledger = self.parked.get(channel_id), self.ledgers.get(channel_id)
        found = parked.oldest() if parked is not None else None
        if found is None and ledger is not None:
            found = ledger.oldest()
        return Victim(channel_id, *found) if found is not None else None

    def snapshot(self, channel_id: str) -> CursorSnapshot:
        """Return where one channel stands. Raises `KeyError` for an unknown one."""
        cursor, settled = self.ledgers[channel_id].snapshot()
        parked = self.parked.get(channel_id)
        if parked is not None and parked.cursor < parked.length:
            older, runs = parked.snapshot()
            settled = joined([*runs, (parked.length, cursor), *settled])
            cursor = older
        owed, length = self.owed_in(channel_id), self.ledgers[channel_id].length
        return CursorSnapshot(channel_id, cursor, settled, owed, length)
