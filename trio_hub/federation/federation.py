"""
A hub joined with others.

`Federation.open` is the outline: for each peer a link that is owed what goes there, a proxy that
carries it, a line that the proxy asks by, and a way in for what comes from there.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Self

import trio

from .._logging import get_logger
from .._nursery import open_plain_nursery
from ..auth import NoAuth
from ..errors import ConnectionLost, NetworkError, ProtocolError
from ..hub import Hub, HubListener, PeerHealth
from ..hub.channels import Channel
from ..ids import Now
from ..protocol.backoff import Backoff
from ..protocol.federation import AgentCard, Crossing, CrossingAnswer, Naming, login_name
from ..protocol.federation.policy import check_hubs
from ..wire import params as p
from .arrivals import Arrivals
from .counts import PeerCounts
from .line import Line
from .mirrors import AGENTS_MAX, Mirrors
from .peer import Peer
from .proxy import HubProxy

__all__ = ["Federation"]

log = get_logger(__name__)

_CARDS_AT_ONCE: Final = 200
# Many agents that are registered together are told of together.
_GATHER_SECONDS: Final = 0.2


class Federation:
    """
    A hub's part in a federation. Use `Federation.open`.

    A channel belongs to the hub of the agent that opens it. Agents of other hubs are called
    ``hub://HUB/NAME`` here, and are opened channels with as others are.
    """

    def __init__(
        self,
        hub: Hub,
        name: str,
        peers: Iterable[Peer],
        *,
        clock: Now,
        rng: random.Random,
        backoff: Backoff,
        request_timeout: float,
    ) -> None:
        self.name = name
        self._hub = hub
        self._rng = rng
        self._ends = {
            peer.name: _PeerEnd(self, peer, clock, rng, backoff, request_timeout) for peer in peers
        }

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        hub: Hub,
        name: str,
        peers: Iterable[Peer],
        *,
        allow_unauthenticated: bool = False,
        clock: Now = time.time,
        rng: random.Random | None = None,
        backoff: Backoff | None = None,
        request_timeout: float = 30.0,
    ) -> AsyncIterator[Self]:
        """
        Join a hub with others, for as long as the block lasts.

        Entering does not wait for them. Outside the block, what is for them waits in the logs,
        also over a restart.

        Args:
            hub: An open hub.
            name: What it is called by its peers. It must stay the same.
            peers: The other hubs.
            allow_unauthenticated: Believe whoever says to be a peer, where the hub authenticates
                nobody. For tests, and for hubs that only trusted processes reach.
            clock: Seconds since 1970.
            rng: Source of jitter; for tests.
            backoff: The waits between calls that fail; kept over restarts.
            request_timeout: Seconds after which a peer that does not answer counts as gone.

        Raises:
            ValueError: A name is impossible or there twice; or the hub authenticates nobody.
            RuntimeError: The hub is part of a federation already.
            StoreError: What is needed could not be kept or read.

        Cancellation: as leaving the block; what is in hand comes again.
        """
        peers = list(peers)
        check_hubs(name, [it.name for it in peers])
        if NoAuth.scheme in hub.auth_schemes and not allow_unauthenticated:
            raise ValueError(
                "this hub authenticates nobody, so anybody could act as a peer of it: give it an "
                "AuthRegistry, or insist with allow_unauthenticated=True"
            )
        federation = cls(
            hub,
            name,
            peers,
            clock=clock,
            # Keys must differ from those of every other client of the peers.
            rng=rng if rng is not None else random.SystemRandom(),
            backoff=backoff if backoff is not None else Backoff(base=0.5, cap=60.0),
            request_timeout=request_timeout,
        )
        async with AsyncExitStack() as stack:
            for end in federation._ends.values():
                await end.mirrors.open()
                end.line.route = await stack.enter_async_context(
                    hub.remote_proxy(end.proxy, accepts_invites=False, paused=True)
                )
            await stack.enter_async_context(hub.federated(federation))
            await stack.enter_async_context(hub.add_listener(_Newcomers(federation)))
            nursery = await stack.enter_async_context(open_plain_nursery())
            for end in federation._ends.values():
                nursery.start_soon(end.line.run)
            try:
                yield federation
            finally:
                nursery.cancel_scope.cancel()

    async def wait_up(self, peer: str) -> None:
        """
        Return once a peer can be reached.

        Raises:
            KeyError: There is no such peer.

        Cancellation: changes nothing.
        """
        await self._ends[peer].line.wait(up=True)

    async def wait_down(self, peer: str) -> None:
        """Return once a peer cannot be reached. Otherwise as `wait_up`."""
        await self._ends[peer].line.wait(up=False)

    def health(self) -> tuple[PeerHealth, ...]:
        """Say how it stands with each peer. Never blocks."""
        return tuple(end.health() for end in self._ends.values())

    # What the hub asks (see `FederationDoor`)

    def peer_among(self, bound: Mapping[str, str]) -> str | None:
        """Return the peer that a connection acts for, by the ids and names bound to it."""
        names = set(bound.values())
        return next((it for it in self._ends if login_name(it) in names), None)

    async def arrived(self, peer: str, crossing: Crossing) -> CrossingAnswer:
        """Take an envelope of a peer. What it answers is durable."""
        return await self._ends[peer].arrivals.take(crossing)

    async def introduced(self, peer: str, told: p.CrossAgents) -> str:
        """Learn of a peer's agents; return the name of this hub."""
        if told.to == self.name:
            await self._ends[peer].learn(told)
        return self.name

    def may_peer_send(self, peer: str, channel_id: str, sender: str) -> tuple[str, str]:
        """Return channel and id here of an agent of a peer. Raises `AccessDeniedError`."""
        return channel_id, self._ends[peer].arrivals.member(channel_id, sender)

    async def may_send(self, channel: Channel, sender_id: str, event_type: str) -> bool:
        """Ask the owner of a channel whether an agent may post. Raises `ConnectionLost`."""
        for end in self._ends.values():
            if end.mirrors.link_id == channel.recipients.owner:
                sender = end.naming.address(self._hub.name_for(sender_id))
                wish = p.CrossCanSend(
                    channel_id=channel.channel_id, sender=sender, event_type=event_type
                )
                answer: bool = await end.line.ask("cross_can_send", wish, bool)
                return answer
        raise ConnectionLost("the hub that owns the channel is no peer of this one any more")

    # Inside

    def agents_changed(self) -> None:
        """Have all peers told again which agents there are."""
        for end in self._ends.values():
            end.agents_changed()


class _PeerEnd:
    """Everything that there is for one peer."""

    def __init__(
        self,
        federation: Federation,
        peer: Peer,
        clock: Now,
        rng: random.Random,
        backoff: Backoff,
        request_timeout: float,
    ) -> None:
        hub = federation._hub  # noqa: SLF001  (of this very module)
        self.naming = Naming(federation.name, peer.name)
        self.mirrors = Mirrors(hub, peer.name)
        self._peer = peer
        self._hub = hub
        self._counts = PeerCounts()
        self.line = Line(
            federation.name,
            peer,
            hub.store,
            self._talk,
            clock=clock,
            rng=rng,
            backoff=backoff,
            request_timeout=request_timeout,
        )
        self.proxy = HubProxy(hub, self.line, self.naming, self._counts, rng)
        self.arrivals = Arrivals(hub, self.naming, peer.policy, self.mirrors, self._counts)
        self._to_tell = trio.Event()
        # Names in the list that the peer is telling, and the serials of it and of the last whole one.
        self._told: set[str] = set()
        self._telling = self._learned = ""

    def health(self) -> PeerHealth:
        line, counts = self.line, self._counts
        return PeerHealth(
            name=self._peer.name,
            up=line.is_up,
            since=line.since,
            failures=line.dial.failures,
            owed=self._hub.owed_to(self.mirrors.link_id),
            agents=len(self.mirrors.names()),
            sent=counts.sent,
            received=counts.received,
            refused=counts.refused,
            turned_away=counts.turned_away,
            loops=counts.loops,
            problem=line.problem,
        )

    # Outwards

    def agents_changed(self) -> None:
        self._to_tell.set()

    async def _talk(self, task_status: trio.TaskStatus[None]) -> None:
        """Tell the peer who there is, and again whenever that has changed."""
        is_first = True
        while True:
            self._to_tell = trio.Event()
            await self._introduce()
            if is_first:
                is_first = False
                task_status.started()
            await self._to_tell.wait()
            await trio.sleep(_GATHER_SECONDS)

    async def _introduce(self) -> None:
        cards = [
            AgentCard(passport=it, resume=self._hub.get_resume(it.agent_id or ""))
            for it in self._hub.list_agents()
            if it.effective_kind != "remote_agent" and self._peer.policy.shows(it.name)
        ][:AGENTS_MAX]
        start, serial = 0, self._hub.channels.mint()
        while True:
            batch = tuple(cards[start : start + _CARDS_AT_ONCE])
            start += len(batch)
            more = start < len(cards)
            there: str = await self.line.ask(
                "cross_agents",
                p.CrossAgents(to=self._peer.name, serial=serial, cards=batch, more=more),
                str,
            )
            if there != self._peer.name:
                raise ProtocolError(
                    f"the hub that was called is {there!r}, and not {self._peer.name!r}: see the "
                    "configuration of both"
                )
            if not more:
                return

    # Inwards

    async def learn(self, told: p.CrossAgents) -> None:
        """Have mirrors of the agents that a peer tells of, as far as they are let in."""
        if told.serial < self._telling or told.serial <= self._learned:
            return  # It was overtaken by a later list, or is here already.
        if told.serial != self._telling:
            self._telling, self._told = told.serial, set()
        for card in told.cards:
            there = card.passport.name
            name = f"hub://{self._peer.name}/{there}"
            if len(self._told) < AGENTS_MAX and self._peer.policy.lets_in(there):
                self._told.add(name)
                try:
                    await self.mirrors.ensure(name, card)
                except NetworkError as error:
                    if error.retryable:
                        raise
                    log.warning("agent not let in", agent=name, reason=error.message)
        if not told.more and told.serial == self._telling:
            self._learned = told.serial
            await self.mirrors.keep_only(frozenset(self._told))


class _Newcomers(HubListener):
    """Hears of agents that come, go and change."""

    def __init__(self, federation: Federation) -> None:
        self._federation = federation

    async def on_agent_event(self, agent_id: str, kind: str, payload: Mapping[str, Any]) -> None:
        if kind in ("registered", "unregistered", "resume_set"):
            self._federation.agents_changed()
