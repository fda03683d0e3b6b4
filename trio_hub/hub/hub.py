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
from ..ids import IdMint, Now
from ..links import LinkEndpoint
from ..protocol.adapters import AdapterRegistry, ChannelAdapter
from ..protocol.delivery_policy import DeliveryPolicy
from ..records import (
    EV_TEXT,
    ChannelMetadata,
    ChannelState,
    Duration,
    Envelope,
    Passport,
    PendingTurn,
    Resume,
    Rule,
    TaskState,
)
from ..stores import KnowledgeStore, Put
from . import paths
from .caretaker import Caretaker
from .channels import Channel, ChannelBook, LogRecord
from .committer import Committer
from .connection import Connection
from .deliveries import Deliveries
from .drafting import ChannelWish, draft_channel, why_not_opened
from .gate import Gate
from .health import HubHealth
from .limits import HubLimits
from .operations import OperationHandlers
from .posting import Posting
from .reception import Reception
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
        self._gate = Gate()
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
        self._posting = Posting(
            self._gate, self._registry, self.channels, self._deliveries, self._committer
        )
        self._reception = Reception(
            gate=self._gate,
            auth=auth,
            registry=self._registry,
            channels=self.channels,
            tasks=self.tasks,
            deliveries=self._deliveries,
            posting=self._posting,
            limits=limits,
            clock=clock,
            epoch=lambda: store.epoch,
        )
        self._reception.handlers = OperationHandlers(self).table()

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
        self._gate.closed = True
        self._reception.say_goodbye()
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
        await self._reception.serve(endpoint)

    def health(self) -> HubHealth:
        """Say how the hub is doing. Never blocks."""
        return HubHealth(
            closing=self._gate.closed,
            store=self._store.health(),
            problems=tuple(self._problems),
            agents=len(self._registry),
            channels=len(self.channels),
            tasks=len(self.tasks),
            connections=len(self._reception),
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
        self._gate.check()
        if connection is not None:
            self._reception.check_identities(connection)
        await self._auth.check(passport, passport.auth.scheme, passport.auth.claim)
        registration = await self._registry.register(
            passport,
            resume if resume is not None else Resume(),
            rule if rule is not None else Rule(),
            skill_md,
        )
        self._deliveries.add_agent(registration.agent_id, registration.rule.limits.inbox)
        if connection is not None:
            self._reception.bind(connection, registration.agent_id)
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
        self._deliveries.add_agent(agent_id, rule.limits.inbox)

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
        self._gate.check()
        creator = self._registry.get(creator_id)
        for agent_id in participants:
            self._registry.get(agent_id)
        wish = ChannelWish(
            creator_id=creator_id,
            manifest=self.channels.adapters.get(manifest_type, manifest_version).manifest,
            participants=participants,
            required_acks=required_acks,
            ttl=creator.rule.limits.channel_ttl_default if ttl is None else ttl,
            knobs=knobs or {},
            labels={**(labels or {}), **({"intent": intent} if intent else {})},
        )
        metadata = draft_channel(
            wish,
            self._next_id(),
            self._clock(),
            participants_max=self._limits.participants_max,
        )
        channel, ticket = self.channels.create_nowait(metadata)
        await ticket.wait()
        with trio.move_on_after(self._invite_ack_timeout):
            await channel.settled_open.wait()
        if channel.metadata.state is ChannelState.PENDING:
            await self.close_channel(channel.channel_id, reason="invite_timeout")
        if channel.metadata.state is not ChannelState.ACTIVE:
            raise why_not_opened(channel.metadata)
        return channel.metadata

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
        envelope_id, ticket = await self._posting.post(envelope)
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

    # Inside

    async def _load(self) -> None:
        """Read what the store holds. What cannot be read becomes a problem, not an exception."""
        store = self._store
        floor = await store.read(paths.ID_FLOOR)
        if floor is not None:
            self._mint.raise_floor(floor.decode())
        problems = self._registry.load(await store.read_under(paths.AGENTS))
        for registration in self._registry:
            self._deliveries.add_agent(registration.agent_id, registration.rule.limits.inbox)
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

    async def _read_log(self, channel: Channel, start: int, stop: int) -> list[LogRecord]:
        return await self.channels.read(channel, start, stop)

    def _find_channel(self, channel_id: str) -> Channel | None:
        return self.channels.find(channel_id)

    def _on_channel_change(self, channel: Channel) -> None:
        self._caretaker.look_after(channel)

    def _on_wake(self) -> None:
        self._caretaker.look()
