"""Tools with which a model finds others in the network, reads about them, and asks them."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from ..client import Turn
from ..records import PassportKind, PeerOrder, PeerSummary, TrackRecord
from ._tools import Tool

__all__ = ["FOUND_PEERS_MAX", "SHOWN_CHARACTERS_MAX", "SHOWN_WORDS_MAX", "peer_tools"]

#: Peers that one call of a model's `find_peers` returns: as many as it can choose among.
FOUND_PEERS_MAX: Final = 20
#: Of a skill page, and of a summary, that a model is shown: what it can read without losing the thread.
SHOWN_CHARACTERS_MAX: Final = 20_000
#: Capabilities, and domains, of one peer that a model is shown.
SHOWN_WORDS_MAX: Final = 100


def peer_tools(*, timeout_seconds: float = 300.0) -> list[Tool]:
    """
    Make the tools ``find_peers``, ``describe_peer`` and ``delegate``, for the `tools` of an agent.

    They act as the agent whose turn it is, so they find whom its rule lets it speak to, and
    questions are counted as `Turn.delegate` counts them. What they return is bounded.

    Args:
        timeout_seconds: How long ``delegate`` waits for an answer; then the model is told that
            there is none.
    """

    async def find_peers(
        turn: Turn,
        capability: _Capability = None,
        domain: _Domain = None,
        text: _Text = None,
        kind: PassportKind | None = None,
        sort_by: PeerOrder = "name",
        limit: _Limit = 10,
        after: _After = None,
    ) -> dict[str, Any]:
        """Find others in the network whom you could ask. Without arguments: everybody."""
        page = await turn.peers.find(
            capability=capability,
            domain=domain,
            text=text,
            kind=kind,
            sort_by=sort_by,
            limit=limit,
            after=after,
        )
        return {"peers": [_card(it) for it in page], "after": page.after}

    async def describe_peer(turn: Turn, name: _Name) -> dict[str, Any]:
        """Read all that is known of one of the others: what it can do, and how well it did."""
        profile = await turn.peers.describe(name)
        resume, skill = profile.resume, profile.skill
        return {
            "name": profile.name,
            "kind": profile.passport.effective_kind,
            "summary": resume.summary[:SHOWN_CHARACTERS_MAX],
            "capabilities": resume.claimed_capabilities[:SHOWN_WORDS_MAX],
            "domains": resume.domains[:SHOWN_WORDS_MAX],
            "track_record": {
                capability: _figures(record)
                for capability, record in list(profile.track_record.items())[:SHOWN_WORDS_MAX]
            },
            "skill": "" if skill is None else skill.markdown[:SHOWN_CHARACTERS_MAX],
        }

    async def delegate(turn: Turn, name: _Name, question: _Question) -> str:
        """Ask one of the others a question, and return the answer."""
        return await turn.delegate(name, question, timeout=timeout_seconds)

    return [Tool.of(it) for it in (find_peers, describe_peer, delegate)]


def _meta(description: str, **bounds: Any) -> msgspec.Meta:
    return msgspec.Meta(description=description, **bounds)


_Name = Annotated[str, _meta("Its name, as find_peers tells it.")]
_Question = Annotated[
    str, _meta("All that has to be known to answer; the other sees nothing else of this.")
]
_Capability = Annotated[str | None, _meta("Only those with this capability, spelled alike.")]
_Domain = Annotated[str | None, _meta("Only those of this domain, spelled alike.")]
_Text = Annotated[str | None, _meta("Only those that mention this text.")]
_Limit = Annotated[int, _meta("At most so many.", ge=1, le=FOUND_PEERS_MAX)]
_After = Annotated[str | None, _meta("Go on behind an earlier answer: its `after`.")]


def _card(peer: PeerSummary) -> dict[str, Any]:
    return {
        "name": peer.name,
        "kind": peer.kind,
        "summary": peer.summary,
        "capabilities": peer.capabilities,
        "domains": peer.domains,
        "track_record": _figures(peer.track_record),
        "cost": peer.cost,
    }


def _figures(record: TrackRecord) -> dict[str, Any]:
    return {
        "tasks": record.n,
        "success_rate": record.success_rate,
        "median_ms": record.p50_latency_ms,
        "p95_ms": record.p95_latency_ms,
    }
