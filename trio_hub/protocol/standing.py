"""Where one record of a log stands for one recipient, read from its inbox."""

from __future__ import annotations

from typing import TypeVar

from .delivery_states import DeliveryState
from .inbox import Inbox

__all__ = ["standing"]

PayloadT = TypeVar("PayloadT")


def standing(
    inbox: Inbox[PayloadT], channel_id: str, position: int
) -> tuple[DeliveryState, int] | None:
    """
    Return the state of an envelope that is addressed to the inbox's owner, and how often it was sent.

    None where the inbox does not know the channel: the owner has left it. What has died and is kept
    as a dead letter counts as settled.
    """
    try:
        at = inbox.snapshot(channel_id)
    except KeyError:
        return None
    if position < at.cursor or any(start <= position < stop for start, stop in at.settled):
        return DeliveryState.SETTLED, 0
    entry = inbox.find(channel_id, position)
    return (DeliveryState.UNSENT, 0) if entry is None else (entry.state, entry.attempt)
