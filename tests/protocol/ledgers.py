"""Ledgers for tests, of logs that are written down as patterns."""

from __future__ import annotations

import random

from trio_hub.protocol.backoff import Backoff
from trio_hub.protocol.delivery_policy import DeliveryPolicy
from trio_hub.protocol.ledger import Ledger

WAIT = 100.0


class HighestDraw(random.Random):
    """Always draws the upper end of a range, so that waits are known."""

    def uniform(self, a: float, b: float) -> float:
        return b


def policy(max_attempts: int = 5) -> DeliveryPolicy:
    return DeliveryPolicy(
        max_attempts=max_attempts, ack_wait_seconds=WAIT, backoff=Backoff(base=1.0, cap=60.0)
    )


def ledger_of(pattern: str, *, max_attempts: int = 5) -> Ledger[str]:
    """A log in which ``x`` is addressed to the recipient and ``.`` is not, all offered."""
    ledger: Ledger[str] = Ledger(policy(max_attempts), HighestDraw())
    for letter in pattern:
        ledger.extended(letter == "x")
    offer_rest(ledger, pattern)
    return ledger


def offer_rest(ledger: Ledger[str], pattern: str, stop: int | None = None) -> None:
    while ledger.offered < (ledger.length if stop is None else stop):
        position = ledger.offered
        if pattern[position] == "x":
            ledger.offer(position, f"e{position}", f"payload {position}")
        else:
            ledger.skip(position)


def taken(ledger: Ledger[str], now: float = 0.0, room: int = 1000) -> list[tuple[str, int]]:
    return [(entry.envelope_id, entry.attempt) for entry in ledger.take(now, room)]


def ids(ledger: Ledger[str], now: float = 0.0, room: int = 1000) -> list[str]:
    return [entry.envelope_id for entry in ledger.take(now, room)]
