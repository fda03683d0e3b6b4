"""Who there is to ask: what one agent is shown of another when it looks around."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import attrs

from .identity import CostProfile, PassportKind, TrackRecord

__all__ = ["PeerOrder", "PeerPage", "PeerSummary"]

#: By what peers are ordered: their names, how well they did (best first), or what they cost.
PeerOrder = Literal["name", "track_record", "cost"]


@attrs.frozen(kw_only=True)
class PeerSummary:
    """
    Somebody who could be asked, in a few words; `Peers.describe` tells more.

    Attributes:
        kind: "agent", "human" or "remote_agent".
        summary: What it says of itself; a long one is cut off.
        capabilities: What it claims, and what was observed of it; of many, the first.
        track_record: What was observed of the capability that was asked for, or of all of them.
    """

    name: str
    agent_id: str
    kind: PassportKind = "agent"
    summary: str = ""
    capabilities: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    cost: CostProfile | None = None
    track_record: TrackRecord = attrs.field(factory=TrackRecord)


@attrs.frozen(kw_only=True)
class PeerPage:
    """
    Some of those that were found, in order; it can be gone through as it is.

    Attributes:
        after: Where the next page goes on; None where there is nobody else.
    """

    peers: tuple[PeerSummary, ...] = ()
    after: str | None = None

    def __iter__(self) -> Iterator[PeerSummary]:
        return iter(self.peers)

    def __len__(self) -> int:
        return len(self.peers)

    def __getitem__(self, index: int) -> PeerSummary:
        return self.peers[index]
