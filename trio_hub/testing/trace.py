"""
A trace: what happened in a run, event after event, for checkers to look at afterwards.

Testing what a network promises is easier in two steps. First let it run, with whatever faults
you like, and write down what everybody saw. Then ask of that record whether anything happened
that must not (`trio_hub.testing.checkers`). `Recorder` writes most of it for you: it posts for
an agent, stands around its handler, and reads the logs at the end::

    recorder = Recorder()
    alice = await client.register(agent, Passport(name="alice"), handler=recorder.handler())
    await recorder.post(alice, Envelope(channel_id=..., sender_id="", ...), recipients=[bob_id])
    ...
    await recorder.read_logs(hub)
    assert_holds(recorder.trace)

Events are plain values with a time, so that two runs of one seed can be compared by `digest`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import attrs
import msgspec
import trio

from ..client import Handler, default_handler
from ..errors import NetworkError
from ..hub import HubListener
from ..ids import ID_PATTERN, Now
from ..protocol.expiry import expires_at
from ..records import Envelope, is_addressed_to

if TYPE_CHECKING:
    from ..client import AgentClient
    from ..hub import Hub

__all__ = [
    "ClientStarted",
    "ClientStopped",
    "CursorWritten",
    "Cut",
    "DeadLettered",
    "Delivered",
    "Expired",
    "FaultInjected",
    "Handled",
    "HubStarted",
    "HubStopped",
    "Logged",
    "Nacked",
    "PositionLost",
    "PostAcked",
    "PostFailed",
    "Posted",
    "Recorder",
    "StoreCopied",
    "StoreRestored",
    "Trace",
    "TraceEvent",
    "content_of",
]

E = TypeVar("E", bound="TraceEvent")

# Longer contents stand in a trace as their digest.
_CONTENT_CHARACTERS_MAX = 100


@attrs.frozen(kw_only=True)
class TraceEvent:
    """Something that happened, `at` so many seconds of `trio.current_time`."""

    at: float


@attrs.frozen(kw_only=True)
class Posted(TraceEvent):
    """An agent began to post something under an idempotency key (perhaps not for the first time)."""

    key: str
    channel_id: str
    sender_id: str
    recipients: tuple[str, ...]
    content: str


@attrs.frozen(kw_only=True)
class PostAcked(TraceEvent):
    """... and was told that it is kept, under this id."""

    key: str
    channel_id: str
    envelope_id: str


@attrs.frozen(kw_only=True)
class PostFailed(TraceEvent):
    """... and was told an error: nothing is kept, or (`retryable`) that is unknown."""

    key: str
    channel_id: str
    code: str
    retryable: bool


@attrs.frozen(kw_only=True)
class Delivered(TraceEvent):
    """
    An envelope was handed to an agent's handler.

    `life` counts the processes that the agent has lived in: what one has forgotten when it died
    may come again to the next. `late_seconds` is how long its TTL was over, by a clock that the
    recorder was given; below 0 it was in time.
    """

    agent_id: str
    channel_id: str
    envelope_id: str
    attempt: int
    sender_id: str
    content: str
    life: int = 0
    ttl_seconds: float | None = None
    late_seconds: float | None = None


@attrs.frozen(kw_only=True)
class Handled(TraceEvent):
    """The handler has finished with an envelope; from here on it is acked."""

    agent_id: str
    channel_id: str
    envelope_id: str
    life: int = 0


@attrs.frozen(kw_only=True)
class Nacked(TraceEvent):
    """The handler has raised; the envelope is to come again."""

    agent_id: str
    channel_id: str
    envelope_id: str
    life: int = 0


@attrs.frozen(kw_only=True)
class DeadLettered(TraceEvent):
    """An envelope was given up for one recipient, and set aside for people to look at."""

    agent_id: str
    channel_id: str
    envelope_id: str


@attrs.frozen(kw_only=True)
class Expired(TraceEvent):
    """An envelope was given up for one recipient, because its TTL was over."""

    agent_id: str
    channel_id: str
    envelope_id: str


@attrs.frozen(kw_only=True)
class CursorWritten(TraceEvent):
    """It is on disk that an agent has settled all before `cursor`, and the runs behind it."""

    agent_id: str
    channel_id: str
    cursor: int
    settled: tuple[tuple[int, int], ...] = ()


@attrs.frozen(kw_only=True)
class Logged(TraceEvent):
    """What stands in a log, read when the run was over (an event for each record)."""

    channel_id: str
    position: int
    envelope_id: str
    sender_id: str
    recipients: tuple[str, ...]
    content: str
    key: str | None = None
    causation_id: str | None = None
    ttl_seconds: float | None = None


@attrs.frozen(kw_only=True)
class Cut(TraceEvent):
    """The connection of some agents was cut."""

    agent_ids: tuple[str, ...]


@attrs.frozen(kw_only=True)
class ClientStarted(TraceEvent):
    """A process with some agents has begun (`life` as in `Delivered`)."""

    names: tuple[str, ...]
    life: int


@attrs.frozen(kw_only=True)
class ClientStopped(TraceEvent):
    """... and has died."""

    names: tuple[str, ...]
    life: int


@attrs.frozen(kw_only=True)
class HubStarted(TraceEvent):
    """A hub was opened on the store."""


@attrs.frozen(kw_only=True)
class HubStopped(TraceEvent):
    """The hub was closed; `killed`: without a chance to do anything about it."""

    killed: bool


@attrs.frozen(kw_only=True)
class StoreCopied(TraceEvent):
    """A backup of the hub's store was made."""


@attrs.frozen(kw_only=True)
class StoreRestored(TraceEvent):
    """
    The newest backup took the place of the store.

    `lost` are the envelopes that stood in the logs and are not in the backup. Nothing is promised
    of them, and what else was written since the backup has not happened either.
    """

    lost: tuple[str, ...]


@attrs.frozen(kw_only=True)
class PositionLost(TraceEvent):
    """An agent was told so: from here on it handles again what comes again."""

    agent_id: str


@attrs.frozen(kw_only=True)
class FaultInjected(TraceEvent):
    """Any other fault, in words."""

    what: str


class Trace:
    """Events in the order in which they were recorded."""

    def __init__(self, events: Iterable[TraceEvent] = ()) -> None:
        self._events: list[TraceEvent] = list(events)

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[TraceEvent]:
        return iter(self._events)

    def __repr__(self) -> str:
        return f"<Trace of {len(self)} events>"

    def record(self, event: TraceEvent) -> None:
        """Add an event at the end."""
        self._events.append(event)

    def of(self, kind: type[E]) -> Iterator[E]:
        """Return the events of one class, in order."""
        return (event for event in self._events if isinstance(event, kind))

    def about(self, *words: str) -> list[TraceEvent]:
        """Return the events that name all of `words` (ids, keys): what to read after a violation."""
        return [event for event in self._events if all(word in repr(event) for word in words)]

    def digest(self) -> str:
        """
        Return 16 hex digits that are the same for two runs in which the same happened.

        Ids that peers make up count by the order in which they came, not by what they are.
        """
        numbers: dict[str, str] = {}
        text = "\n".join(map(repr, self._events))
        text = ID_PATTERN.sub(
            lambda found: numbers.setdefault(found[0], f"id {len(numbers)}"), text
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def content_of(envelope: Envelope) -> str:
    """Return what an envelope says, in a form that is equal where it says the same."""
    data = msgspec.json.encode(envelope.event_data, order="deterministic").decode()
    if len(data) > _CONTENT_CHARACTERS_MAX:
        data = hashlib.sha256(data.encode()).hexdigest()
    return f"{envelope.event_type} {data}"


class _ExpiryListener(HubListener):
    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    async def on_envelope_expired(
        self, channel_id: str, agent_id: str, envelope_id: str, attempts: int
    ) -> None:
        self._trace.record(
            Expired(
                at=trio.current_time(),
                agent_id=agent_id,
                channel_id=channel_id,
                envelope_id=envelope_id,
            )
        )


class Recorder:
    """
    Writes down what agents and hubs do.

    Args:
        trace: Where to; a new one by default.
        clock: The hub's, where it neither steps nor stops: then the trace says how late envelopes
            with a TTL were delivered.
    """

    def __init__(self, trace: Trace | None = None, *, clock: Now | None = None) -> None:
        self.trace = trace if trace is not None else Trace()
        self._clock = clock

    def listener(self) -> HubListener:
        """Return a listener, for `Hub.open`, that records what a hub gives up because of its TTL."""
        return _ExpiryListener(self.trace)

    def handler(self, inner: Handler | None = None, *, life: int = 0) -> Handler:
        """
        Return a handler that records what `inner` is given and how it ends.

        Args:
            inner: By default the `default_handler`, which lets the agent take its turns.
            life: Which process of the agent this is; count it up when you start another one.
        """
        handle, clock = inner if inner is not None else default_handler, self._clock

        async def recorded(envelope: Envelope, client: AgentClient, attempt: int) -> None:
            who, what, where = client.agent_id, envelope.envelope_id, envelope.channel_id
            expires = expires_at(envelope)
            late = None if clock is None or expires is None else clock() - expires
            self.trace.record(
                Delivered(
                    at=trio.current_time(),
                    agent_id=who,
                    channel_id=where,
                    envelope_id=what,
                    attempt=attempt,
                    sender_id=envelope.sender_id,
                    content=content_of(envelope),
                    life=life,
                    ttl_seconds=envelope.ttl_seconds,
                    late_seconds=late,
                )
            )
            try:
                await handle(envelope, client, attempt)
            except Exception:
                self.trace.record(self._now(Nacked, who, where, what, life))
                raise
            self.trace.record(self._now(Handled, who, where, what, life))

        return recorded

    async def post(
        self, client: AgentClient, envelope: Envelope, *, recipients: Iterable[str]
    ) -> str:
        """
        Post an envelope that has an idempotency key, and record how that went.

        Args:
            recipients: The ids of the agents that are to get it.

        Raises: what posting raises, after it was recorded.

        Cancellation: the trace says that it was posted, and nothing of how it ended.
        """
        key, channel_id = envelope.idempotency_key, envelope.channel_id
        assert key is not None, "give it an idempotency_key: a checker knows the post by it"
        self.trace.record(
            Posted(
                at=trio.current_time(),
                key=key,
                channel_id=channel_id,
                sender_id=client.agent_id,
                recipients=tuple(recipients),
                content=content_of(envelope),
            )
        )
        try:
            envelope_id = await client.send_envelope(envelope)
        except (NetworkError, trio.TooSlowError) as error:
            retryable = not isinstance(error, NetworkError) or error.retryable
            code = error.code if isinstance(error, NetworkError) else "too_slow"
            self.trace.record(
                PostFailed(
                    at=trio.current_time(),
                    key=key,
                    channel_id=channel_id,
                    code=code,
                    retryable=retryable,
                )
            )
            raise
        self.trace.record(
            PostAcked(
                at=trio.current_time(), key=key, channel_id=channel_id, envelope_id=envelope_id
            )
        )
        return envelope_id

    async def read_logs(self, hub: Hub) -> None:
        """Record every envelope of every channel of a hub, as its store has them."""
        for metadata in hub.list_channels(limit=None):
            for record in await hub.read_records(metadata.channel_id, 0, None):
                if record.envelope is not None:
                    self.logged(record.position, record.envelope, metadata.participant_ids)

    def logged(self, position: int, envelope: Envelope, participants: Iterable[str]) -> None:
        """Record that an envelope stands at a position of the log of its channel."""
        self.trace.record(
            Logged(
                at=trio.current_time(),
                channel_id=envelope.channel_id,
                position=position,
                envelope_id=envelope.envelope_id,
                sender_id=envelope.sender_id,
                recipients=tuple(it for it in participants if is_addressed_to(envelope, it)),
                content=content_of(envelope),
                key=envelope.idempotency_key,
                causation_id=envelope.causation_id,
                ttl_seconds=envelope.ttl_seconds,
            )
        )

    @staticmethod
    def _now(
        kind: Callable[..., Handled | Nacked], who: str, where: str, what: str, life: int
    ) -> TraceEvent:
        return kind(
            at=trio.current_time(), agent_id=who, channel_id=where, envelope_id=what, life=life
        )
