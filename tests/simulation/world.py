"""
The simulated world: one seed, one run.

Everything that chance decides comes from generators of that seed, all time from a virtual clock,
and the scheduler is Trio's own, which is deterministic inside of a Hypothesis test. So `run_seed`
gives the same trace every time it is called.

A run has two halves. While it is stormy, agents open channels, talk, ask and answer, and faults
strike: cut and silent and pulled connections, dying clients, a hub that loses its power or is
closed, failing disks, a clock that jumps; in some worlds also messages that come twice, and a
store that is restored from a backup, or whose logs are trimmed. Then comes the calm: everything is healed and given
time, until nothing is owed any more, or too long. At last the logs are read into the trace.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from unittest.mock import patch

import attrs
import msgspec
import trio

from trio_hub import Hub, Retention
from trio_hub.errors import NetworkError
from trio_hub.hub import mailbox, paths
from trio_hub.links import LinkLimits
from trio_hub.records import EV_TEXT, Envelope
from trio_hub.stores import Append, Delete, Put, Trim
from trio_hub.stores.base import Change
from trio_hub.testing.checkers import as_restored, everything_owed_is_settled, violations
from trio_hub.testing.simulated_disk import DiskCopy, SimulatedDisk
from trio_hub.testing.simulated_network import SimulatedNetwork
from trio_hub.testing.trace import (
    CursorWritten,
    Cut,
    DeadLettered,
    Delivered,
    FaultInjected,
    Logged,
    PostAcked,
    Recorder,
    StoreCopied,
    StoreRestored,
    Trace,
)

from .machines import POISON, QUESTION, HubMachine, Machine, SimAgent
from .replayable import run_replayably, shuffle_the_scheduler

# How long the calm may last until everything owed is settled, in virtual seconds.
CALM_SECONDS_MAX = 3600.0
SECONDS_BETWEEN_OPERATIONS = 0.03
# As large as an envelope of a world is at the median.
LARGE_BYTES = 400
# How long the calm must have been quiet before the logs are read to see whether all is settled.
QUIET_SECONDS = 10.0

LINK_LIMITS = LinkLimits(
    ping_interval_seconds=3.0,
    ping_timeout_seconds=3.0,
    send_timeout_seconds=5.0,
    close_timeout_seconds=1.0,
)

MACHINES = {"north": ["ann"], "east": ["bob"], "south": ["cay", "dee"], "west": ["eve"]}


@attrs.frozen
class Run:
    """What came of a seed."""

    trace: Trace
    violations: list[str]

    @property
    def posts_acked(self) -> int:
        return sum(1 for _ in self.trace.of(PostAcked))

    @property
    def delivered(self) -> int:
        return sum(1 for _ in self.trace.of(Delivered))


@attrs.frozen
class KnownChannel:
    """A channel that somebody has opened and been told of."""

    channel_id: str
    kind: str
    members: tuple[SimAgent, ...]


class World:
    """One run."""

    def __init__(self, seed: int, operations: int) -> None:
        self.seed = seed
        self.operations = operations
        self.calm = False
        self.over = False
        self.trace = Trace()
        self.recorder = Recorder(self.trace)
        self.problems: list[str] = []
        self.work = self.generator("work")
        self.faults = self.generator("faults")
        self._ttls = self.generator("ttls")
        self.behaviour = self.generator("behaviour")
        self.disk = SimulatedDisk(self.generator("disk"), on_durable=self._on_durable)
        kind = self.generator("kind of world")
        self._restores_backups = kind.random() < 0.4
        self.network = SimulatedNetwork(
            self.generator("network"),
            limits=LINK_LIMITS,
            eager=kind.random() < 0.75,
            duplicates=0.05 if kind.random() < 0.4 else 0.0,
        )
        trims = self.generator("trims")
        self.retention = Retention()
        if trims.random() < 0.3:
            self.retention = Retention(records_max=trims.choice([0, 3, 10]))
            # What was trimmed after a backup is in neither.
            self._restores_backups = False
        # Every record of every channel's log that was ever durable, and how many were trimmed.
        self._durable: dict[str, list[bytes]] = {}
        self.records_trimmed = 0
        self._backup: DiskCopy | None = None
        self.hub_machine = HubMachine(self)
        self.machines = [Machine(self, name, agents) for name, agents in MACHINES.items()]
        self.agents = [agent for machine in self.machines for agent in machine.agents.values()]
        self.channels: list[KnownChannel] = []
        self._wall_offset = 1_700_000_000.0
        self._keys = 0
        self._posting = 0

    def generator(self, name: str) -> random.Random:
        """Return the generator of one part of the world."""
        return random.Random(f"{self.seed} {name}")

    def wall_clock(self) -> float:
        """Return the wall's time, which may jump."""
        return self._wall_offset + trio.current_time()

    # One run

    async def run(self) -> Run:
        async with trio.open_nursery() as nursery:
            await shuffle_the_scheduler(self.seed)
            nursery.start_soon(self.hub_machine.run)
            for machine in self.machines:
                nursery.start_soon(machine.run)
            for agent in self.agents:
                await agent.attached()
            await self._storm(nursery)
            await self._calm_down()
            self.over = True
            nursery.cancel_scope.cancel()
        trace = self.trace
        found = violations(trace)
        found += [f"a connection of the hub raised {error!r}" for error in self.network.failures]
        found += [f"the hub complains: {problem}" for problem in self.problems]
        return Run(trace, found)

    async def _storm(self, nursery: trio.Nursery) -> None:
        acts: list[tuple[float, Callable[[], None]]] = [
            (60, lambda: nursery.start_soon(self._post)),
            (6, lambda: nursery.start_soon(self._open)),
            (4, lambda: nursery.start_soon(self._consult)),
            (1, lambda: nursery.start_soon(self._close)),
            (3, lambda: nursery.start_soon(self._look)),
            (1.2, partial(self._cut, silently=False)),
            (0.4, partial(self._cut, silently=True)),
            (0.5, lambda: nursery.start_soon(self._part)),
            (0.6, self._kill_machine),
            (0.4, self._kill_hub),
            (0.2, self._stop_hub),
            (0.8, self._break_disk),
            (0.3, lambda: nursery.start_soon(self._fill_disk)),
            (0.3, self._jump_clock),
        ]
        if self._restores_backups:
            acts += [(0.5, self._back_up), (0.2, self._restore)]
        weights = [weight for weight, _ in acts]
        for _ in range(self.operations):
            ((_, act),) = self.work.choices(acts, weights)
            act()
            await trio.sleep(self.work.expovariate(1 / SECONDS_BETWEEN_OPERATIONS))

    async def _calm_down(self) -> None:
        self.calm = True
        if self.hub_machine.store is not None:
            self.hub_machine.store.heal()
        for machine in self.machines:
            self.network.join(machine.name)
        deadline = trio.current_time() + CALM_SECONDS_MAX
        events = -1
        while True:
            heard, events = events, len(self.trace)
            await trio.sleep(QUIET_SECONDS)
            hub = self.hub_machine.hub
            if hub is None or (heard != events and trio.current_time() < deadline):
                continue
            seen = Trace(event for event in self.trace if not isinstance(event, Logged))
            await self._read_logs(Recorder(seen), hub)
            owed = everything_owed_is_settled(as_restored(seen))
            if (not owed and not self._posting) or trio.current_time() > deadline:
                break
        await self._read_logs(self.recorder, hub)
        if self._posting:
            self.problems.append(f"{self._posting} posts have no answer at the end")
        self.problems += [
            f"{agent.name} was never told that a backup was restored"
            for agent in self.agents
            if agent.is_to_be_told
        ]

    async def _read_logs(self, recorder: Recorder, hub: Hub) -> None:
        """Record all envelopes, from the logs and, of what was trimmed, as they once stood there."""
        store = self.hub_machine.store
        assert store is not None
        for metadata in hub.list_channels(limit=None):
            path = paths.channel_log(metadata.channel_id)
            # The hub need not know it: of a trim that failed nobody knows whether it is durable, and
            # a channel that has ended is not looked at again.
            first = await store.first(path)
            for position, record in enumerate(self._durable.get(path, ())[:first]):
                envelope = msgspec.json.decode(record, type=Envelope)
                recorder.logged(position, envelope, metadata.participant_ids)
        await recorder.read_logs(hub)

    # What agents do

    def _some_channel(self) -> KnownChannel | None:
        return self.work.choice(self.channels[-12:]) if self.channels else None

    async def _open(self) -> None:
        kind = self.work.choice(["conversation", "conversation", "discussion"])
        members = self.work.sample(self.agents, 2 if kind == "conversation" else 3)
        ttl = self.work.choice(["2h", "2h", "2h", "20s"])
        await self._opened(kind, members, ttl)

    async def _opened(self, kind: str, members: list[SimAgent], ttl: str) -> KnownChannel | None:
        first, *others = members
        client = first.client
        if client is None:
            return None
        try:
            channel = await client.open(type=kind, target=[other.name for other in others], ttl=ttl)
        except (NetworkError, trio.TooSlowError):
            return None
        known = KnownChannel(channel.channel_id, kind, tuple(members))
        self.channels.append(known)
        return known

    async def _consult(self) -> None:
        channel = await self._opened("consulting", self.work.sample(self.agents, 2), "2h")
        if channel is not None:
            await self._say(channel, channel.members[0], {QUESTION: True})

    async def _post(self) -> None:
        channel = self._some_channel()
        if channel is None or channel.kind == "consulting":
            await self._open()
            return
        draw = self.work.random()
        extra = {QUESTION: True} if draw < 0.25 else {POISON: True} if draw > 0.99 else {}
        await self._say(channel, self.work.choice(channel.members), extra)

    async def _say(self, channel: KnownChannel, sender: SimAgent, extra: dict[str, bool]) -> None:
        self._keys += 1
        key = f"k{self._keys}"
        others = [member for member in channel.members if member is not sender]
        audience = None
        if len(others) > 1 and self.work.random() < 0.2:
            others = [self.work.choice(others)]
            audience = tuple(other.agent_id for other in others)
        envelope = Envelope(
            channel_id=channel.channel_id,
            sender_id=sender.agent_id,
            audience=audience,
            event_type=EV_TEXT,
            event_data={"text": key, **extra},
            idempotency_key=key,
            ttl_seconds=self._ttls.choice([0.2, 5.0]) if self._ttls.random() < 0.1 else None,
        )
        twice = self.work.random() < 0.05
        async with trio.open_nursery() as nursery:
            for _ in range(2 if twice else 1):
                nursery.start_soon(self._insist, sender, envelope, others)

    async def _insist(
        self, sender: SimAgent, envelope: Envelope, recipients: Sequence[SimAgent]
    ) -> None:
        """Post until there is an answer that counts, as an application with a journal would."""
        self._posting += 1
        ids = [recipient.agent_id for recipient in recipients]
        while True:
            client = await sender.attached()
            try:
                await self.recorder.post(client, envelope, recipients=ids)
            except NetworkError as error:
                if not error.retryable:
                    break
            except trio.TooSlowError:
                pass
            else:
                break
            await trio.sleep(self.work.uniform(0.1, 2.0))
        self._posting -= 1

    async def _close(self) -> None:
        channel = self._some_channel()
        if channel is None or (client := channel.members[0].client) is None:
            return
        try:
            await (await client.channel(channel.channel_id)).close("enough")
        except (NetworkError, trio.TooSlowError):
            return

    async def _look(self) -> None:
        """Read what can be read; nothing of it may raise anything but what it says."""
        channel = self._some_channel()
        agent = self.work.choice(self.agents)
        if channel is None or (client := agent.client) is None:
            return
        hub_client = client.hub_client
        try:
            await hub_client.can_send(channel.channel_id, agent.agent_id)
            await hub_client.pending_turns_for(agent.agent_id)
            if agent in channel.members:
                await hub_client.read_wal(channel.channel_id, since=self.work.randrange(10))
        except (NetworkError, trio.TooSlowError):
            return

    # What strikes

    def _note(self, what: str) -> None:
        self.trace.record(FaultInjected(at=trio.current_time(), what=what))

    def _cut(self, *, silently: bool) -> None:
        machine = self.faults.choice(self.machines)
        if self.network.cut(machine.name, silently=silently):
            self.trace.record(Cut(at=trio.current_time(), agent_ids=tuple(machine.agents)))

    async def _part(self) -> None:
        machine = self.faults.choice(self.machines)
        self._note(f"{machine.name} is parted")
        self.network.part(machine.name)
        await trio.sleep(self.faults.uniform(0.1, 15.0))
        self.network.join(machine.name)

    def _kill_machine(self) -> None:
        machine = self.faults.choice(self.machines)
        self._note(f"{machine.name} dies")
        self.network.cut(machine.name, silently=self.faults.random() < 0.4)
        machine.kill()

    def _kill_hub(self) -> None:
        self._note("the hub dies")
        for machine in self.machines:
            if self.faults.random() < 0.3:
                self.network.cut(machine.name, silently=True)
        self.hub_machine.kill()

    def _stop_hub(self) -> None:
        self._note("the hub is closed")
        self.hub_machine.stop()

    def _back_up(self) -> None:
        self._backup = self.disk.copy()
        self.trace.record(StoreCopied(at=trio.current_time()))

    def _restore(self) -> None:
        if self._backup is None:
            return
        lost = [
            msgspec.json.decode(record)["envelope_id"]
            for path, records in self.hub_machine.restore(self._backup).items()
            if path.startswith(f"{paths.CHANNELS}/")
            for record in records
        ]
        self.trace.record(StoreRestored(at=trio.current_time(), lost=tuple(lost)))
        for agent in self.agents:
            agent.is_to_be_told = agent.client is not None

    def _break_disk(self) -> None:
        store = self.hub_machine.store
        if store is None:
            return
        operation = self.faults.choice(
            ["commit", "commit", "commit", "read_range", "length", "read"]
        )
        nth, after = self.faults.randint(1, 5), self.faults.random() < 0.5
        self._note(f"{operation} {nth} will fail, after={after}")
        store.fail(operation, nth=nth, after=after)

    async def _fill_disk(self) -> None:
        store = self.hub_machine.store
        if store is None:
            return
        self._note("the disk is full for a while")
        store.fail_commits()
        await trio.sleep(self.faults.uniform(0.1, 3.0))
        store.heal()

    def _jump_clock(self) -> None:
        seconds = self.faults.choice([-30.0, -2.0, 1.0, 10.0, 30.0])
        self._note(f"the clock jumps by {seconds:g} s")
        self._wall_offset += seconds

    # What can be seen of the disk

    def _on_durable(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if not self.retention.keeps_records and change.path.startswith(f"{paths.CHANNELS}/"):
                self._follow(change)
            if not isinstance(change, Put):
                continue
            _, folder, *names = change.path.split("/")
            if folder == "cursors":
                agent_id, channel_id = names
                cursor = msgspec.json.decode(change.data)
                self.trace.record(
                    CursorWritten(
                        at=trio.current_time(),
                        agent_id=agent_id,
                        channel_id=channel_id,
                        cursor=cursor["cursor"],
                        settled=tuple((start, stop) for start, stop in cursor["settled"]),
                    )
                )
            elif folder == "dead_letters":
                agent_id, envelope_id = names
                letter = msgspec.json.decode(change.data)
                self.trace.record(
                    DeadLettered(
                        at=trio.current_time(),
                        agent_id=agent_id,
                        channel_id=letter["channel_id"],
                        envelope_id=envelope_id,
                    )
                )

    def _follow(self, change: Change) -> None:
        """Keep what is written to a log, for when it is trimmed."""
        match change:
            case Append(path, record):
                self._durable.setdefault(path, []).append(record)
            case Trim(path, first):
                self.records_trimmed += first
                assert first < len(self._durable[path])
            case Delete(path):
                self._durable.pop(path, None)


def run_seed(seed: int, operations: int) -> Run:
    """Run one world from beginning to end, in virtual time."""
    # In some worlds all envelopes, or about half of them, are so large that they are read back from
    # the log when they are sent.
    large = random.Random(f"large {seed}").choice([mailbox.PAYLOAD_BYTES_MAX, 0, LARGE_BYTES])
    with patch.object(mailbox, "PAYLOAD_BYTES_MAX", large):
        run, bugs = run_replayably(lambda: World(seed, operations).run())
    return attrs.evolve(run, violations=run.violations + bugs)
