"""
Agents that are somewhere else: reached through a proxy instead of a connection.

A *remote agent* is registered like any other, with the kind ``remote_agent``; its auth scheme
says which proxy reaches it. To the deliveries a proxy is one more connection: what is posted to
the agent is dispatched in the order of the log, one channel after another and channels side by
side; what the proxy returned from is settled, what it raised at comes again and becomes a dead
letter in the end. While no proxy is there, it waits in the log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol, runtime_checkable

import trio

from .._logging import get_logger
from .._nursery import open_plain_nursery
from ..errors import NetworkError
from ..protocol.inbox import Delivery
from ..records import EV_CHANNEL_INVITE, EV_CHANNEL_INVITE_ACK, Envelope, Passport
from ..wire.frames import ReceiptFrame
from ..wire.validation import decode_strictly
from .announcer import Announcer
from .deliveries import Deliveries
from .registry import Registry

__all__ = ["REMOTE_KIND", "RemoteAgentProxy", "RemoteAgents"]

log = get_logger(__name__)

REMOTE_KIND: Final = "remote_agent"
_REASON_CHARACTERS_MAX: Final = 500


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

        Raises: anything, where it was not handed over. It comes again, with a growing delay.

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
    """

    def __init__(
        self,
        registry: Registry,
        deliveries: Deliveries,
        announcer: Announcer,
        post: Callable[[Envelope], Awaitable[str]],
        warm: Callable[[str], Awaitable[None]],
    ) -> None:
        self._warm = warm
        self._registry = registry
        self._deliveries = deliveries
        self._announcer = announcer
        self._post = post
        self._routes: dict[str, _Route] = {}

    @asynccontextmanager
    async def routed(
        self, proxy: RemoteAgentProxy, *, accepts_invites: bool, at_once_max: int
    ) -> AsyncIterator[None]:
        """See `Hub.remote_proxy`."""
        if proxy.scheme in self._routes:
            raise ValueError(f"the scheme {proxy.scheme!r} has a proxy already")
        try:
            async with open_plain_nursery() as nursery:
                route = _Route(self, proxy, nursery, accepts_invites, at_once_max)
                self._routes[proxy.scheme] = route
                for passport in [it.passport for it in self._registry]:
                    if self._reached_by(proxy, passport):
                        assert passport.agent_id is not None
                        await self._warm(passport.agent_id)
                        self.registered(passport)
                try:
                    yield
                finally:
                    route.unbind_all()
                    nursery.cancel_scope.cancel()
        finally:
            self._routes.pop(proxy.scheme, None)
            with trio.CancelScope(shield=True):
                await proxy.close()

    def registered(self, passport: Passport) -> None:
        """Let an agent's proxy, if it is one that has any, have what is for it."""
        route = self._routes.get(passport.auth.scheme)
        if route is not None and self._reached_by(route.proxy, passport):
            route.bind(passport)

    def unregistered(self, agent_id: str) -> None:
        """Forget an agent that is no more."""
        for route in self._routes.values():
            route.forget(agent_id)

    def _reached_by(self, proxy: RemoteAgentProxy, passport: Passport) -> bool:
        return passport.effective_kind == REMOTE_KIND and passport.auth.scheme == proxy.scheme

    # What routes need

    def attach(self, agent_id: str, binding: _ProxyBinding) -> None:
        self._deliveries.attach(agent_id, binding)

    def detach(self, agent_id: str, binding: _ProxyBinding) -> None:
        self._deliveries.detach(agent_id, binding)

    def settle(self, binding: _ProxyBinding, envelope: Envelope, error: Exception | None) -> None:
        """Take a receipt, as long as the agent is still the proxy's."""
        agent_id = binding.agent_id
        if self._deliveries.binding_of(agent_id) is not binding:
            return
        reason = ""
        if error is not None:
            reason = f"{type(error).__name__}: {error}"[:_REASON_CHARACTERS_MAX]
            self._announcer.dispatch_failed(envelope, agent_id, NetworkError(reason))
        self._deliveries.receipt(
            ReceiptFrame(
                envelope_id=envelope.envelope_id,
                status="ack" if error is None else "nack",
                recipient_id=agent_id,
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


class _Route:
    """One proxy, and the agents that it reaches."""

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
        self._bindings: dict[str, _ProxyBinding] = {}

    def bind(self, passport: Passport) -> None:
        binding = _ProxyBinding(self, passport)
        self._bindings[binding.agent_id] = binding
        self.agents.attach(binding.agent_id, binding)

    def forget(self, agent_id: str) -> None:
        self._bindings.pop(agent_id, None)

    def unbind_all(self) -> None:
        for agent_id, binding in self._bindings.items():
            self.agents.detach(agent_id, binding)


class _ProxyBinding:
    """
    A `Binding`: one remote agent.

    Its queues are bounded by the window of the agent's inbox, which gives out no more than
    `max_in_flight` envelopes that are not settled.
    """

    def __init__(self, route: _Route, passport: Passport) -> None:
        assert passport.agent_id is not None, "a registered agent has an id"
        self.agent_id = passport.agent_id
        self._passport = passport
        self._route = route
        self._lanes: dict[str, deque[bytes]] = {}

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
        lane.append(delivery.payload)
        return True

    async def _work(self, channel_id: str, lane: deque[bytes]) -> None:
        while lane:
            envelope = decode_strictly(lane.popleft(), Envelope, "envelope")
            error: Exception | None = None
            try:
                async with self._route.limiter:
                    await self._dispatch(envelope)
            except Exception as raised:  # whatever it is, the envelope was not handed over
                log.warning(
                    "a proxy failed",
                    scheme=self._route.proxy.scheme,
                    agent_id=self.agent_id,
                    envelope_id=envelope.envelope_id,
                    error=type(raised).__name__,
                )
                error = raised
                # What stands behind it is sent again after it, so that the order holds.
                lane.clear()
            if not lane:
                del self._lanes[channel_id]
            self._route.agents.settle(self, envelope, error)
            if self._lanes.get(channel_id) is not lane:
                return

    async def _dispatch(self, envelope: Envelope) -> None:
        await self._route.proxy.dispatch(envelope, self._passport)
        if envelope.event_type == EV_CHANNEL_INVITE and self._route.accepts_invites:
            await self._route.agents.accept(envelope, self.agent_id)
