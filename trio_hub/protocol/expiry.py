"""
When an envelope need not be delivered any more: pure, of the envelope alone.

A TTL counts from when the hub accepted the envelope, so it means the same after a restart. One
that is not above 0 is none.
"""

from __future__ import annotations

from typing import Final

from ..ids import seconds_from_id, seconds_from_iso
from ..records import Envelope

__all__ = ["EXPIRED", "expires_at"]

#: The reason of an ack by which a client says that an envelope waited with it for longer than its
#: TTL, and that its handler never saw it.
EXPIRED: Final = "expired"

# Beyond any date, and small enough to be added to one.
_TTL_SECONDS_MAX = 1e15


def expires_at(envelope: Envelope) -> float | None:
    """Return when an accepted envelope's TTL is over, in seconds since 1970; None: it has none."""
    ttl = envelope.ttl_seconds
    if ttl is None or ttl <= 0:
        return None
    try:
        accepted_at = seconds_from_iso(envelope.created_at)
    except ValueError:
        # Only a log that another program has written says no time; the id does.
        accepted_at = seconds_from_id(envelope.envelope_id)
    return accepted_at + min(ttl, _TTL_SECONDS_MAX)
