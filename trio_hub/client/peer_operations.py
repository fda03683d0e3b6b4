"""The operations of a hub that are about others, as methods."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import trio

from ..errors import NotFoundError
from ..protocol.discovery import PeerQuery, find
from ..protocol.latency_sketch import LatencySketch
from ..protocol.track_record import sum_up
from ..records import Passport, PeerPage, Resume, TrackRecord
from ..wire import params as p
from .asking import Asking

__all__ = ["LISTED_AGENTS_MAX", "PeerOperations"]

#: Agents that a client looks through at a hub which cannot look for it, such as AG2's: the first ones.
LISTED_AGENTS_MAX = 1_000
_RESUMES_AT_ONCE = 16


@attrs.frozen
class _Listed:
    """An agent as a hub lists it."""

    passport: Passport
    resume: Resume

    def latencies_of(self, _capabilities: Iterable[str]) -> list[LatencySketch]:
        """Return nothing: a resume does not say."""
        return []


class PeerOperations(Asking):
    """What the hub knows of agents, put together."""

    async def find_peers(self, agent_id: str, query: PeerQuery) -> PeerPage:
        """Find whom an agent that is attached here could ask; see `Peers.find`."""
        if self.speaks_plain:
            return find(await self._listed(agent_id, query), query)
        wanted = p.FindPeers(agent_id=agent_id, **attrs.asdict(query, recurse=False))
        page: PeerPage = await self.request("find_peers", wanted, PeerPage)
        return page

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

    async def _listed(self, agent_id: str, query: PeerQuery) -> list[_Listed]:
        """Return whom a hub lists besides an agent itself, each with its resume."""
        params = p.ListAgents(capability=query.capability, kind=query.kind, limit=LISTED_AGENTS_MAX)
        passports: list[Passport] = await self.request("list_agents", params, list[Passport])
        listed: list[_Listed] = []
        problems: list[Exception] = []
        limiter = trio.CapacityLimiter(_RESUMES_AT_ONCE)

        async def read(passport: Passport, of_agent: p.OfAgent) -> None:
            async with limiter:
                try:
                    resume = await self.request("get_resume", of_agent, Resume)
                    listed.append(_Listed(passport, resume))
                except NotFoundError:
                    pass  # It has left since it was listed.
                except Exception as error:
                    problems.append(error)
                    nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for one in passports:
                if one.agent_id is not None and one.agent_id != agent_id:
                    nursery.start_soon(read, one, p.OfAgent(agent_id=one.agent_id))
        if problems:
            raise problems[0]
        return listed
