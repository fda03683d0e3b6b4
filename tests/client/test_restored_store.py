"""A hub whose store was restored from a backup, and clients that were there before."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from trio_hub import Hub, Passport
from trio_hub.client import (
    AgentClient,
    FunctionAgent,
    HubClient,
    IdentityChange,
    Reconnect,
    StateChange,
    Turn,
    default_handler,
)
from trio_hub.hub import paths
from trio_hub.protocol.backoff import Backoff
from trio_hub.records import EV_TEXT, Envelope
from trio_hub.testing.simulated_disk import SimulatedDisk
from trio_hub.testing.simulated_network import SimulatedNetwork

RECONNECT = Reconnect(backoff=Backoff(0.1, 1.0), wait_for_hub=True)


def client_of(network: SimulatedNetwork, machine: str) -> HubClient:
    return HubClient(network.link(machine), reconnect=RECONNECT)


async def run_hub(
    disk: SimulatedDisk,
    network: SimulatedNetwork,
    task_status: trio.TaskStatus[trio.CancelScope],
) -> None:
    with trio.CancelScope() as scope:
        async with Hub.open(disk.store()) as hub, network.serving(hub):
            task_status.started(scope)
            await trio.sleep_forever()


async def nothing(turn: Turn) -> None:
    return None


class Listener:
    """Remembers what it was given, and can be waited for."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._heard = trio.Event()

    async def handle(self, envelope: Envelope, client: AgentClient, attempt: int) -> None:
        await default_handler(envelope, client, attempt)
        if envelope.event_type == EV_TEXT:
            self.texts.append(envelope.event_data["text"])
            self._heard.set()
            self._heard = trio.Event()

    async def has_heard(self, *texts: str) -> None:
        while self.texts != list(texts):
            await self._heard.wait()


@pytest.mark.parametrize("comes_by", ["register", "attach"])
async def test_agent_is_told_and_handles_again_what_the_backup_owes_it(
    comes_by: str, autojump_clock: trio.testing.MockClock
) -> None:
    disk = SimulatedDisk(random.Random(0))
    network = SimulatedNetwork(random.Random(0))
    listener = Listener()
    changes: list[StateChange | IdentityChange] = []
    async with trio.open_nursery() as nursery:
        process = await nursery.start(run_hub, disk, network)
        async with client_of(network, "south") as south, client_of(network, "north") as north:
            bob = FunctionAgent("bob", nothing)
            if comes_by == "attach":
                async with HubClient(network.link("elsewhere")) as elsewhere:
                    await elsewhere.register(bob)
                await south.attach(bob, "bob", handler=listener.handle)
            else:
                await south.register(bob, handler=listener.handle)
            alice = await north.register(FunctionAgent("alice", nothing), Passport(name="alice"))
            channel = await alice.open(type="conversation", target="bob")
            await trio.sleep(5)  # The cursors so far are written.
            with trio.fail_after(5):
                await channel.send("kept")
                await listener.has_heard("kept")
                # It was acked, and the backup comes before the cursor.
                backup = disk.copy()
                await channel.send("lost")
                await listener.has_heard("kept", "lost")
            disk.cut_power()
            process.cancel()
            lost = disk.restore(backup)
            assert len(lost[paths.channel_log(channel.channel_id)]) == 1
            with south.observed_by(changes.append), trio.fail_after(30):
                await trio.testing.wait_all_tasks_blocked()
                await nursery.start(run_hub, disk, network)
                await listener.has_heard("kept", "lost", "kept")
                await channel.send("new")
                await listener.has_heard("kept", "lost", "kept", "new")
        nursery.cancel_scope.cancel()
    assert IdentityChange("bob", "position_lost") in changes
