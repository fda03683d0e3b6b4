"""
Listeners: applications that want to know what happens in a hub, and cannot get in its way.

A listener inherits from `HubListener` and overrides what it wants to hear of; what it does not
override is not queued for it. Each listener has a bounded queue and a task of its own. The hub
puts an event into the queue and goes on: a listener that is slow misses events, and how many is
counted; one that raises is logged, and hears the next. What is told of has happened and is
durable; to decide what may happen is the arbiter's.

Names are those of AG2's listener. There, the hub waits for each listener in turn.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from .._logging import get_logger
from ..errors import NetworkError
from ..protocol.expectations import Violation
from ..records import ChannelMetadata, Envelope, Expectation, KeptLetter

__all__ = ["LISTENER_EVENTS_MAX", "HubListener", "ListenerHealth", "Listeners"]

log = get_logger(__name__)

#: Events that wait for one listener, where `queue_max` says nothing else; then it misses some. A
#: second of a busy hub; an event is a few references.
LISTENER_EVENTS_MAX = 10_000

# Enough for what is queued when a listener leaves, and not to be waited for by a whole program.
_LAST_EVENTS_SECONDS = 1.0


class HubListener:
    """
    Hears what happens in a hub. Override what you care about; every method does nothing.

    Methods are called one after another, in the order in which things happened. They may take
    their time, but must not block the thread: that would hold up the whole program. Records are
    the hub's own and do not change; a `payload` is yours.
    """

    async def on_envelope_posted(self, envelope: Envelope, metadata: ChannelMetadata) -> None:
        """An envelope is in a channel's log, whoever posted it: the hub's own are told as well."""

    async def on_envelope_rejected(self, envelope: Envelope, reason: NetworkError) -> None:
        """An envelope was refused, and is in no log. `reason` is what its sender was told."""

    async def on_dispatch_failed(
        self, envelope: Envelope, recipient_id: str, reason: NetworkError
    ) -> None:
        """
        An envelope is not handed to one of its recipients, whose rule does not admit its sender.

        What cannot be delivered for another reason becomes a dead letter: `on_dead_letter`.
        """

    async def on_channel_event(
        self, channel_id: str, kind: str, payload: Mapping[str, Any]
    ) -> None:
        """
        A channel was ``created``, ``opened``, is ``closing``, was ``closed`` or ``expired``.

        The payload holds its `metadata`, and in the end the `reason`. Or some that took part are
        ``participant_hidden`` or ``participant_removed``, because of an expectation that they did
        not meet: the payload holds their `agent_ids`.
        """

    async def on_agent_event(self, agent_id: str, kind: str, payload: Mapping[str, Any]) -> None:
        """
        Something happened to an identity.

        ``registered``, ``unregistered``, ``resume_set``, ``skill_set``, ``rule_set``,
        ``delivery_rule_set``,
        ``observation_recorded``; and to its binding: ``attached``, ``detached``, ``taken_over``.
        """

    async def on_turn_failed(
        self, channel_id: str, agent_id: str, envelope_id: str, error: str
    ) -> None:
        """An agent's handler failed over an envelope, says its client."""

    async def on_task_event(self, task_id: str, kind: str, payload: Mapping[str, Any]) -> None:
        """
        A task has changed: ``created``, ``started``, ``progress``, ``completed``, ``failed``,
        ``expired``, ``cancelled``. The payload holds its `metadata`.

        Or its owner's client reports something: ``mirror_failed``, with what it says.
        """

    async def on_inbox_pressure(self, agent_id: str, pending: int, cap: int) -> None:
        """More waits for an agent than the high-water mark of its rule; told once per crossing."""

    async def on_dead_letter(self, letter: KeptLetter) -> None:
        """An envelope could not be delivered, or was dropped, and is kept as a dead letter."""

    async def on_envelope_expired(
        self, channel_id: str, agent_id: str, envelope_id: str, attempts: int
    ) -> None:
        """
        An envelope is not delivered to an agent (any more), because its TTL is over.

        `attempts` is how often it was sent before: 0 where the agent never got it.
        """

    async def on_connection_event(
        self, connection_id: str, kind: str, payload: Mapping[str, Any]
    ) -> None:
        """
        A connection was ``opened`` or ``closed``, or a credential refused: ``auth_failed``.

        Or one by which the connection acted for an agent has ended: ``credential_expired``,
        ``revoked``.
        """

    async def on_expectation_fired(
        self, channel_id: str, expectation: Expectation, violation: Violation
    ) -> None:
        """
        An expectation of a channel was not met. What follows from it is durable.

        Told once for each time that it fires, with all that are to blame.
        """


_EVENTS = tuple(name for name in vars(HubListener) if name.startswith("on_"))


@attrs.frozen(kw_only=True)
class ListenerHealth:
    """
    How one listener is doing.

    Attributes:
        name: Its class.
        waiting: Events in its queue.
        told: Events that it has dealt with.
        dropped: Events that it missed because its queue was full.
        failed: Events over which it raised something.
    """

    name: str
    waiting: int
    told: int
    dropped: int
    failed: int


class _Feed:
    """One listener, its queue and its counts."""

    def __init__(self, listener: HubListener, queue_max: int) -> None:
        self.listener = listener
        self.name = type(listener).__qualname__
        self.wants = [
            name
            for name in _EVENTS
            if getattr(type(listener), name) is not getattr(HubListener, name)
        ]
        self.told = self.dropped = self.failed = 0
        self._send, self._receive = trio.open_memory_channel[tuple[str, tuple[Any, ...]]](queue_max)
        self._scope = trio.CancelScope()
        self._done = trio.Event()

    def put(self, event: str, about: tuple[Any, ...]) -> None:
        try:
            self._send.send_nowait((event, about))
        except trio.WouldBlock:
            if not self.dropped:
                log.warning("a listener is too slow and misses events", listener=self.name)
            self.dropped += 1

    async def run(self) -> None:
        try:
            with self._scope:
                async for event, about in self._receive:
                    await self._tell(event, about)
        finally:
            self._done.set()

    async def _tell(self, event: str, about: tuple[Any, ...]) -> None:
        try:
            await getattr(self.listener, event)(*about)
        except Exception:
            self.failed += 1
            log.exception("a listener failed", listener=self.name, event_name=event)
        else:
            self.told += 1

    async def close(self) -> None:
        """Let it deal with what it was given, for a moment."""
        self._send.close()
        try:
            with trio.move_on_after(_LAST_EVENTS_SECONDS):
                await self._done.wait()
        finally:
            self._scope.cancel()

    def health(self) -> ListenerHealth:
        return ListenerHealth(
            name=self.name,
            waiting=self._receive.statistics().current_buffer_used,
            told=self.told,
            dropped=self.dropped,
            failed=self.failed,
        )


class Listeners:
    """
    All listeners of a hub.

    Attributes:
        hear_posts: Whether anybody wants to know of posts: the one thing that happens so often
            that not even the call should be made for nobody.
    """

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self._feeds: list[_Feed] = []
        self._wanting: dict[str, list[_Feed]] = {}
        self.hear_posts = False

    def start(self, nursery: trio.Nursery) -> None:
        """Run the tasks of listeners in this nursery from now on."""
        self._nursery = nursery

    @asynccontextmanager
    async def added(
        self, listener: HubListener, *, queue_max: int = LISTENER_EVENTS_MAX
    ) -> AsyncIterator[None]:
        """
        Have a listener told for as long as the block lasts.

        Leaving the block gives it a second for what is queued already.
        """
        if not isinstance(listener, HubListener):
            raise TypeError(f"{listener!r} is no listener: inherit from trio_hub.HubListener")
        assert self._nursery is not None, "the hub is open"
        feed = _Feed(listener, queue_max)
        self._nursery.start_soon(feed.run)
        self._feeds.append(feed)
        self._sort()
        try:
            yield
        finally:
            self._feeds.remove(feed)
            self._sort()
            await feed.close()

    def tell(self, event: str, *about: Any) -> None:
        """Queue an event, named as the method that it calls, for everybody who wants it."""
        for feed in self._wanting.get(event, ()):
            feed.put(event, about)

    def wants(self, event: str) -> bool:
        """Whether anybody would be told."""
        return event in self._wanting

    def health(self) -> tuple[ListenerHealth, ...]:
        """Say how each listener is doing."""
        return tuple(feed.health() for feed in self._feeds)

    def _sort(self) -> None:
        self._wanting = {}
        for feed in self._feeds:
            for event in feed.wants:
                self._wanting.setdefault(event, []).append(feed)
        self.hear_posts = "on_envelope_posted" in self._wanting
