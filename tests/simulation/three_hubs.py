"""
Three hubs, joined each with each, between which the cables are pulled: one seed, one run.

Four agents talk in three channels, one of each hub's; one channel has agents of all three hubs, so
what is said there passes through its owner. Hubs die and come back, lines are cut, loudly or
silently, in one direction or in both, disks fail. Then everything is healed, and all that was
answered must have been handled by everybody whom it was for: once, and in order.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from functools import partial

import attrs
import trio

from trio_hub import Hub, HubClient, LocalLink, Passport
from trio_hub.client import AgentClient, Turn
from trio_hub.client.handlers import accept_invite
from trio_hub.errors import NetworkError, StoreError
from trio_hub.federation import Federation, Peer
from trio_hub.links import LinkLimits
from trio_hub.protocol.backoff import Backoff
from trio_hub.protocol.delivery_policy import DeliveryPolicy
from trio_hub.records import ChannelState, Envelope
from trio_hub.records.envelope import CHANNEL_EVENT_PREFIX
from trio_hub.testing.simulated_disk import MachineStore, SimulatedDisk
from trio_hub.testing.simulated_network import SimulatedNetwork

from .replayable import run_replayably, shuffle_the_scheduler

HUBS = ("east", "north", "west")
#: Agent -> the hub that it lives at.
AGENTS = {"ann": "east", "bob": "west", "cay": "north", "dee": "west"}
#: Who opens a channel with whom. It belongs to the hub of the first.
CHANNELS = (("ann", "bob"), ("bob", "cay"), ("cay", "ann", "bob", "dee"))

SAID = "simulation.said"
CALM_SECONDS_MAX = 900.0
LINK_LIMITS = LinkLimits(
    ping_interval_seconds=3.0,
    ping_timeout_seconds=3.0,
    send_timeout_seconds=5.0,
    close_timeout_seconds=1.0,
)
DELIVERY = DeliveryPolicy(max_in_flight=8, page_records=4, backoff=Backoff(0.2, 3.0))


@attrs.frozen
class Said:
    """Something that was posted, and answered."""

    channel: int
    sender: str
    number: int
    audience: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"{self.channel} {self.sender} {self.number}"


@attrs.define
class Outcome:
    """What came of a seed."""

    said: list[Said] = attrs.field(factory=list)
    #: Agent -> (envelope id, text) of everything that its handler acted upon, in order.
    handled: dict[str, list[tuple[str, str]]] = attrs.field(factory=dict)
    faults: list[str] = attrs.field(factory=list)
    violations: list[str] = attrs.field(factory=list)

    def digest(self) -> str:
        """Tell two runs apart."""
        return hashlib.blake2b(repr(attrs.astuple(self)).encode()).hexdigest()


class HubOfThree:
    """One hub: process after process, on one disk, with its agents beside it."""

    def __init__(self, world: ThreeHubs, name: str) -> None:
        self.name = name
        self.hub: Hub | None = None
        self.store: MachineStore | None = None
        self.federation: Federation | None = None
        self.agents: dict[str, AgentClient] = {}
        self._world = world
        self._scope = trio.CancelScope()
        self._stop = trio.Event()
        self._lives = 0
        self._up = trio.Event()
        self.disk = SimulatedDisk(world.generator(f"disk of {name}"))
        self.network = SimulatedNetwork(
            world.generator(f"network of {name}"),
            limits=LINK_LIMITS,
            eager=True,
            duplicates=world.duplicates,
        )

    async def run(self) -> None:
        """Start it, again and again."""
        while True:
            await self._live()
            self.hub = self.store = self.federation = None
            self.agents = {}
            self._up = trio.Event()
            await trio.sleep(self._world.faults.uniform(0.0, 3.0))

    async def _live(self) -> None:
        world, self._lives = self._world, self._lives + 1
        self._stop = trio.Event()
        life = f"{self.name} {self._lives}"
        store = self.disk.store()
        with trio.CancelScope() as self._scope:
            try:
                async with (
                    Hub.open(
                        store,
                        clock=world.wall_clock,
                        rng=world.generator(f"hub {life}"),
                        delivery=DELIVERY,
                        invite_ack_timeout=300.0,
                    ) as hub,
                    self.network.serving(hub),
                    Federation.open(
                        hub,
                        self.name,
                        [world.peer(self.name, it) for it in HUBS if it != self.name],
                        allow_unauthenticated=True,
                        clock=world.wall_clock,
                        rng=world.generator(f"federation {life}"),
                        backoff=Backoff(0.2, 5.0),
                        request_timeout=10.0,
                    ) as federation,
                    HubClient(
                        LocalLink(hub), reconnect=None, rng=world.generator(f"client {life}")
                    ) as client,
                ):
                    for name, home in AGENTS.items():
                        if home == self.name:
                            self.agents[name] = await client.attach(
                                _nothing_to_say,
                                name,
                                passport=Passport(name=name),
                                handler=partial(world.handle, name),
                            )
                    self.hub, self.store, self.federation = hub, store, federation
                    self._up.set()
                    await self._stop.wait()
            except (NetworkError, StoreError, trio.TooSlowError):
                # It could not begin, or its disk failed; whoever started it tries again.
                return

    async def ready(self) -> Hub:
        """Wait until it is up."""
        while self.hub is None:
            await self._up.wait()
        return self.hub

    def kill(self) -> None:
        """Take its power."""
        self.disk.cut_power()
        self._scope.cancel()

    def stop(self) -> None:
        """Ask it to end in all form."""
        self._stop.set()


class ThreeHubs:
    """One run."""

    def __init__(self, seed: int, operations: int) -> None:
        self.seed = seed
        self.outcome = Outcome(handled={name: [] for name in AGENTS})
        self.calm = False
        self.faults = self.generator("faults")
        kind = self.generator("kind of world")
        self.duplicates = 0.05 if kind.random() < 0.4 else 0.0
        self.hubs = {name: HubOfThree(self, name) for name in HUBS}
        self._behaviour = self.generator("behaviour")
        self._operations = operations
        self._channel_ids: list[str] = []
        self._seen: dict[str, set[str]] = {name: set() for name in AGENTS}
        self._talking = self._partings = 0

    def generator(self, name: str) -> random.Random:
        """Return the generator of one part of the world."""
        return random.Random(f"{self.seed} {name}")

    def wall_clock(self) -> float:
        """Return the wall's time."""
        return 1_700_000_000.0 + trio.current_time()

    def peer(self, me: str, other: str) -> Peer:
        """Return how one hub knows another."""
        return Peer(
            name=other, link=self.hubs[other].network.link(me), exports=("*",), imports=("*",)
        )

    async def run(self) -> Outcome:
        async with trio.open_nursery() as nursery:
            await shuffle_the_scheduler(self.seed)
            for hub in self.hubs.values():
                nursery.start_soon(hub.run)
            await self._open_channels()
            for number, members in enumerate(CHANNELS):
                for sender in members:
                    self._talking += 1
                    nursery.start_soon(self._talk, number, sender)
            await self._storm(nursery)
            await self._calm_down()
            self._judge()
            nursery.cancel_scope.cancel()
        return self.outcome

    # What agents do

    async def _open_channels(self) -> None:
        for first, *others in CHANNELS:
            home = AGENTS[first]
            hub = await self.hubs[home].ready()
            names = [it if AGENTS[it] == home else f"hub://{AGENTS[it]}/{it}" for it in others]
            await _until(partial(_knows, hub, names), every=0.2)
            channel = await self.hubs[home].agents[first].open(type=_type(others), target=names)
            self._channel_ids.append(channel.channel_id)

    async def _talk(self, number: int, sender: str) -> None:
        """Say something now and then; each thing until it is answered, before the next."""
        home, chance = self.hubs[AGENTS[sender]], self.generator(f"talk {number} {sender}")
        others = [it for it in CHANNELS[number] if it != sender]
        for count in range(self._operations):
            await trio.sleep(chance.expovariate(0.7))
            audience = tuple(others)
            if len(others) > 1 and chance.random() < 0.4:
                audience = tuple(sorted(chance.sample(others, chance.randint(1, 2))))
            said = Said(number, sender, count, audience)
            while True:
                if await self._say(home, said, everybody=audience == tuple(others)):
                    break
                await trio.sleep(chance.uniform(0.1, 1.0))
            self.outcome.said.append(said)
        self._talking -= 1

    async def _say(self, home: HubOfThree, said: Said, *, everybody: bool) -> bool:
        hub = await home.ready()
        sender_id = hub.find_agent_id(said.sender)
        channel_id = self._channel_ids[said.channel]
        assert sender_id is not None
        if hub.get_channel(channel_id).state is ChannelState.PENDING:
            return False  # It is open where it belongs, and that is not known here yet.
        envelope = Envelope(
            channel_id=channel_id,
            sender_id=sender_id,
            audience=None if everybody else self._ids_in_channel(hub, said),
            event_type=SAID,
            event_data={"text": said.text},
            idempotency_key=said.text,
        )
        try:
            await home.agents[said.sender].send_envelope(envelope)
        except (NetworkError, trio.TooSlowError) as error:
            if not isinstance(error, trio.TooSlowError) and not error.retryable:
                self.outcome.violations.append(f"{said.text}: was refused: {error}")
                return True
            return False
        except KeyError:
            # Its hub has died in this moment.
            return False
        return True

    def _ids_in_channel(self, hub: Hub, said: Said) -> tuple[str, ...]:
        """
        Find those whom it is for among the participants.

        One of a third hub is called otherwise in a reflection than in a channel of one's own.
        """
        metadata = hub.get_channel(self._channel_ids[said.channel])
        by_agent = {hub.name_for(it).rpartition("/")[2]: it for it in metadata.participant_ids}
        return tuple(by_agent[it] for it in said.audience)

    async def handle(
        self, name: str, envelope: Envelope, client: AgentClient, attempt: int
    ) -> None:
        """Act on what is new, as an agent that keeps a journal of what it has done."""
        if envelope.event_type.startswith(CHANNEL_EVENT_PREFIX):
            if envelope.event_type == f"{CHANNEL_EVENT_PREFIX}invite":
                await accept_invite(envelope, client)
            return
        if not self.calm and self._behaviour.random() < 0.02:
            raise RuntimeError("a bad moment")
        if envelope.envelope_id not in self._seen[name]:
            self._seen[name].add(envelope.envelope_id)
            self.outcome.handled[name].append((envelope.envelope_id, envelope.text))

    # What strikes

    async def _storm(self, nursery: trio.Nursery) -> None:
        acts: list[tuple[float, Callable[[], object]]] = [
            (4, lambda: self._part(nursery, one_way=False)),
            (3, lambda: self._part(nursery, one_way=True)),
            (2, partial(self._cut, silently=False)),
            (1.5, partial(self._cut, silently=True)),
            (1, self._kill),
            (0.5, self._stop),
            (1, self._break_disk),
        ]
        weights = [weight for weight, _ in acts]
        for _ in range(self._operations):
            await trio.sleep(self.faults.expovariate(0.7))
            ((_, act),) = self.faults.choices(acts, weights)
            act()

    def _note(self, what: str) -> None:
        self.outcome.faults.append(f"{trio.current_time():.3f} {what}")

    def _two(self) -> tuple[str, str]:
        one, other = self.faults.sample(HUBS, 2)
        return one, other

    def _part(self, nursery: trio.Nursery, *, one_way: bool) -> None:
        one, other = self._two()
        self._note(f"{one} is parted from {other}, one way: {one_way}")
        ways = [(one, other)] if one_way else [(one, other), (other, one)]
        for caller, called in ways:
            self.hubs[called].network.part(caller)
        self._partings += 1
        nursery.start_soon(self._join, ways, self.faults.uniform(0.1, 15.0))

    async def _join(self, ways: list[tuple[str, str]], seconds: float) -> None:
        await trio.sleep(seconds)
        for caller, called in ways:
            self.hubs[called].network.join(caller)
        self._partings -= 1

    def _cut(self, *, silently: bool) -> None:
        one, other = self._two()
        if self.hubs[other].network.cut(one, silently=silently):
            self._note(f"the line of {one} to {other} is cut, silently: {silently}")

    def _kill(self) -> None:
        hub = self.faults.choice(HUBS)
        self._note(f"{hub} dies")
        self.hubs[hub].kill()

    def _stop(self) -> None:
        hub = self.faults.choice(HUBS)
        self._note(f"{hub} is closed")
        self.hubs[hub].stop()

    def _break_disk(self) -> None:
        hub = self.faults.choice(HUBS)
        store = self.hubs[hub].store
        if store is not None:
            self._note(f"the disk of {hub} fails once")
            store.fail("commit", nth=self.faults.randint(1, 4), after=self.faults.random() < 0.5)

    # The end

    async def _calm_down(self) -> None:
        self.calm = True
        for hub in self.hubs.values():
            if hub.store is not None:
                hub.store.heal()
        deadline = trio.current_time() + CALM_SECONDS_MAX
        await _until(lambda: self._is_settled() or trio.current_time() > deadline, every=2.0)
        # What could come twice, or come round, would by now.
        await trio.sleep(10.0)

    def _is_settled(self) -> bool:
        return not (self._talking or self._partings or self._missing()) and all(
            it.hub is not None and all(peer.up and not peer.owed for peer in it.hub.health().peers)
            for it in self.hubs.values()
        )

    def _missing(self) -> list[str]:
        got = {name: {text for _, text in seen} for name, seen in self.outcome.handled.items()}
        return [
            f"lost: {name} never handled {said.text!r}"
            for said in self.outcome.said
            for name in said.audience
            if said.text not in got[name]
        ]

    def _judge(self) -> None:
        found = self.outcome.violations
        if self._talking:
            found.append(f"{self._talking} agents wait for an answer at the end")
        found += self._missing()
        addressed = {said.text: said.audience for said in self.outcome.said}
        for name, seen in self.outcome.handled.items():
            texts = [text for _, text in seen]
            found += [
                f"twice: {name} handled {text!r} under two ids"
                for text in sorted({it for it in texts if texts.count(it) > 1})
            ]
            found += [
                f"astray: {name} handled {text!r}, which was for others"
                for text in texts
                if name not in addressed.get(text, ())
            ]
            found += self._disorder(name, texts)
        for hub in self.hubs.values():
            found += self._complaints(hub)

    def _disorder(self, name: str, texts: list[str]) -> list[str]:
        last: dict[str, int] = {}
        found = []
        for text in texts:
            lane, _, number = text.rpartition(" ")
            if int(number) < last.get(lane, -1):
                found.append(f"disorder: {name} handled {text!r} after number {last[lane]}")
            last[lane] = max(last.get(lane, -1), int(number))
        return found

    def _complaints(self, machine: HubOfThree) -> list[str]:
        hub, name = machine.hub, machine.name
        if hub is None:
            return [f"{name} is down at the end"]
        health = hub.health()
        found = [f"{name} complains: {it}" for it in health.problems]
        found += [f"a connection of {name} raised {it!r}" for it in machine.network.failures]
        for letter in hub.list_dead_letters(None).letters:
            found.append(f"{name} has a dead letter for {letter.agent_id}: {letter.reason}")
        for peer in health.peers:
            if not peer.up:
                found.append(f"{name} cannot reach {peer.name} at the end: {peer.problem}")
            if peer.owed:
                found.append(f"{name} owes {peer.owed} to {peer.name} at the end")
            if peer.loops:
                found.append(f"loop: {peer.loops} came back to {name} from {peer.name}")
        return found


async def _nothing_to_say(_turn: Turn) -> None:
    """Agents talk by themselves here."""


def _knows(hub: Hub, names: list[str]) -> bool:
    return all(hub.find_agent_id(it) is not None for it in names)


async def _until(condition: Callable[[], bool], *, every: float) -> None:
    while True:
        if condition():
            return
        await trio.sleep(every)


def _type(others: list[str]) -> str:
    return "conversation" if len(others) == 1 else "discussion"


def run_three_hubs(seed: int, operations: int) -> Outcome:
    """Run one world from beginning to end, in virtual time."""
    outcome, bugs = run_replayably(lambda: ThreeHubs(seed, operations).run())
    outcome.violations += bugs
    return outcome
