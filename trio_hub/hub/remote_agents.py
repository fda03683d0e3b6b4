"""
Agents that are somewhere else: reached through a proxy instead of a connection.

A *remote agent* is registered like any other, with the kind ``remote_agent``; its auth scheme
says which proxy reaches it. To the deliveries a proxy is one more connection: what is posted to
the agent is dispatched in the order of the log, one channel after another and channels side by
side; what the proxy returned from is settled, what it raised at comes again and becomes a dead
letter in the end. While no proxy is there, or its link is down, it waits in the log, and that
counts for no attempt.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Literal, Protocol, runtime_checkable

import attrs
import trio

from .._logging import get_logger
from .._nursery import open_plain_nursery
from ..errors import ConnectionLost, NetworkError, StoreError
from ..protocol.backoff import Backoff
from ..protocol.inbox import Delivery
from ..records import EV_CHANNEL_INVITE, EV_CHANNEL_INVITE_ACK, Envelope, Passport
from ..records.dead_letter import FAILURE_CHARACTERS_MAX
from ..wire.frames import ReceiptFrame
from ..wire.validation import decode_strictly
from .announcer import Announcer
from .deliveries import Deliveries
from .registry import Registry

__all__ = ["REMOTE_KIND", "ProxyRoute", "RemoteAgentProxy", "RemoteAgents", "Undeliverable"]

log = get_logger(__name__)

REMOTE_KIND: Final = "remote_agent"


# How long a proxy is left alone that says that its link is down.
_LINK_BACKOFF: Final = Backoff(base=0.5, cap=30.0)
# How often the ledger is told that an envelope is still being carried: well below any `ack_wait`
# that is worth the name.
_PROGRESS_SECONDS: Final = 60.0


class Undeliverable(Exception):
    """Raise it from `RemoteAgentProxy.dispatch`: the other side will never take that envelope."""


@runtime_checkable
class RemoteAgentProxy(Protocol):
    """
    Carries envelopes to agents that are somewhere else. The shape is AG2's.

    Attributes:
        scheme: Which remote agents it reaches: those whose passport's ``auth.scheme`` it is.
    """

    scheme: str

    async def dispatch(self, envelope: Envelope, recipient: Passport) -> None:
        """
        Hand an envelope over to `recipient`.

        Return once the other side has it for good: it is settled then. It may come again after
        a crash, with the same `envelope_id`; the other side should know it by that.

        Raises: anything, where it was not handed over. It comes again, with a growing delay, and
        is a dead letter in the end. `ConnectionLost` says that nothing can be handed over now:
        then all that the proxy carries waits for a while, and no attempt is counted.
        `Undeliverable` says that the other side will never take it: it is a dead letter at once.

        Cancellation: it was not handed over.
        """
        ...

    async def close(self) -> None:
        """Let go of what the proxy holds. Called once, when its block is left."""
        ...


class RemoteAgents:
    """
    The proxies of one hub.

    Args:
        registry: Who there is.
        deliveries: Where proxies stand in for connections.
        announcer: Told of what could not be dispatched.
        post: Posts an envelope; for answers to invites.
        warm: Reads the logs in which something may wait for an agent.
        rng: Source of jitter.
        is_revoked: Whether operators have shut a name out, so that nothing is handed over to it.
    """

    def __init__(
        self,
        registry: Registry,
        deliveries: Deliveries,
        announcer: Announcer,
        post: Callable[[Envelope], Awaitable[str]],
        warm: Callable[[str], Awaitable[None]],
        rng: random.Random,
        is_revoked: Callable[[str], object],
    ) -> None:
        self._is_revoked = is_revoked
        self.warm = warm
        self.rng = rng
        self._registry = registry
        self._deliveries = deliveries
        self._announcer = announcer
        self._post = post
        self._routes: dict[str, ProxyRoute] = {}

    @asynccontextmanager
    async def routed(
        self, proxy: RemoteAgentProxy, *, accepts_invites: bool, at_once_max: int, paused: bool
    ) -> AsyncIterator[ProxyRoute]:
        """See `Hub.remote_proxy`."""
        if proxy.scheme in self._routes:
            raise ValueError(f"the scheme {proxy.scheme!r} has a proxy already")
        try:
            async with open_plain_nursery() as nursery:
                route = ProxyRoute(self, proxy, nursery, accepts_invites, at_once_max)
                self._routes[proxy.scheme] = route
                nursery.start_soon(route.tell_progress)
                if not paused:
                    await route.resume()
                try:
                    yield route
                finally:
                    route.pause()
                    nursery.cancel_scope.cancel()
        finally:
            self._routes.pop(proxy.scheme, None)
            with trio.CancelScope(shield=True):
                await proxy.close()

    def registered(self, passport: Passport) -> None:
        """Let an agent's proxy, if it is one that has any, have what is for it."""
        route = self._routes.get(passport.auth.scheme)
        if route is not None and route.is_up and self._reached_by(route.proxy, passport):
            route.bind(passport)

    def unregistered(self, agent_id: str) -> None:
        """Forget an agent that is no more."""
        for route in self._routes.values():
            route.forget(agent_id)

    def revoked(self, agent_id: str) -> None:
        """Hand nothing more over to an agent, and take back what is in hand: it is kept."""
        for route in self._routes.values():
            route.take_back(agent_id)

    async def reinstated(self, agent_id: str) -> None:
        """Go on with what an agent is owed."""
        passport = self._registry.get(agent_id).passport
        route = self._routes.get(passport.auth.scheme)
        if route is None:
            return
        try:
            await self.warm(agent_id)
        except StoreError as error:
            log.warning("a proxy waits for the store", error=error.message)
            route.link_is_down()
        else:
            # Unless it is gone by now, or revoked once more.
            if self._registry.find(agent_id) is not None:
                self.registered(passport)

    def _reached_by(self, proxy: RemoteAgentProxy, passport: Passport) -> bool:
        return (
            passport.effective_kind == REMOTE_KIND
            and passport.auth.scheme == proxy.scheme
            and not self._is_revoked(passport.name)
        )

    # What routes need

    def reached_by(self, proxy: RemoteAgentProxy) -> list[Passport]:
        """Return the agents that are a proxy's."""
        return [it.passport for it in self._registry if self._reached_by(proxy, it.passport)]

    def attach(self, agent_id: str, binding: _ProxyBinding) -> None:
        self._deliveries.attach(agent_id, binding)

    def detach(self, agent_id: str, binding: _ProxyBinding) -> None:
        self._deliveries.detach(agent_id, binding)

    def settle(self, binding: _ProxyBinding, carried: _Carried, error: Exception | None) -> None:
        """Take a receipt, as long as the agent is still the proxy's."""
        agent_id, envelope = binding.agent_id, carried.envelope
        if self._deliveries.binding_of(agent_id) is not binding:
            return
        reason = ""
        if error is not None:
            reason = f"{type(error).__name__}: {error}"[:FAILURE_CHARACTERS_MAX]
            self._announcer.dispatch_failed(envelope, agent_id, NetworkError(reason))
        if isinstance(error, Undeliverable) and self._deliveries.give_up(
            agent_id, envelope.channel_id, carried.position, f"undeliverable: {error}"
        ):
            return
        self._receipt(binding, envelope, "ack" if error is None else "nack", reason)

    def progress(self, binding: _ProxyBinding, envelope: Envelope) -> None:
        """Say that an envelope is still being carried."""
        if self._deliveries.binding_of(binding.agent_id) is binding:
            self._receipt(binding, envelope, "progress")

    def _receipt(
        self,
        binding: _ProxyBinding,
        envelope: Envelope,
        status: Literal["ack", "nack", "progress"],
        reason: str = "",
    ) -> None:
        self._deliveries.receipt(
            ReceiptFrame(
                envelope_id=envelope.envelope_id,
                status=status,
                recipient_id=binding.agent_id,
                channel_id=envelope.channel_id,
                reason=reason,
            )
        )

    async def accept(self, invite: Envelope, agent_id: str) -> None:
        """Accept an invite for a remote agent. Accepting again does nothing."""
        await self._post(
            Envelope(
                channel_id=invite.channel_id,
                sender_id=agent_id,
                event_type=EV_CHANNEL_INVITE_ACK,
                event_data={"channel_id": invite.channel_id},
                causation_id=invite.envelope_id,
            )
        )


class ProxyRoute:
    """
    One proxy, and the agents that it reaches; `Hub.remote_proxy` makes them.

    Attributes:
        is_up: Whether envelopes are given to the proxy now.
    """

    def __init__(
        self,
        agents: RemoteAgents,
        proxy: RemoteAgentProxy,
        nursery: trio.Nursery,
        accepts_invites: bool,
        at_once_max: int,
    ) -> None:
        self.agents = agents
        self.proxy = proxy
        self.nursery = nursery
        self.accepts_invites = accepts_invites
        self.limiter = trio.CapacityLimiter(at_once_max)
        self.is_up = False
        self._failures = 0
        self._waiting = False
        self._bindings: dict[str, _ProxyBinding] = {}

    def pause(self) -> None:
        """
        Give the proxy nothing more, and take back what it has in hand. Idempotent.

        What it was dispatching is cancelled; it comes again after `resume`. No attempt is counted.
        """
        self.is_up = False
        bindings, self._bindings = self._bindings, {}
        for agent_id, binding in bindings.items():
            self.agents.detach(agent_id, binding)
            binding.stop()

    async def resume(self) -> None:
        """
        Give the proxy what its agents are owed, from where they stand. Idempotent.

        Raises:
            StoreError: What waits for them cannot be read now; it stays paused.

        Cancellation: it stays paused.
        """
        if self.is_up:
            return
        for passport in self.agents.reached_by(self.proxy):
            await self.agents.warm(passport.stamped_id)
        if not self.is_up:
            self.is_up = True
            for passport in self.agents.reached_by(self.proxy):
                self.bind(passport)

    def take_back(self, agent_id: str) -> None:
        """Give the proxy nothing more for one agent. No attempt is counted."""
        binding = self._bindings.pop(agent_id, None)
        if binding is not None:
            self.agents.detach(agent_id, binding)
            binding.stop()

    def bind(self, passport: Passport) -> None:
        binding = _ProxyBinding(self, passport)
        self._bindings[binding.agent_id] = binding
        self.agents.attach(binding.agent_id, binding)

    def forget(self, agent_id: str) -> None:
        binding = self._bindings.pop(agent_id, None)
        if binding is not None:
            binding.stop()

    def dispatched(self) -> None:
        """The link works."""
        self._failures = 0

    def link_is_down(self) -> None:
        """Pause, and try again in a while, unless somebody resumes it before."""
        if not self.is_up:
            return
        self.pause()
        if not self._waiting:
            self._waiting = True
            wait = _LINK_BACKOFF.delay(self._failures, self.agents.rng)
            self._failures += 1
            self.nursery.start_soon(self._resume_in, wait)

    async def _resume_in(self, seconds: float) -> None:
        try:
            while not self.is_up:
                await trio.sleep(seconds)
                try:
                    await self.resume()
                except StoreError as error:
                    log.warning("a proxy waits for the store", error=error.message)
        finally:
            self._waiting = False

    async def tell_progress(self) -> None:
        """Say of what takes long that it is still under way, until cancelled."""
        while True:
            await trio.sleep(_PROGRESS_SECONDS)
            for binding in list(self._bindings.values()):
                binding.tell_progress()


@attrs.frozen
class _Carried:
    envelope: Envelope
    position: int


class _ProxyBinding:
    """
    A `Binding`: one remote agent.

    Its queues are bounded by the window of the agent's inbox, which gives out no more than
    `max_in_flight` envelopes that are not settled.
    """

    def __init__(self, route: ProxyRoute, passport: Passport) -> None:
        self.agent_id = passport.stamped_id
        self._passport = passport
        self._route = route
        self._lanes: dict[str, deque[Delivery[bytes]]] = {}
        self._in_hand: dict[str, Envelope] = {}
        self._scopes: set[trio.CancelScope] = set()
        self._stopped = False

    @property
    def has_room(self) -> bool:
        """The inbox's window is the bound."""
        return True

    def deliver(self, agent_id: str, delivery: Delivery[bytes]) -> bool:
        """Take an envelope for a remote agent. Never waits."""
        lane = self._lanes.get(delivery.channel_id)
        if lane is None:
            lane = self._lanes[delivery.channel_id] = deque()
            self._route.nursery.start_soon(self._work, delivery.channel_id, lane)
        lane.append(delivery)
        return True

    def stop(self) -> None:
        """Take back all that is in hand."""
        self._stopped = True
        self._lanes.clear()
        for scope in self._scopes:
            scope.cancel()

    def tell_progress(self) -> None:
        for envelope in self._in_hand.values():
            self._route.agents.progress(self, envelope)

    async def _work(self, channel_id: str, lane: deque[Delivery[bytes]]) -> None:
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                while lane and not self._stopped:
                    await self._carry(channel_id, lane)
                    if self._lanes.get(channel_id) is not lane:
                        return
            finally:
                self._scopes.discard(scope)

    async def _carry(self, channel_id: str, lane: deque[Delivery[bytes]]) -> None:
        delivery = lane.popleft()
        envelope = decode_strictly(delivery.payload, Envelope, "envelope")
        error: Exception | None = None
        self._in_hand[channel_id] = envelope
        try:
            async with self._route.limiter:
                await self._dispatch(envelope)
        except ConnectionLost as lost:
            log.info("a proxy's link is down", scheme=self._route.proxy.scheme, reason=str(lost))
            self._route.link_is_down()
            return
        except Exception as raised:  # whatever it is, the envelope was not handed over
            log.warning(
                "a proxy failed",
                scheme=self._route.proxy.scheme,
                agent_id=self.agent_id,
                envelope_id=envelope.envelope_id,
                error=type(raised).__name__,
            )
            error = raised
            if not isinstance(raised, Undeliverable):
                # What stands behind it is sent again after it, so that the order holds.
                lane.clear()
        finally:
            self._in_hand.pop(channel_id, None)
        if self._stopped:
            return
        if error is None:
            self._route.dispatched()
        if not lane:
            self._lanes.pop(channel_id, None)
        self._route.agents.settle(self, _Carried(envelope, delivery.position), error)

    async def _dispatch(self, envelope: Envelope) -> None:
        await self._route.proxy.dispatch(envelope, self._passport)
        if envelope.event_type == EV_CHANNEL_INVITE and self._route.accepts_invites:
            await self._route.agents.accept(envelope, self.agent_id)
