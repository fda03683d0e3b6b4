"""
The hub: who is registered, what was said, and who has yet to hear it.

`Hub.open` is the outline. Its nursery owns every task that works for the hub as a whole: the
committer (the one that writes), the dispatcher and the replay readers (deliveries), the timers,
and the caretaker of channels that have run out of time. Connections have nurseries of their own,
inside whatever serves them.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from .._logging import get_logger
from .._nursery import open_plain_nursery
from .._tracing import find_tracing
from ..auth import AuthRegistry
from ..ids import IdMint, Now
from ..protocol.adapters import AdapterRegistry, ChannelAdapter
from ..protocol.delivery_policy import DeliveryPolicy
from ..protocol.expectations import (
    ExpectationEvaluator,
    ExpectationRegistry,
    ViolationHandler,
    Watchlist,
)
from ..protocol.retention import Retention
from ..records import TaskMetadata
from ..stores import KnowledgeStore
from ..stores.archive import ChannelArchive
from . import paths
from .admission import Admission
from .announcer import Announcer
from .arbiter import HubArbiter, RuleArbiter
from .attempts import Attempts
from .audit import AuditLog
from .backlog import BacklogSurvey
from .caretaker import Caretaker
from .channel_api import ChannelApi
from .channels import Channel, ChannelBook, LogRecord
from .committer import Committer
from .dead_letter_api import DeadLetterApi
from .dead_letters import DeadLetterBox
from .deliveries import Deliveries
from .drain_api import DrainApi
from .expectations import Expectations
from .failed_handshakes import FailedHandshakes
from .federation import FederationDoor, Routes
from .gate import Gate
from .identity_api import IdentityApi
from .leased_ids import LeasedIds
from .limits import HubLimits
from .link_api import LinkApi
from .listeners import HubListener, Listeners
from .operations import OperationHandlers
from .operator_rule_api import OperatorRuleApi
from .operator_rules import OperatorRules
from .operators import Operators
from .posting import Posting
from .reception import Reception
from .registry import Registry
from .remote_agents import RemoteAgents
from .retirement import Retirement
from .revocation_api import RevocationApi
from .revocations import Revocations
from .snapshots import Snapshots
from .spans import HubSpans
from .standing import StandingApi
from .tails import Tails
from .task_api import TaskApi
from .task_caretaker import TaskCaretaker
from .tasks import TaskBook
from .timers import Timers
from .trimming import Trimming, firsts_of
from .turn import Turn
from .watch_api import WatchApi

__all__ = ["Hub"]

log = get_logger(__name__)


class Hub(
    IdentityApi,
    OperatorRuleApi,
    RevocationApi,
    ChannelApi,
    StandingApi,
    TaskApi,
    DeadLetterApi,
    WatchApi,
    DrainApi,
    LinkApi,
):
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
        expectations: ExpectationRegistry,
        clock: Now,
        rng: random.Random,
        arbiter: HubArbiter,
        invite_ack_timeout: float,
        ttl_sweep_interval: float,
        limits: HubLimits,
        delivery: DeliveryPolicy,
        operators: Iterable[str],
        allow_unauthenticated_operators: bool,
        retention: Retention,
        archive: ChannelArchive | None,
    ) -> None:
        self._store = store
        self._auth = auth
        self._clock = clock
        self._limits = limits
        self._gate = Gate()
        self._problems: list[str] = []
        self._turn = Turn()
        self._committer = Committer(store, self._turn)
        self._ids = LeasedIds(IdMint(clock, rng), store, self._committer, limits.id_lease_seconds)
        #: What was done to whom, by whom, and when.
        self.audit = AuditLog(store, self._committer, clock)
        self._listeners = Listeners()
        self._announcer = Announcer(self._listeners, self.audit)
        self._attempts = Attempts(self._announcer, limits)
        self._timers = Timers(ttl_sweep_interval, on_wake=self._on_wake)
        self._failed_handshakes = FailedHandshakes(self._announcer, self._timers, clock)
        self._door: FederationDoor | None = None
        self._operator_rules = OperatorRules(
            self._committer, self._on_operator_rule, names_max=limits.operator_rules_max
        )
        self._revocations = Revocations(
            self._committer, clock, self._on_revocation, names_max=limits.revocations_max
        )
        self._registry = Registry(
            self._committer, self._ids.next_id, clock, limits, self._operator_rules.find
        )
        self._routes = Routes(self._registry)
        self._operators = Operators(
            operators,
            self._registry,
            auth,
            allow_unauthenticated=allow_unauthenticated_operators,
        )
        self._letters = DeadLetterBox(
            self._committer,
            self._timers,
            clock,
            per_agent_max=limits.dead_letters_per_agent_max,
            on_displaced=self._announcer.dead_letter_displaced,
        )
        self._admission = Admission(
            arbiter, self._registry, self._owed, participants_max=limits.participants_max
        )
        tracing = find_tracing()
        spans = None if tracing is None else HubSpans(tracing)
        self._deliveries = Deliveries(
            committer=self._committer,
            turn=self._turn,
            timers=self._timers,
            letters=self._letters,
            read_log=self._read_log,
            read_raw=self._read_raw,
            find_channel=self._find_channel,
            refusal=self._admission.refusal,
            announcer=self._announcer,
            policy=delivery,
            rng=rng,
            clock=clock,
            cursor_flush_seconds=limits.cursor_flush_seconds,
            spans=spans,
        )
        watchlist = Watchlist()
        self._snapshots = Snapshots(
            store,
            self._committer,
            self._timers,
            self._deliveries.owing,
            every=limits.snapshot_records,
            delay=limits.cursor_flush_seconds,
            keeps_two=lambda it: it.first > 0 or not self._trimming.wish_for(it).keeps_all,
            on_kept=lambda it: self._trimming.snapshot_kept(it),
        )
        self.channels = ChannelBook(
            store,
            self._committer,
            adapters,
            self._ids.next_id,
            clock,
            limits,
            listener=self._deliveries,
            recipients_of=self._routes.recipients_of,
            snapshots=self._snapshots,
            on_change=self._on_channel_change,
            listening=watchlist.listening,
            on_activity=self._on_channel_activity,
        )
        self._tails = Tails(self.channels, limits.page_records_max)
        self._expectations = Expectations(
            expectations,
            watchlist,
            self.channels,
            self._announcer,
            self._timers,
            clock,
            limits,
            invite_ack_timeout=invite_ack_timeout,
        )
        self._survey = BacklogSurvey(self._deliveries, self.channels)
        self.tasks = TaskBook(
            store, self._committer, clock, self._on_task_change, limits, self._open_tasks_max
        )
        self._task_caretaker = TaskCaretaker(self.tasks, self._timers, clock, self._count_expired)
        self._caretaker = Caretaker(
            self.channels, self._timers, clock, invite_ack_timeout=invite_ack_timeout
        )
        self._retirement = Retirement(
            retention,
            archive,
            self.channels,
            self._is_needed,
            self._announcer.channel_retired,
            self._timers,
            clock,
        )
        self._trimming = Trimming(
            store,
            retention,
            archive,
            self.channels,
            self._snapshots,
            self._committer,
            lambda it: self._deliveries.needs_of(
                it, has_task=self.tasks.index.is_open_in(it.channel_id)
            ),
            self._announcer.log_trimmed,
            self._timers,
            clock,
        )
        self._invite_ack_timeout = invite_ack_timeout
        self._posting = Posting(
            self._gate, self._registry, self.channels, self._admission, self._announcer, spans
        )
        self._reception = Reception(
            gate=self._gate,
            turn=self._turn,
            auth=auth,
            attempts=self._attempts,
            registry=self._registry,
            channels=self.channels,
            tasks=self.tasks,
            operators=self._operators,
            revocations=self._revocations,
            deliveries=self._deliveries,
            posting=self._posting,
            announcer=self._announcer,
            limits=limits,
            timers=self._timers,
            clock=clock,
            epoch=lambda: store.epoch,
        )
        self._remote_agents = RemoteAgents(
            self._registry,
            self._deliveries,
            self._announcer,
            self.post_envelope,
            self._reception.warm_for,
            rng,
            self._revocations.find,
        )
        self._reception.handlers = OperationHandlers(self, limits).table()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        store: KnowledgeStore,
        *,
        auth: AuthRegistry | None = None,
        arbiter: HubArbiter | None = None,
        listeners: Iterable[HubListener] = (),
        adapters: Iterable[ChannelAdapter] = (),
        evaluators: Iterable[ExpectationEvaluator] = (),
        violation_handlers: Iterable[ViolationHandler] = (),
        clock: Now = time.time,
        rng: random.Random | None = None,
        invite_ack_timeout: float = 30.0,
        ttl_sweep_interval: float = 30.0,
        limits: HubLimits | None = None,
        delivery: DeliveryPolicy | None = None,
        operators: Iterable[str] = (),
        allow_unauthenticated_operators: bool = False,
        retention: Retention | None = None,
        archive: str | os.PathLike[str] | None = None,
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
            arbiter: Who decides what is allowed; by default, the rules of the agents do.
            listeners: Told of what happens, for as long as the hub is open; see `add_listener`.
            adapters: Further types of channel; those that ship are always there.
            evaluators: Further kinds of expectations; those that ship are always there.
            violation_handlers: What else may follow when an expectation is not met.
            clock: Seconds since 1970.
            rng: Source of the random parts of ids and of jitter; for tests.
            invite_ack_timeout: Seconds that invitees have to accept.
            ttl_sweep_interval: Seconds after which a step of the wall clock is noticed at the
                latest. TTLs themselves are met on time.
            limits: What this hub takes.
            delivery: How deliveries are retried.
            operators: Names of the agents that may look after the whole hub over the wire: see
                and settle everybody's dead letters, ask for its health.
            allow_unauthenticated_operators: Honour these names also where nothing proves them
                (the scheme "none"). For tests, and for hubs that only trusted processes reach.
            retention: How long channels are kept after their end, and how much of their logs before;
                by default for ever, and all.
            archive: A directory for what is not kept any more; None throws it away.

        Raises:
            StoreError: The store cannot be opened or read at all.
            ValueError: There are to be operators, and `auth` authenticates nobody; or logs are to
                be trimmed, and the store cannot.

        Cancellation: as leaving the block, without waiting for anybody but the disk.
        """
        async with store:
            hub = cls(
                store,
                auth=auth if auth is not None else AuthRegistry.default(),
                arbiter=arbiter if arbiter is not None else RuleArbiter(),
                adapters=AdapterRegistry.with_builtins(adapters),
                expectations=ExpectationRegistry(evaluators, violation_handlers),
                clock=clock,
                rng=rng if rng is not None else random.Random(),  # noqa: S311 - see IdMint
                invite_ack_timeout=invite_ack_timeout,
                ttl_sweep_interval=ttl_sweep_interval,
                limits=limits if limits is not None else HubLimits(),
                delivery=delivery if delivery is not None else DeliveryPolicy(),
                operators=operators,
                allow_unauthenticated_operators=allow_unauthenticated_operators,
                retention=retention if retention is not None else Retention(),
                archive=ChannelArchive(archive) if archive is not None else None,
            )
            await hub._load()
            async with open_plain_nursery() as nursery:
                nursery.start_soon(hub._committer.run)
                nursery.start_soon(hub._deliveries.run)
                nursery.start_soon(hub._timers.run)
                nursery.start_soon(hub._caretaker.run)
                nursery.start_soon(hub._expectations.run)
                nursery.start_soon(hub._task_caretaker.run)
                nursery.start_soon(hub._retirement.run)
                nursery.start_soon(hub._trimming.run)
                nursery.start_soon(hub.audit.run)
                nursery.start_soon(hub._drain_when_asked)
                hub._listeners.start(nursery)
                try:
                    async with AsyncExitStack() as stack:
                        for listener in listeners:
                            await stack.enter_async_context(hub.add_listener(listener))
                        try:
                            yield hub
                        finally:
                            await hub.drain()
                finally:
                    nursery.cancel_scope.cancel()

    @property
    def epoch(self) -> str:
        """The identity of this hub's logs; see `KnowledgeStore.epoch`."""
        return self._store.epoch

    async def retire_due(self) -> int:
        """
        Let channels go that the retention of this hub does not keep any more; return how many.

        The hub does so by itself as time passes; this waits for it.

        Raises:
            StoreError: It could not be kept or archived. What was not done is tried again.

        Durability: they are gone from the store, and in the archive, when it returns.
        Cancellation: the one under way may or may not be gone.
        """
        return await self._retirement.retire_due()

    # Inside

    async def _load(self) -> None:
        """Read what the store holds. What cannot be read becomes a problem, not an exception."""
        store = self._store
        lengths = await store.lengths_under(paths.CHANNELS)
        problems = await self._ids.load(lengths)
        problems += await self.audit.load()
        problems += self._operator_rules.load(await store.read_under(paths.OPERATOR_RULES))
        problems += self._revocations.load(await store.read_under(paths.REVOCATIONS))
        problems += self._registry.load(await store.read_under(paths.AGENTS))
        for registration in self._registry:
            self._deliveries.add_agent(registration.agent_id, registration.rule.limits.inbox)
            self._deliveries.obey(registration.agent_id, registration.delivery)
        problems += self._letters.load(await store.read_under(paths.DEAD_LETTERS))
        problems += self._deliveries.load(await store.read_under(paths.CURSORS))
        firsts = await firsts_of(store, paths.CHANNELS)
        problems += self.channels.load(await store.read_under(paths.CHANNELS), lengths, firsts)
        problems += self.tasks.load(await store.read_under(paths.TASKS))
        self._problems = problems
        for problem in problems:
            log.error("set aside", problem=problem)
        for channel in self.channels:
            self._caretaker.look_after(channel)
            self._expectations.look_after(channel)
            self._retirement.look_after(channel)
            self._trimming.look_after(channel)
        for task in self.tasks:
            self._task_caretaker.look_after(task)
        self.tasks.retire_surplus()
        log.info("hub opened", agents=len(self._registry), channels=len(self.channels))

    async def _read_log(self, channel: Channel, start: int, stop: int) -> list[LogRecord]:
        return await self.channels.read_page(channel, start, stop)

    async def _read_raw(self, channel: Channel, position: int) -> bytes:
        return await self.channels.read_as_it_stands(channel, position)

    def _owed(self, agent_id: str) -> int:
        # What is for an agent of another hub waits at the link to that.
        return self._deliveries.owed(self._routes.link_of(agent_id) or agent_id)

    def owed_to(self, agent_id: str) -> int:
        """Return how many envelopes an agent or a link has not settled, as far as is known."""
        return self._deliveries.owed(agent_id)

    def _find_channel(self, channel_id: str) -> Channel | None:
        return self.channels.find(channel_id)

    def _on_task_change(self, task: TaskMetadata, before: TaskMetadata | None) -> None:
        self._announcer.task(task, before)
        self._task_caretaker.look_after(task, before)

    def _open_tasks_max(self, owner_id: str) -> int:
        owner = self._registry.find(owner_id)
        return 0 if owner is None else owner.rule.limits.max_concurrent_tasks

    def _on_channel_change(self, channel: Channel) -> None:
        self._announcer.channel(channel)
        self._caretaker.look_after(channel)
        self._expectations.look_after(channel)
        self._retirement.look_after(channel)
        self._trimming.look_after(channel)

    def _on_channel_activity(self, channel: Channel) -> None:
        self._expectations.look_after(channel)

    def _is_needed(self, channel: Channel) -> bool:
        """Whether somebody is owed something in a channel that has ended, or works for it."""
        return self._deliveries.is_owing(channel) or self.tasks.index.is_open_in(channel.channel_id)

    def _on_wake(self) -> None:
        self._caretaker.look()
        self._expectations.look()
        self._task_caretaker.look()
        self._retirement.look()
        self._trimming.look()
        self._reception.look()
