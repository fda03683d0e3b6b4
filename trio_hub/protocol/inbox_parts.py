"""
What an inbox keeps of its channels.

A hub has many agents that are in no channel yet. Their inboxes share one set of empty parts: what
is put into any of them is about a channel, so nothing ever is.
"""

from __future__ import annotations

import random
from typing import Any, Final, Generic, TypeVar

from .alarms import Alarms
from .burials import Burials
from .delivery_policy import DeliveryPolicy
from .holdings import Holdings
from .inbox_work import Expired
from .ledger import Ledger
from .page_turns import PageTurns

__all__ = ["NO_CHANNELS", "InboxParts"]

PayloadT = TypeVar("PayloadT")


class InboxParts(Generic[PayloadT]):
    """
    The parts, all empty.

    Args:
        policy: What applies to the recipient.
        rng: Source of jitter.

    Attributes:
        holdings: The ledgers, by channel.
        ready: Those with something to send, in the order in which it came up.
        pages: Those that are behind, and what is being read for them.
        alarms: When to look at a channel again.
        dirty: The channels whose cursors changed.
        burials: Dead letters on their way to the store.
        expired: What was not delivered in time, and nobody was told of yet.
    """

    __slots__ = ("alarms", "burials", "dirty", "expired", "holdings", "pages", "ready")

    def __init__(self, policy: DeliveryPolicy, rng: random.Random) -> None:
        self.holdings: Holdings[PayloadT] = Holdings()
        self.ready: dict[str, Ledger[PayloadT]] = {}
        self.pages: PageTurns[PayloadT] = PageTurns(policy, rng)
        self.alarms = Alarms()
        self.dirty: dict[str, None] = {}
        self.burials = Burials()
        self.expired: list[Expired] = []


#: Of every inbox without a channel.
NO_CHANNELS: Final[InboxParts[Any]] = InboxParts(DeliveryPolicy(), random.Random(0))  # noqa: S311
