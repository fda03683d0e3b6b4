"""The identities that stand here for the agents of one peer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final

import attrs
import trio

from .._logging import get_logger
from ..errors import AccessDeniedError
from ..hub import Hub
from ..hub.federation import is_mirror
from ..protocol.federation import HUB_SCHEME, AgentCard, link_name
from ..protocol.federation.addresses import link_scheme
from ..records import AuthBlock, Passport, Resume

__all__ = ["AGENTS_MAX", "Mirrors"]

log = get_logger(__name__)

#: Agents of one other hub that are known here. A peer that names more is not believed.
AGENTS_MAX: Final = 10_000


class Mirrors:
    """
    All mirrors of one peer's agents, and the link that they are reached by.

    Args:
        hub: Where they are registered.
        peer: The name of the other hub.
    """

    def __init__(self, hub: Hub, peer: str) -> None:
        self.link_id = ""
        self._hub = hub
        self._peer = peer
        self._registering = trio.Lock()
        # Names of those about to take part in something, and how often.
        self._held: Counter[str] = Counter()

    async def open(self) -> None:
        """Register the link, where it is not."""
        name = link_name(self._peer)
        known = self._hub.find_agent_id(name)
        if known is None:
            passport = Passport(
                name=name,
                kind="remote_agent",
                hub_id=self._peer,
                auth=AuthBlock(scheme=link_scheme(self._peer)),
            )
            known = (await self._hub.register(passport)).agent_id
        assert known is not None
        self.link_id = known

    def names(self) -> list[str]:
        """Return the names of all mirrors of the peer."""
        return [
            it.name
            for it in self._hub.list_agents(kind="remote_agent")
            if is_mirror(it) and it.hub_id == self._peer
        ]

    async def ensure(self, name: str, card: AgentCard | None = None) -> str:
        """
        Return the id of the mirror of that name, registered now where there was none.

        Args:
            card: What is known of the agent.

        Raises:
            AccessDeniedError: There are as many as there may be, or the arbiter forbids it.
            ProtocolError: The name is too long.
            StoreError: It could not be kept.
        """
        async with self._registering:
            known = self._hub.find_agent_id(name)
            if known is None:
                if len(self.names()) >= AGENTS_MAX:
                    raise AccessDeniedError(
                        f"{AGENTS_MAX} agents of one hub are known here already"
                    )
                registered = await self._hub.register(
                    _mirror_of(name, self._peer, card), card.resume if card else None
                )
                known = registered.agent_id
                assert known is not None
            elif card is not None and _differs(self._hub.get_resume(known), card.resume):
                await self._hub.set_resume(known, card.resume, by=link_name(self._peer))
        return known

    @contextmanager
    def held(self, names: Collection[str]) -> Iterator[None]:
        """Let none of these go while the block lasts, though they take part in nothing yet."""
        self._held.update(names)
        try:
            yield
        finally:
            self._held.subtract(names)
            self._held += Counter()

    async def keep_only(self, names: Collection[str]) -> None:
        """Unregister those that are not among `names` and take part in nothing."""
        for name in self.names():
            agent_id = self._hub.find_agent_id(name)
            if (
                name not in names
                and not self._held[name]
                and agent_id is not None
                and not self._hub.list_channels(agent_id=agent_id, limit=1)
            ):
                await self._hub.unregister(agent_id, by=link_name(self._peer))


def _mirror_of(name: str, peer: str, card: AgentCard | None) -> Passport:
    passport = Passport(name=name) if card is None else card.passport
    return attrs.evolve(
        passport,
        name=name,
        kind="remote_agent",
        hub_id=peer,
        auth=AuthBlock(scheme=HUB_SCHEME),
        agent_id=None,
        created_at="",
    )


def _differs(known: Resume, told: Resume) -> bool:
    # Version, date and what was observed are each hub's own.
    def said(resume: Resume) -> tuple[object, ...]:
        return (
            resume.claimed_capabilities,
            resume.domains,
            resume.summary,
            resume.examples,
        )

    return said(known) != said(told)
