"""Looking around: whom one could ask, and what is known of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ..protocol.discovery import PEERS_LIMIT_DEFAULT, PeerQuery
from ..protocol.skill import Skill, read_skill
from ..records import Passport, PassportKind, PeerOrder, PeerPage, PeerSummary, Resume, TrackRecord

if TYPE_CHECKING:
    from .identity_client import IdentityClient

__all__ = ["PeerProfile", "Peers"]


@attrs.frozen(kw_only=True)
class PeerProfile:
    """
    All that is known of somebody.

    Attributes:
        resume: What it says of itself, and how many tasks of which capability ended how.
        track_record: The same with percentiles of how long they took, by capability.
        skill: Its skill page; None where it has none.
    """

    passport: Passport
    resume: Resume
    track_record: dict[str, TrackRecord]
    skill: Skill | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self.passport.name

    @property
    def agent_id(self) -> str:
        """Its id."""
        return self.passport.stamped_id


class Peers:
    """
    The others, as one agent or person sees them; `AgentClient.peers` and `Turn.peers` are one.

    Args:
        client: Who looks around.
    """

    def __init__(self, client: IdentityClient) -> None:
        self._client = client

    async def find(
        self,
        *,
        capability: str | None = None,
        domain: str | None = None,
        text: str | None = None,
        kind: PassportKind | None = None,
        sort_by: PeerOrder = "name",
        limit: int = PEERS_LIMIT_DEFAULT,
        after: str | None = None,
    ) -> PeerPage:
        """
        Find whom one could ask: everybody who meets all that is given. Nothing finds everybody.

        Oneself is left out, and so is whom the two rules keep one from speaking to (AG2's hubs do
        not look at those).

        Args:
            capability: One that is claimed, or was observed; spelled alike.
            domain: One that is named in the resume; spelled alike.
            text: Stands in the name, the summary, a domain or a capability, in upper or lower case.
            kind: "agent", "human" or "remote_agent".
            sort_by: "name"; "track_record" puts those first who did best, in `capability` where
                that is given; "cost" those that are cheapest.
            limit: At most so many; the hub gives 100 at a time.
            after: Go on behind an earlier page: its `after`.

        Raises:
            ProtocolError: `after` is not of an earlier page.
            TakenOver, ConnectionLost: One is not attached any more.

        Cancellation: nothing happens.
        """
        self._client.identity.check_attached()
        query = PeerQuery(
            capability=capability,
            domain=domain,
            text=text,
            kind=kind,
            sort_by=sort_by,
            limit=limit,
            after=after,
        )
        return await self._client.hub_client.find_peers(self._client.agent_id, query)

    async def describe(self, peer: str | PeerSummary) -> PeerProfile:
        """
        Return all that is known of somebody.

        A skill page whose front matter cannot be read is there all the same: see `Skill.problem`.

        Args:
            peer: A name or an id, or one that was found.

        Raises:
            NotFoundError: There is nobody of that name.

        Cancellation: nothing happens.
        """
        self._client.identity.check_attached()
        hub_client = self._client.hub_client
        passport = await hub_client.get_agent(
            peer.agent_id if isinstance(peer, PeerSummary) else peer
        )
        agent_id = passport.stamped_id
        resume = await hub_client.get_resume(agent_id)
        track_record = await hub_client.get_track_record(agent_id)
        page = await hub_client.get_skill(agent_id)
        return PeerProfile(
            passport=passport,
            resume=resume,
            track_record=track_record,
            skill=None if page is None else read_skill(page),
        )
