"""
The hub: who is registered, what was said, and who has yet to hear it.

`Hub.open` is the outline. Its nursery owns every task that works for the hub as a whole: the
committer (the one that writes), the dispatcher and the replay readers (deliveries), the timers,
and the caretaker of channels that have run out of time. Connections have nurseries of their own,
inside whatever serves them.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
import trio

from .._nursery import open_plain_nursery
from ..auth import AuthRegistry
from ..errors import (
    AccessDeniedError,
    AuthError,
    HubClosing,
    InboxFull,
    NotFoundError,
    ProtocolError,
    StoreError,
)
from ..ids import IdMint, Now, iso_from_seconds
from ..links import LinkEndpoint
from ..protocol.adapters import AdapterRegistry, ChannelAdapter
from ..protocol.delivery_policy import DeliveryPolicy
from ..records import (
    EV_CHANNEL_INVITE_ACK,
    EV_CHANNEL_INVITE_REJECT,
    EV_TEXT,
    ChannelMetadata,
    ChannelState,
    Duration,
    Envelope,
    Participant,
    ParticipantRole,
    Passport,
    PendingTurn,
    Resume,
    Rule,
    TaskState,
    duration_seconds,
    is_addressed_to,
    is_bookkeeping,
)
from ..records.envelope import CHANNEL_EVENT_PREFIX
from ..stores import KnowledgeStore, Put
from ..wire.frames import HelloFrame, ReceiptFrame, WelcomeFrame
from ..wire.operations import Operation
from ..wire.params import PostEnvelope
from . import paths
from .authorization import authorize
from .caretaker import Caretaker
from .channels import Channel, ChannelBook, LogRecord
from .committer import Committer, Ticket
from .connection import Connection, Greeting, Handler
from .deliveries import Deliveries
from .health import HubHealth
from .limits import HubLimits
from .operations import OperationHandlers
from .registry import Registry
from .tasks import TaskBook
from .timers import Timers

__all__ = ["Hub"]

log = structlog.get_logger(__name__)

_COME_BACK_AFTER_SECONDS = 1.0


class Hub:
    """
    A hub. Use `Hub.open`; everything here belongs inside its block.

    The methods are the operations of the wire for a caller in the same process, who may do
    everything. What they return is durable unless they say otherwise.
    """

    def __init__(
        self,
        store: KnowledgeStore,
        *,
        auth: AuthRegistry,
        adapters: AdapterRegistry,
        clock: Now,
        rng: random.Random,
        invite_ack_timeout: float,
        ttl_sweep_interval: float,
        limits: HubLimits,
        delivery: DeliveryPolicy,
    ) -> None:
        self._store = store
        self._auth = auth
        self._clock = clock
        self._limits = limits
        self._mint = IdMint(clock, rng)
        self._id_ceiling = ""
        self._connections: dict[Connection, None] = {}
        self._closing = False
        self._problems: list[str] = []
        self._committer = Committer(store, on_batch=lambda: None)
        self._timers = Timers(ttl_sweep_interval, on_wake=self._on_wake)
        self._registry = Registry(self._committer, self._mint, clock)
        self._deliveries = Deliveries(
            committer=self._committer,
            timers=self._timers,
            read_log=self._read_log,
            find_channel=self._find_channel,
            policy=delivery,
            rng=rng,
            cursor_flush_seconds=limits.cursor_flush_seconds,
        )
        self.channels = ChannelBook(
            store,
            self._committer,
            adapters,
            self._next_id,
            clock,
            limits,
            listener=self._deliveries,
            on_change=self._on_channel_change,
        )
        self.tasks = TaskBook(store, self._committer, clock)
        self._caretaker = Caretaker(
            self.channels, self._timers, clock, invite_ack_timeout=invite_ack_timeout
        )
        self._invite_ack_timeout = invite_ack_timeout
        self._handlers = OperationHandlers(self).table()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        store: KnowledgeStore,
        *,
        auth: AuthRegistry | None = None,
        adapters: Iterable[ChannelAdapter] = (),
        clock: Now = time.time,
        rng: random.Random | None = None,
        invite_ack_timeout: float = 30.0,
        ttl_sweep_interval: float = 30.0,
        limits: HubLimits | None = None,
        delivery: DeliveryPolicy | None = None,
    ) -> AsyncIterator[Hub]:
        """
        Open a hub on a store, for as long as the block lasts.

        Everything that the store holds is there again: agents, channels, logs, cursors. What
        cannot be read is set aside and named in `health`; it never keeps the hub from opening.
        Leaving the block drains: nothing new is taken, what was accepted is written, clients
        are told to come back.

        Args:
            store: Entered here; an open one may be given as well.
            auth: Who may be whom. By default anybody may be anybody (the scheme "none").
            adapters: Further types of channel; those that ship are always there.
            clock: Seconds since 1970.
            rng: Source of the random parts of ids and of jitter; for tests.
            invite_ack_timeout: Seconds that invitees have to accept.
            ttl_sweep_interval: Seconds after which a step of the wall clock is noticed at the
                latest. TTLs themselves are met on time.
            limits: What this hub takes.
            delivery: How deliveries are retried.

        Raises:
            StoreError: The store cannot be opened or read at all.

        Cancellation: as leaving the block, without waiting for anybody but the disk.
        """
        async with store:
            hub = cls(
                store,
                auth=auth if auth is not None else AuthRegistry.default(),
                adapters=AdapterRegistry.with_builtins(adapters),
                clock=clock,
                rng=rng if rng is not None else random.Random(),  # noqa: S311 - see IdMint
                invite_ack_timeout=invite_ack_timeout,
                ttl_sweep_interval=ttl_sweep_interval,
                limits=limits if limits is not None else HubLimits(),
                delivery=delivery if delivery is not None else DeliveryPolicy(),
            )
            await hub._load()
            async with open_plain_nursery() as nursery:
                nursery.start_soon(hub._committer.run)
                nursery.start_soon(hub._deliveries.run_dispatcher)
                nursery.start_soon(hub._deliveries.run_replay)
                nursery.start_soon(hub._timers.run)
                nursery.start_soon(hub._caretaker.run)
                try:
                    yield hub
                finally:
                    await hub.drain()
                    nursery.cancel_scope.cancel()

    async def drain(self) -> None:
        """
        Take nothing new, tell clients to come back, write what was accepted. Idempotent.

        Cancellation: what was accepted and not answered yet may or may not be kept, as after a
        crash; what was answered is.
        """
        self._closing = True
        goodbye = HubClosing(
            "the hub is closing; what it accepted is safe, come back later",
            retry_after_seconds=_COME_BACK_AFTER_SECONDS,
        )
        for connection in list(self._connections):
            connection.send_error(goodbye)
            connection.endpoint.close_soon(1012, "the hub is closing")
        self._deliveries.flush_cursors()
        await self._committer.flushed()

    # Serving

    @property
    def auth_schemes(self) -> tuple[str, ...]:
        """The schemes that are accepted."""
        return self._auth.schemes

    @property
    def epoch(self) -> str:
        """The identity of this hub's logs; see `KnowledgeStore.epoch`."""
        return self._store.epoch

    async def serve(self, endpoint: LinkEndpoint) -> None:
        """
        Talk with a peer until either side is done. The links call this.

        Cancellation: the connection ends.
        """
        connection = Connection(self, endpoint)
        if self._closing:
            endpoint.close_soon(1012, "the hub is closing")
        self._connections[connection] = None
        await connection.run()

    def health(self) -> HubHealth:
        """Say how the hub is doing. Never blocks."""
        return HubHealth(
            closing=self._closing,
            store=self._store.health(),
            problems=tuple(self._problems),
            agents=len(self._registry),
            channels=len(self.channels),
            tasks=len(self.tasks),
            connections=len(self._connections),
            commits=self._committer.commits,
            commits_failed=self._committer.failures,
            commits_waiting=self._committer.waiting,
            delivered=self._deliveries.delivered,
            redelivered=self._deliveries.redelivered,
        )

    # Identities

    async def register(
        self,
        passport: Passport,
        resume: Resume | None = None,
        *,
        skill_md: str | None = None,
        rule: Rule | None = None,
        connection: Connection | None = None,
    ) -> Passport:
        """
        Register an identity and return its stamped passport, without the claim.

        Args:
            connection: Bind it to this one at once.

        Raises:
            AuthError: Its credential was refused.
            ProtocolError: The name is taken or impossible.
            StoreError: It could not be kept.

        Cancellation: the registration may or may not happen.
        """
        self._refuse_when_closing()
        if connection is not None:
            self._check_identities(connection)
        await self._auth.check(passport, passport.auth.scheme, passport.auth.claim)
        registration = await self._registry.register(
            passport,
            resume if resume is not None else Resume(),
            rule if rule is not None else Rule(),
            skill_md,
        )
        self._deliveries.add_agent(registration.agent_id)
        if connection is not None:
            self._bind(connection, registration.agent_id)
        return registration.passport

    async def unregister(self, agent_id: str) -> None:
        """Remove an identity for good. Channels and what it said stay, for the others."""
        registration = await self._registry.unregister(agent_id)
        binding = self._deliveries.binding_of(agent_id)
        if isinstance(binding, Connection):
            binding.bound.pop(registration.agent_id, None)
        self._deliveries.remove_agent(agent_id, self.channels.of_agent(agent_id))

    def get_agent(self, name_or_id: str) -> Passport:
        """Return a passport. Raises `NotFoundError`."""
        return self._registry.resolve(name_or_id).passport

    def find_agent_id(self, name: str) -> str | None:
        """Return the id of a name, or None."""
        return self._registry.id_of(name)

    def name_for(self, agent_id: str, *, default: str | None = None) -> str:
        """Return the name of an id; `default`, or the id itself, where there is none."""
        return self._registry.name_of(agent_id, default)

    def list_agents(
        self,
        *,
        capability: str | None = None,
        query: str | None = None,
        kind: str | None = None,
        sort_by: str | None = None,
        limit: int | None = None,
    ) -> list[Passport]:
        """Return the passports of those that meet everything given. See `Registry.search`."""
        return self._registry.search(
            capability=capability, query=query, kind=kind, sort_by=sort_by, limit=limit
        )

    def get_resume(self, agent_id: str) -> Resume:
        """Return a resume. Raises `NotFoundError`."""
        return self._registry.get(agent_id).resume

    def get_skill(self, agent_id: str) -> str | None:
        """Return a skill page, or None. Raises `NotFoundError`."""
        return self._registry.get(agent_id).skill_md

    def get_rule(self, agent_id: str) -> Rule:
        """Return a rule. Raises `NotFoundError`."""
        return self._registry.get(agent_id).rule

    async def set_resume(self, agent_id: str, resume: Resume) -> None:
        """Replace a resume; its version goes up, what the hub observed stays."""
        await self._registry.set_resume(agent_id, resume)

    async def set_skill(self, agent_id: str, skill_md: str | None) -> None:
        """Replace or remove a skill page."""
        await self._registry.set_skill(agent_id, skill_md)

    async def set_rule(self, agent_id: str, rule: Rule) -> None:
        """Replace a rule."""
        await self._registry.set_rule(agent_id, rule)

    async def record_observation(
        self, agent_id: str, capability: str, outcome: TaskState, *, latency_ms: int | None = None
    ) -> None:
        """Count one more task that exercised a capability, by how it ended."""
        await self._registry.record_observation(agent_id, capability, outcome, latency_ms)

    # Channels

    async def create_channel(
        self,
        *,
        creator_id: str,
        manifest_type: str,
        participants: Sequence[str],
        manifest_version: int = 1,
        required_acks: int | None = None,
        ttl: Duration | None = None,
        knobs: Mapping[str, Any] | None = None,
        intent: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> ChannelMetadata:
        """
        Open a channel: invite everybody, and return once they have accepted.

        Args:
            participants: Agent ids; the creator is added in front where it is missing.
            required_acks: How many must accept; None is all.
            ttl: How long it may live; None is what the creator's rule says, 0 for ever.

        Raises:
            NotFoundError: The type, the creator or a participant is unknown.
            ProtocolError: The adapter refuses such a channel, somebody declined, or not all
                answered within `invite_ack_timeout`.
            StoreError: It could not be kept.

        Cancellation: the channel may stay pending; it closes itself when the time is over.
        """
        self._refuse_when_closing()
        metadata = self._draft(
            creator_id,
            self.channels.adapters.get(manifest_type, manifest_version),
            participants,
            required_acks,
            ttl,
            dict(knobs or {}),
            {**(labels or {}), **({"intent": intent} if intent else {})},
        )
        channel, ticket = self.channels.create_nowait(metadata)
        await ticket.wait()
        with trio.move_on_after(self._invite_ack_timeout):
            await channel.settled_open.wait()
        if channel.metadata.state is ChannelState.PENDING:
            await self.close_channel(channel.channel_id, reason="invite_timeout")
        metadata = channel.metadata
        if metadata.state is ChannelState.ACTIVE:
            return metadata
        raise ProtocolError(
            f"channel {metadata.channel_id} was not opened: {metadata.close_reason}"
            + (f" (no answer of {', '.join(metadata.pending_acks)})" * bool(metadata.pending_acks))
            + (f" (declined by {', '.join(metadata.rejected_by)})" * bool(metadata.rejected_by))
        )

    def find_channel(self, channel_id: str) -> ChannelMetadata | None:
        """Return a channel's metadata, or None."""
        channel = self.channels.find(channel_id)
        return None if channel is None else channel.metadata

    def get_channel(self, channel_id: str) -> ChannelMetadata:
        """Return a channel's metadata. Raises `NotFoundError`."""
        return self.channels.get(channel_id).metadata

    def list_channels(
        self, *, agent_id: str | None = None, limit: int | None = 50
    ) -> list[ChannelMetadata]:
        """Return the channels of an agent (None: of everybody), oldest first."""
        channels = self.channels if agent_id is None else self.channels.of_agent(agent_id)
        return [channel.metadata for channel in channels][:limit]

    async def close_channel(self, channel_id: str, *, reason: str = "") -> ChannelMetadata:
        """
        Close a channel; what it owes is still delivered. Nothing happens where it has ended.

        Raises:
            NotFoundError: There is no such channel.
            StoreError: It could not be kept.

        Cancellation: it may or may not be closed.
        """
        channel = self.channels.get(channel_id)
        machine = await self.channels.warm(channel)
        ticket = self.channels.end_nowait(
            channel, machine, ChannelState.CLOSED, reason or "explicit_close"
        )
        if ticket is not None:
            await ticket.wait()
        return channel.metadata

    async def post_envelope(self, envelope: Envelope) -> str:
        """
        Post an envelope and return its id. It is on disk when this returns.

        Raises:
            NotFoundError: The sender or the channel is unknown.
            ProtocolError: The channel's protocol does not allow it now, or its idempotency key
                was used for something else.
            InboxFull: A recipient has too much unsettled.
            TooLarge: It is over `HubLimits.envelope_bytes_max`.
            StoreError: Whether it was kept is unknown; post again under the same key.

        Cancellation: it may or may not be kept. With an idempotency key, posting again finds out.
        """
        envelope_id, ticket = await self._post(envelope)
        if ticket is not None:
            await ticket.wait()
        return envelope_id

    async def read_wal(
        self, channel_id: str, *, since: int = 0, until: int | None = None
    ) -> list[Envelope]:
        """Return the envelopes at positions `since` to `until` (exclusive) that can be read."""
        records = await self.read_records(channel_id, since, until)
        return [record.envelope for record in records if record.envelope is not None]

    async def read_records(self, channel_id: str, since: int, until: int | None) -> list[LogRecord]:
        """Return a slice of a channel's log as it stands there."""
        return await self.channels.read(self.channels.get(channel_id), since, until)

    async def find_envelope_by_causation(
        self, channel_id: str, *, sender_id: str, causation_id: str
    ) -> Envelope | None:
        """Return the first envelope that an agent posted because of another one, or None."""
        record = await self.find_record_by_causation(
            channel_id, sender_id=sender_id, causation_id=causation_id
        )
        return None if record is None else record.envelope

    async def find_record_by_causation(
        self, channel_id: str, *, sender_id: str, causation_id: str
    ) -> LogRecord | None:
        """Return the same as `find_envelope_by_causation`, as it stands in the log."""
        channel = self.channels.get(channel_id)
        machine = await self.channels.warm(channel)
        position = machine.position_by_cause(sender_id, causation_id)
        if position is None:
            return None
        if position >= channel.length:
            # It is on its way to the disk, and whoever asks wants to know how that ends.
            await self._committer.flushed()
        records = await self.channels.read(channel, position, position + 1)
        return records[0] if records else None

    async def can_send(
        self, channel_id: str, sender_id: str, *, event_type: str | None = None
    ) -> bool:
        """Whether an agent could post now; of the type of text, where none is given."""
        channel = self.channels.find(channel_id)
        if channel is None:
            return False
        machine = await self.channels.warm(channel)
        return machine.can_send(sender_id, event_type or EV_TEXT)

    async def pending_turns_for(self, agent_id: str) -> list[PendingTurn]:
        """Return the turns that the protocols of an agent's channels expect of it."""
        turns: list[PendingTurn] = []
        for channel in list(self.channels.of_agent(agent_id)):
            if channel.metadata.is_terminal:
                continue
            expected = (await self.channels.warm(channel)).expected_next()
            if expected is None or expected.agent_id != agent_id:
                continue
            trigger = expected.triggering_envelope_id
            since = channel.metadata.created_at
            if trigger is not None:
                position = await self.channels.position_of(channel, trigger)
                if position is not None:
                    (record,) = await self.channels.read(channel, position, position + 1)
                    since = since if record.envelope is None else record.envelope.created_at
            turns.append(
                PendingTurn(
                    channel_id=channel.channel_id, triggering_envelope_id=trigger, expected_at=since
                )
            )
        return turns

    def report_turn_failure(
        self, *, channel_id: str, agent_id: str, envelope_id: str, error: str
    ) -> None:
        """Take note that an agent's handler failed."""
        log.warning(
            "turn failed",
            channel_id=channel_id,
            agent_id=agent_id,
            envelope_id=envelope_id,
            error_length=len(error),
        )

    def fire_task_event(self, task_id: str, kind: str, payload: Mapping[str, Any]) -> None:
        """Take note of a task event that a client reports."""
        log.warning("task event", task_id=task_id, kind=kind, fields=sorted(payload))

    # What connections need (see `ConnectionHost`)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """The handler of every operation but ``post_envelope``."""
        return self._handlers

    @property
    def requests_in_flight_max(self) -> int:
        """How many unanswered requests one connection may have."""
        return self._limits.requests_in_flight_max

    def authorize(self, connection: Connection, operation: Operation, params: Any) -> None:
        """Raise `AccessDeniedError` where the connection may not do that."""
        authorize(connection.bound, operation, params, self.channels, self.tasks)

    async def post(self, connection: Connection, params: PostEnvelope) -> tuple[str, Ticket | None]:
        """Post what came over the wire."""
        envelope = params.envelope
        if envelope.event_type.startswith(CHANNEL_EVENT_PREFIX) and envelope.event_type not in (
            EV_CHANNEL_INVITE_ACK,
            EV_CHANNEL_INVITE_REJECT,
        ):
            raise ProtocolError(f"a {envelope.event_type!r} is posted by the hub alone")
        channel = self.channels.find(envelope.channel_id)
        if channel is None or envelope.sender_id not in channel.metadata.participant_ids:
            raise AccessDeniedError(
                f"{envelope.sender_id} takes no part in a channel {envelope.channel_id!r}"
            )
        return await self._post(envelope)

    async def hello(self, connection: Connection, frame: HelloFrame) -> Greeting:
        """Check a credential, and look up where the identity's deliveries begin."""
        agent_id = self._registry.id_of(frame.name)
        if agent_id is None:
            raise NotFoundError(f"no agent {frame.name!r} is registered; register it first")
        self._check_identities(connection)
        passport = self._registry.get(agent_id).passport
        if frame.auth_scheme != passport.auth.scheme:
            raise AuthError(
                f"{frame.name!r} is registered with another auth scheme than {frame.auth_scheme!r}"
            )
        await self._auth.check(passport, frame.auth_scheme, frame.auth_claim)
        position_lost = frame.epoch is not None and frame.epoch != self.epoch
        for channel in list(self.channels.of_agent(agent_id)):
            if self._deliveries.is_unread(agent_id, channel):
                await self._warm_for(agent_id, channel)
        since = None if position_lost else frame.since_envelope_id
        processed = await self._processed(agent_id, since) if since else {}
        welcome = WelcomeFrame(
            endpoint_id=connection.connection_id,
            hub_time=iso_from_seconds(self._clock()),
            name=frame.name,
            agent_id=agent_id,
            epoch=self.epoch,
            position_lost=position_lost,
        )
        return Greeting(welcome, processed, replays=frame.since_envelope_id is not None)

    def begin_deliveries(self, connection: Connection, greeting: Greeting) -> None:
        """Bind an identity that has been welcomed, and deliver to it."""
        agent_id = greeting.welcome.agent_id
        if self._registry.find(agent_id) is None:
            return  # Unregistered while it was being welcomed.
        for channel_id, position in greeting.processed.items():
            channel = self.channels.find(channel_id)
            if channel is not None:
                self._deliveries.resume(agent_id, channel, position)
        self._bind(connection, agent_id, replays=greeting.replays)

    def receipt(self, frame: ReceiptFrame) -> None:
        """Take a receipt."""
        self._deliveries.receipt(frame)

    def room_again(self, connection: Connection) -> None:
        """Go on with what waited for a full outbox."""
        self._deliveries.room_again(connection.bound)

    def released(self, connection: Connection) -> None:
        """Let go of everything that was bound to a connection."""
        self._connections.pop(connection, None)
        for agent_id in connection.bound:
            self._deliveries.detach(agent_id, connection)
        connection.bound.clear()

    # Inside

    async def _load(self) -> None:
        """Read what the store holds. What cannot be read becomes a problem, not an exception."""
        store = self._store
        floor = await store.read(paths.ID_FLOOR)
        if floor is not None:
            self._mint.raise_floor(floor.decode())
        problems = self._registry.load(await store.read_under(paths.AGENTS))
        for registration in self._registry:
            self._deliveries.add_agent(registration.agent_id)
        problems += self._deliveries.load(await store.read_under(paths.CURSORS))
        problems += self.channels.load(
            await store.read_under(paths.CHANNELS), await store.lengths_under(paths.CHANNELS)
        )
        problems += self.tasks.load(await store.read_under(paths.TASKS))
        self._problems = problems
        for problem in problems:
            log.error("set aside", problem=problem)
        for channel in self.channels:
            self._caretaker.look_after(channel)
        log.info("hub opened", agents=len(self._registry), channels=len(self.channels))

    def _next_id(self) -> str:
        """Mint an id, and see to it that no later hub on this store can mint one below it."""
        new_id = self._mint()
        if new_id >= self._id_ceiling:
            self._id_ceiling = self._mint.ceiling(self._limits.id_lease_seconds)
            # Submitted before what carries the id, so it is on disk no later.
            self._committer.submit([Put(paths.ID_FLOOR, self._id_ceiling.encode())])
        return new_id

    def _draft(
        self,
        creator_id: str,
        adapter: ChannelAdapter,
        participants: Sequence[str],
        required_acks: int | None,
        ttl: Duration | None,
        knobs: dict[str, Any],
        labels: dict[str, str],
    ) -> ChannelMetadata:
        """Draw up the metadata of a channel that is to be opened."""
        creator = self._registry.get(creator_id)
        if not participants:
            raise ProtocolError("a channel needs somebody to be invited")
        if len(set(participants)) != len(participants):
            raise ProtocolError("a participant is listed twice")
        members = [*([] if creator_id in participants else [creator_id]), *participants]
        if len(members) > self._limits.participants_max:
            raise ProtocolError(
                f"{len(members)} participants are more than the {self._limits.participants_max} "
                "that a channel may have"
            )
        for agent_id in members:
            self._registry.get(agent_id)
        now = self._clock()
        created_at = iso_from_seconds(now)
        try:
            lives = duration_seconds(
                creator.rule.limits.channel_ttl_default if ttl is None else ttl
            )
            expires_at = iso_from_seconds(now + lives) if lives else None
        except (ValueError, OverflowError) as error:
            raise ProtocolError(f"ttl: {error}") from None
        other = ParticipantRole.RESPONDENT if len(members) == 2 else ParticipantRole.PARTICIPANT
        return ChannelMetadata(
            channel_id=self._next_id(),
            manifest=adapter.manifest,
            creator_id=creator_id,
            participants=tuple(
                Participant(
                    agent_id=agent_id,
                    role=ParticipantRole.INITIATOR if agent_id == creator_id else other,
                    order=order,
                    joined_at=created_at,
                )
                for order, agent_id in enumerate(members)
            ),
            state=ChannelState.PENDING,
            created_at=created_at,
            expires_at=expires_at,
            knobs=knobs,
            labels=labels,
            required_acks=required_acks,
            pending_acks=tuple(agent_id for agent_id in members if agent_id != creator_id),
        )

    async def _post(self, envelope: Envelope) -> tuple[str, Ticket | None]:
        self._refuse_when_closing()
        self._registry.get(envelope.sender_id)
        channel = self.channels.get(envelope.channel_id)
        if envelope.audience is not None:
            strangers = set(envelope.audience).difference(channel.metadata.participant_ids)
            if strangers:
                raise ProtocolError(
                    f"audience: {', '.join(sorted(strangers))} take no part in channel "
                    f"{channel.channel_id}"
                )
        self._check_inboxes(channel, envelope)
        machine = channel.machine or await self.channels.warm(channel)
        posted = self.channels.post_nowait(channel, machine, envelope)
        if isinstance(posted, int):
            return await self._id_at(channel, posted), None
        return posted.envelope_id, posted.ticket

    async def _id_at(self, channel: Channel, position: int) -> str:
        await self._committer.flushed()
        (record,) = await self.channels.read(channel, position, position + 1)
        if record.envelope is None:
            raise StoreError(f"record {position} of channel {channel.channel_id} is damaged")
        return record.envelope.envelope_id

    def _check_inboxes(self, channel: Channel, envelope: Envelope) -> None:
        """Refuse what a recipient has no room for. The hub's own envelopes always have room."""
        if is_bookkeeping(envelope.event_type):
            return
        for agent_id in channel.metadata.participant_ids:
            registration = self._registry.find(agent_id)
            if registration is None or not is_addressed_to(envelope, agent_id):
                continue
            allowed = registration.rule.limits.inbox.max_pending
            if allowed and self._deliveries.owed(agent_id) >= allowed:
                raise InboxFull(
                    f"{agent_id} has {allowed} unsettled envelopes, as many as its rule allows; "
                    "nothing was posted, try again when it has caught up",
                    retry_after_seconds=_COME_BACK_AFTER_SECONDS,
                )

    def _bind(self, connection: Connection, agent_id: str, *, replays: bool = True) -> None:
        """Let a connection act for an identity, and no other one any more."""
        if connection.endpoint.closed:
            return
        connection.bound[agent_id] = self._registry.name_of(agent_id)
        before = self._deliveries.attach(agent_id, connection, replays=replays)
        if isinstance(before, Connection):
            before.take_away(agent_id)

    async def _warm_for(self, agent_id: str, channel: Channel) -> None:
        """Read what a channel owes to somebody who is coming back, if it can be read."""
        try:
            await self.channels.warm(channel)
        except NotFoundError as error:
            log.warning("channel not delivered", channel_id=channel.channel_id, error=str(error))

    async def _processed(self, agent_id: str, since: str | Mapping[str, str]) -> dict[str, int]:
        """Turn the ids that a client says it has processed into positions, channel by channel."""
        found: dict[str, int] = {}
        for channel in list(self.channels.of_agent(agent_id)):
            wanted = since if isinstance(since, str) else since.get(channel.channel_id)
            if wanted:
                position = await self.channels.position_of(channel, wanted)
                if position is not None:
                    found[channel.channel_id] = position
        return found

    def _check_identities(self, connection: Connection) -> None:
        if len(connection.bound) >= self._limits.identities_per_connection_max:
            raise AccessDeniedError(
                f"this connection acts for {len(connection.bound)} agents, as many as it may"
            )

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise HubClosing(
                "the hub is closing and takes nothing new; come back later",
                retry_after_seconds=_COME_BACK_AFTER_SECONDS,
            )

    async def _read_log(self, channel: Channel, start: int, stop: int) -> list[LogRecord]:
        return await self.channels.read(channel, start, stop)

    def _find_channel(self, channel_id: str) -> Channel | None:
        return self.channels.find(channel_id)

    def _on_channel_change(self, channel: Channel) -> None:
        self._caretaker.look_after(channel)

    def _on_wake(self) -> None:
        self._caretaker.look()
