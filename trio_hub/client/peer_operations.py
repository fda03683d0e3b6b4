"""The operations of a hub that are about others, as methods."""

from __future__ import annotations

from ..protocol.track_record import sum_up
from ..records import Resume, TrackRecord
from ..wire import params as p
from .asking import Asking

__all__ = ["PeerOperations"]


class PeerOperations(Asking):
    """What the hub knows of agents, put together."""

    async def get_track_record(self, agent_id: str) -> dict[str, TrackRecord]:
        """
        Read how an agent's tasks ended and how long they took, by capability.

        AG2's hubs have no such operation: what their resumes say is here without percentiles, but
        for what they call the median.
        """
        of_agent = p.OfAgent(agent_id=agent_id)
        if self.speaks_plain:
            resume: Resume = await self.request("get_resume", of_agent, Resume)
            return {name: sum_up([stat], []) for name, stat in resume.observed.items()}
        found: dict[str, TrackRecord] = await self.request(
            "get_track_record", of_agent, dict[str, TrackRecord]
        )
        return found
