"""Which tools there are, and what happens when one is called: a consult with an agent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import attrs
import trio

from ..client import AgentClient
from ..errors import NotFoundError
from ..protocol.discovery import PEERS_MAX
from ..records import PeerSummary

__all__ = ["TOOL_STEM_CHARACTERS_MAX", "PeerTool", "PeerTools"]

# Many clients take no other characters in the name of a tool, and no more than 64 of them.
_ODD: Final = re.compile(r"[^A-Za-z0-9_-]+")
#: Of an agent's name in the name of its tool: many clients take 64 characters with all that stands
#: around it.
TOOL_STEM_CHARACTERS_MAX: Final = 48
_PREFIX: Final = "ask_"
_SUFFIX_DIGITS: Final = 8


@attrs.frozen(kw_only=True)
class PeerTool:
    """
    An agent as a tool.

    Attributes:
        name: Of the tool: ``ask_`` and the agent's name, in characters that every client takes.
        description: What the agent says it is good for.
        agent_name: Of the agent.
    """

    name: str
    description: str
    agent_id: str
    agent_name: str


class PeerTools:
    """
    The agents that one of them can see, as tools.

    Args:
        client: Who asks. It opens a consulting channel for each question.
        capability: Only agents that claim it, or were seen to have it.
        peers_max: At most so many tools.
        timeout_seconds: How long an answer may take, from the opening of the channel.
    """

    def __init__(
        self,
        client: AgentClient,
        *,
        capability: str | None = None,
        peers_max: int = 100,
        timeout_seconds: float = 300.0,
    ) -> None:
        self._client = client
        self._capability = capability
        self._peers_max = peers_max
        self._timeout_seconds = timeout_seconds

    async def tools(self) -> list[PeerTool]:
        """
        Return a tool for each agent that can be asked, as the hub knows them now.

        People are left out: they may take a day. So is whom a rule keeps the asker from.

        Raises:
            NetworkError: The hub does not say.

        Cancellation: nothing happens.
        """
        peers = await self._peers()
        names = _tool_names(peers)
        return [
            PeerTool(
                name=names[peer.agent_id],
                description=_description(peer),
                agent_id=peer.agent_id,
                agent_name=peer.name,
            )
            for peer in peers
        ]

    async def ask(self, tool_name: str, question: str) -> str:
        """
        Put a question to the agent behind a tool, and return its answer.

        Raises:
            NotFoundError: There is no such tool (any more).
            NetworkError: The agent cannot be asked, or the channel ended without an answer.
            trio.TooSlowError: There was no answer in time. The channel is closed then.

        Durability: the question is on the hub's disk before the wait for an answer begins.

        Cancellation: the channel is closed; the question stays in its log.
        """
        names = _tool_names(await self._peers())
        agent_id = next((it for it, name in names.items() if name == tool_name), None)
        if agent_id is None:
            raise NotFoundError(f"no agent stands behind a tool called {tool_name!r}: list again")
        with trio.move_on_after(self._timeout_seconds):
            # The scope around this is the one that counts: it names the tool.
            timeout = 2 * self._timeout_seconds
            return await self._client.consult(agent_id, question, timeout=timeout)
        raise trio.TooSlowError(f"{tool_name} gave no answer within {self._timeout_seconds:g} s")

    async def _peers(self) -> list[PeerSummary]:
        found: list[PeerSummary] = []
        after: str | None = None
        while len(found) < self._peers_max:
            page = await self._client.peers.find(
                capability=self._capability, limit=PEERS_MAX, after=after
            )
            found += [it for it in page if it.kind != "human"]
            after = page.after
            if after is None:
                break
        return found[: self._peers_max]


def _description(peer: PeerSummary) -> str:
    said = [peer.summary or f"Ask the agent {peer.name}."]
    if peer.capabilities:
        said.append(f"Capabilities: {', '.join(peer.capabilities)}.")
    return " ".join(said)


def _tool_names(peers: Sequence[PeerSummary]) -> dict[str, str]:
    """Name a tool for each agent; where two would be alike, each has digits of its id behind it."""
    stems = {
        peer.agent_id: _PREFIX + _ODD.sub("_", peer.name)[:TOOL_STEM_CHARACTERS_MAX]
        for peer in peers
    }
    alike = list(stems.values())
    return {
        agent_id: stem if alike.count(stem) == 1 else f"{stem}_{agent_id[-_SUFFIX_DIGITS:]}"
        for agent_id, stem in stems.items()
    }
