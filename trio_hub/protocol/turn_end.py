"""What ends a turn that is under way: pure functions of what has arrived, and of the time."""

from __future__ import annotations

import math
from collections.abc import Collection

from ..ids import seconds_from_iso
from ..records import (
    EV_CHANNEL_CLOSED,
    EV_CHANNEL_EXPIRED,
    EV_TASK_CANCEL_REQUEST,
    Envelope,
)
from .adapters import left_by

__all__ = ["seconds_left", "why_it_ends"]


def why_it_ends(
    arrived: Envelope, trigger: Envelope, *, reader_id: str, task_ids: Collection[str] = ()
) -> str | None:
    """
    Say why an envelope ends the turn that another one began; None where it does not.

    The end of the channel does, the reader's leaving it, and a request to cancel: one that names
    the envelope (``event_data["envelope_id"]``) or a task of the turn, or names nothing at all,
    which is all that goes on in the channel.

    Args:
        reader_id: Whose turn it is. It does not cancel its own.
        task_ids: Tasks that it does in this turn.
    """
    if arrived.channel_id != trigger.channel_id or arrived.envelope_id <= trigger.envelope_id:
        return None
    if arrived.event_type == EV_CHANNEL_CLOSED:
        return "the channel was closed"
    if arrived.event_type == EV_CHANNEL_EXPIRED:
        return "the channel has expired"
    if reader_id in left_by(arrived):
        return "it takes no part in the channel any more"
    if arrived.event_type != EV_TASK_CANCEL_REQUEST or arrived.sender_id == reader_id:
        return None
    named = (arrived.event_data.get("envelope_id"), arrived.task_id)
    if named == (None, None):
        return f"{arrived.sender_id} cancelled all that goes on in the channel"
    if named[0] == trigger.envelope_id:
        return f"{arrived.sender_id} cancelled it"
    if named[1] is not None and (named[1] == trigger.task_id or named[1] in task_ids):
        return f"{arrived.sender_id} cancelled its task {named[1]}"
    return None


def seconds_left(trigger: Envelope, *, channel_expires_at: str | None, now: float) -> float:
    """
    Return how long a turn may take: until its envelope or its channel expires, `inf` for ever.

    A TTL that is not above 0 is none. It counts from when the hub took the envelope, and never
    lasts longer than it says, so that a clock that is behind the hub's does not stretch it. What
    the channel has left is taken by the hub's clock alone, as of when the envelope was posted: the
    hub says when it has expired.

    Args:
        now: Seconds since 1970.
    """
    left = math.inf
    posted_at, expires_at = _seconds(trigger.created_at), _seconds(channel_expires_at)
    ttl = trigger.ttl_seconds
    if ttl is not None and ttl > 0:
        left = ttl if posted_at is None else min(ttl, posted_at + ttl - now)
    if posted_at is not None and expires_at is not None:
        left = min(left, expires_at - posted_at)
    return left


def _seconds(moment: str | None) -> float | None:
    if not moment:
        return None
    try:
        return seconds_from_iso(moment)
    except ValueError:
        return None
