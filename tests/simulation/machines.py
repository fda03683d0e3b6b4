"""
The programs of the simulated world: a hub that is killed and started again, and machines with
agents on them that die and come back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_hub import Hub, HubLimits
from trio_hub.client import (
    AgentClient,
    HubClient,
    IdentityChange,
    Reconnect,
    StateChange,
    Turn,
    default_handler,
)
from trio_hub.errors import NetworkError, StoreError
from trio_hub.protocol.backoff import Backoff
from trio_hub.protocol.delivery_policy import DeliveryPolicy
from trio_hub.records import Envelope, Passport
from trio_hub.testing.simulated_disk import DiskCopy, MachineStore
from trio_hub.testing.trace import (
    ClientStarted,
    ClientStopped,
    HubStarted,
    HubStopped,
    PositionLost,
)

if TYPE_CHECKING:
    from .world import World

ACK_WAIT = 40.0
DELIVERY = DeliveryPolicy(
    ack_wait_seconds=ACK_WAIT, max_in_flight=16, page_records=4, backoff=Backoff(0.2, 3.0)
)
HUB_LIMITS = HubLimits(
    cursor_flush_seconds=0.5, id_lease_seconds=5.0, page_records_max=7, snapshot_records=5
)

#: What makes a handler fail for ever, and what asks for a reply.
POISON, QUESTION = "poison", "question"


class HubMachine:
    """The hub's machine: one process after another, on one disk."""

    def __init__(self, world: World) -> None:
        self.hub: Hub | None = None
        self.store: MachineStore | None = None
        self._world = world
        self._scope = trio.CancelScope()
        self._stop = trio.Event()
        self._lives = 0
        self.up = trio.Event()

    async def run(self) -> None:
        """Start the hub, again and again."""
        world = self._world
        while True:
            killed = await self._live()
            self.hub = self.store = None
            self.up = trio.Event()
            world.trace.record(HubStopped(at=trio.current_time(), killed=killed))
            if world.over:
                return
            await trio.sleep(world.faults.uniform(0.0, 1.5))

    async def _live(self) -> bool:
        world = self._world
        self._lives += 1
        self._stop = trio.Event()
        store = world.disk.store()
        if not world.calm and world.faults.random() < 0.2:
            # It may not even come up.
            store.fail(world.faults.choice(["read", "read_under", "lengths_under"]))
        with trio.CancelScope() as self._scope:
            try:
                async with (
                    Hub.open(
                        store,
                        clock=world.wall_clock,
                        rng=world.generator(f"hub {self._lives}"),
                        invite_ack_timeout=15.0,
                        ttl_sweep_interval=5.0,
                        limits=HUB_LIMITS,
                        delivery=DELIVERY,
                        listeners=[world.recorder.listener()],
                        retention=world.retention,
                    ) as hub,
                    world.network.serving(hub),
                ):
                    store.heal()
                    self.hub, self.store = hub, store
                    world.trace.record(HubStarted(at=trio.current_time()))
                    world.problems.extend(hub.health().problems)
                    self.up.set()
                    await self._stop.wait()
                    with trio.move_on_after(5):
                        await hub.drain()
                    await trio.sleep(world.faults.uniform(0.0, 0.5))
            except StoreError:
                # It could not be opened; whoever started it tries again.
                return True
        return self._scope.cancelled_caught

    def kill(self) -> None:
        """Take its power: what is not on the disk never will be, and nobody says goodbye."""
        self._world.disk.cut_power()
        self._scope.cancel()

    def restore(self, copy: DiskCopy) -> dict[str, list[bytes]]:
        """Kill it, and let the next one begin with a backup. Returns the lost records."""
        self.kill()
        return self._world.disk.restore(copy)

    def stop(self) -> None:
        """Ask it to end in all form."""
        self._stop.set()


class Machine:
    """A machine with some agents on one connection."""

    def __init__(self, world: World, name: str, agent_names: list[str]) -> None:
        self.name = name
        self.agents = {agent_name: SimAgent(world, agent_name) for agent_name in agent_names}
        self.life = -1
        self._world = world
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Start the program, again and again."""
        world = self._world
        while True:
            self.life += 1
            names = tuple(self.agents)
            world.trace.record(ClientStarted(at=trio.current_time(), names=names, life=self.life))
            with trio.CancelScope() as self._scope:
                try:
                    await self._live()
                except (NetworkError, trio.TooSlowError):
                    # It could not begin; whoever started it tries again.
                    await trio.lowlevel.checkpoint()
            for agent in self.agents.values():
                agent.leave()
            world.trace.record(ClientStopped(at=trio.current_time(), names=names, life=self.life))
            await trio.sleep(world.faults.uniform(0.0, 5.0))

    async def _live(self) -> None:
        world = self._world
        async with HubClient(
            world.network.link(self.name),
            reconnect=Reconnect(backoff=Backoff(0.1, 3.0), wait_for_hub=True),
            request_timeout=20.0,
            open_timeout=40.0,
            progress_interval_seconds=ACK_WAIT / 4,
            rng=world.generator(f"{self.name} {self.life}"),
        ) as client:
            with client.observed_by(self._notice):
                for agent in self.agents.values():
                    agent.enter(
                        await client.attach(
                            agent,
                            agent.name,
                            passport=Passport(name=agent.name),
                            handler=world.recorder.handler(agent.handle, life=self.life),
                        )
                    )
                await trio.sleep_forever()

    def _notice(self, change: StateChange | IdentityChange) -> None:
        if isinstance(change, IdentityChange) and change.what == "position_lost":
            agent = self.agents[change.name]
            agent.is_to_be_told = False
            self._world.trace.record(PositionLost(at=trio.current_time(), agent_id=agent.agent_id))

    def kill(self) -> None:
        """End the process. What it had not sent is never sent."""
        self._scope.cancel()


class SimAgent:
    """An agent: answers questions, is slow at times, fails at times, and chokes on poison."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self.client: AgentClient | None = None
        self.agent_id = ""
        self.up = trio.Event()
        # A backup was restored while it was there, and nobody has said so yet.
        self.is_to_be_told = False

    @property
    def name(self) -> str:
        return self._name

    def enter(self, client: AgentClient) -> None:
        self.client, self.agent_id = client, client.agent_id
        self.up.set()

    def leave(self) -> None:
        self.client = None
        self.is_to_be_told = False
        if self.up.is_set():
            self.up = trio.Event()

    async def attached(self) -> AgentClient:
        """Wait until some life of the agent is there, and return its client."""
        while self.client is None:
            await self.up.wait()
        return self.client

    async def ask(self, turn: Turn) -> str | None:
        if turn.envelope.event_data.get(QUESTION):
            await trio.sleep(self._world.behaviour.uniform(0.0, 0.5))
            return f"to {turn.text}"
        return None

    async def handle(self, envelope: Envelope, client: AgentClient, attempt: int) -> None:
        behaviour = self._world.behaviour
        if envelope.event_data.get(POISON):
            raise LookupError("nobody can handle this")
        draw = behaviour.random()
        if draw < 0.15:
            await trio.sleep(behaviour.uniform(0.0, 2.0))
        elif draw < 0.155 and not self._world.calm:
            # Longer than the hub waits; the client tells it that there is still somebody.
            await trio.sleep(2 * ACK_WAIT)
        if 0.94 < draw < 0.97 and not self._world.calm:
            raise RuntimeError("a bad moment")
        await default_handler(envelope, client, attempt)
        if draw >= 0.97 and not self._world.calm:
            # It has acted, and nobody knows.
            raise RuntimeError("a bad moment afterwards")
