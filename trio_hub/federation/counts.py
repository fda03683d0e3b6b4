"""What was counted of the traffic with one peer since the hub opened."""

from __future__ import annotations

import attrs

__all__ = ["PeerCounts"]


@attrs.define
class PeerCounts:
    """See `PeerHealth`, where these are shown."""

    sent: int = 0
    received: int = 0
    refused: int = 0
    turned_away: int = 0
    loops: int = 0
