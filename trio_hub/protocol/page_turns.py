"""
Whose turn it is to read: the channels of one recipient that are behind with their logs.

- A channel that is behind and holds nothing is *hungry*. The hungry are served in turn, before
  any live channel may take a slot of the window.
- A channel that is behind and still holds something is read further once the window has some
  room, so that one receipt at a time does not become one read at a time.
- One page of a channel is read at a time. A read that failed is asked for again after a backoff.

Slots are kept free for what is being read, so that an answer always has room.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from typing import Generic, TypeVar

from .delivery_policy import DeliveryPolicy
from .inbox_work import PageWanted
from .ledger import Ledger

__all__ = ["PageTurns"]

PayloadT = TypeVar("PayloadT")


class PageTurns(Generic[PayloadT]):
    """
    The reads of one inbox.

    Args:
        policy: Says how large a page is, and how a channel shares the window.
        rng: Source of jitter.

    Attributes:
        hungry: Behind, not being read, holding nothing.
        behind: Behind, not being read, still holding something.
        reserved: Slots kept free for the answers to what is being read.
    """

    __slots__ = (
        "_failures",
        "_paused",
        "_policy",
        "_reads",
        "_rng",
        "behind",
        "hungry",
        "reserved",
    )

    def __init__(self, policy: DeliveryPolicy, rng: random.Random) -> None:
        self._policy = policy
        self._rng = rng
        self.hungry: OrderedDict[str, Ledger[PayloadT]] = OrderedDict()
        self.behind: OrderedDict[str, Ledger[PayloadT]] = OrderedDict()
        self.reserved = 0
        self._reads: dict[str, PageWanted] = {}
        # After a failed read: when to ask again, and how often it failed in a row.
        self._paused: dict[str, float] = {}
        self._failures: dict[str, int] = {}

    def want(self, channel_id: str, ledger: Ledger[PayloadT]) -> None:
        """Have the next page of a channel that is behind read, when it is its turn."""
        if channel_id not in self._reads and channel_id not in self._paused:
            queue = self.behind if ledger.held else self.hungry
            queue[channel_id] = ledger

    def settled(self, channel_id: str, ledger: Ledger[PayloadT]) -> None:
        """Take note that a ledger holds less than it did, or has caught up."""
        if ledger.offered == ledger.length:
            self.behind.pop(channel_id, None)
            self.hungry.pop(channel_id, None)
        elif not ledger.held and self.behind.pop(channel_id, None) is not None:
            self.hungry[channel_id] = ledger

    def take(self, held: int) -> list[PageWanted]:
        """Ask for pages as far as the window, of which `held` slots are taken, has room."""
        policy, pages = self._policy, []
        for queue, room in ((self.hungry, 1), (self.behind, policy.low_water)):
            # A channel goes to the back unserved only if it holds several times what is free, so
            # this stops after a few, however many there are.
            for _ in range(len(queue)):
                free = policy.max_in_flight - held - self.reserved
                if free < room:
                    break
                channel_id, ledger = queue.popitem(last=False)
                size = min(policy.page_records, policy.allowance(ledger.held, free))
                if not size:
                    queue[channel_id] = ledger
                    continue
                start = ledger.offered
                page = PageWanted(channel_id, start, min(start + size, ledger.readable_to))
                self._reads[channel_id] = page
                self.reserved += page.stop - page.start
                pages.append(page)
        return pages

    def is_wanted(self, page: PageWanted) -> bool:
        """Whether an answer to a read is still waited for."""
        return self._reads.get(page.channel_id) == page

    def answered(self, page: PageWanted) -> bool:
        """
        Take out a read that has an answer; False where nobody waits for it any more.

        A read that was forgotten may be overtaken by a smaller one of the same place, so it is
        not enough to compare where they start.
        """
        if not self.is_wanted(page):
            return False
        del self._reads[page.channel_id]
        self.reserved -= page.stop - page.start
        return True

    def succeeded(self, channel_id: str) -> None:
        """Forget earlier failures of a channel."""
        self._failures.pop(channel_id, None)

    def failed(self, channel_id: str, now: float) -> None:
        """Leave a channel alone for a while."""
        failures = self._failures.get(channel_id, 0)
        self._failures[channel_id] = failures + 1
        self._paused[channel_id] = now + self._policy.backoff.delay(failures, self._rng)

    def paused_until(self, channel_id: str) -> float | None:
        """Return when a channel that is left alone may be read again."""
        return self._paused.get(channel_id) if self._paused else None

    def wake(self, channel_id: str, now: float) -> bool:
        """End a pause whose time is over; False where there is none."""
        if self._paused.get(channel_id, now + 1) > now:
            return False
        del self._paused[channel_id]
        return True

    def forget(self, channel_id: str) -> None:
        """Drop a channel."""
        page = self._reads.pop(channel_id, None)
        if page is not None:
            self.reserved -= page.stop - page.start
        for container in (self.hungry, self.behind, self._paused, self._failures):
            container.pop(channel_id, None)

    def clear(self) -> None:
        """Drop everything; answers that are still under way will not be waited for."""
        self.reserved = 0
        for container in (self.hungry, self.behind, self._reads, self._paused, self._failures):
            container.clear()
