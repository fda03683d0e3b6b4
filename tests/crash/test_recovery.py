"""
One flipped byte on the disk, and what a hub makes of it.

The promises: the hub opens; its health names what is damaged; only the channel or the agent
that it belongs to suffers. The damage is put into the main file of a closed store, where
SQLite itself does not notice: the bytes of one record or document are other than were written.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from trio_hub import (
    EV_CHANNEL_EXPIRED,
    DiskKnowledgeStore,
    Envelope,
    Hub,
    HubHealth,
    HubLimits,
    LocalLink,
    NetworkError,
    NotFoundError,
    Passport,
    ProtocolError,
)
from trio_hub.client import AgentClient, HubClient
from trio_hub.hub import paths
from trio_hub.stores.disk import DATABASE_NAME

from .speaker import NOTE, Told

_HEARD_WITHIN_SECONDS = 30.0
_LIMITS = HubLimits(cursor_flush_seconds=0.01, snapshot_records=10)


@attrs.define(eq=False)
class World:
    """
    Two channels of alice, one with bob and one with carol, each with five notes.

    Bob and carol have heard and settled the first three of them.
    """

    data: Path
    agent_ids: dict[str, str] = attrs.field(factory=dict)
    channel_ids: dict[str, str] = attrs.field(factory=dict)
    told: dict[str, Told] = attrs.field(factory=dict)

    @asynccontextmanager
    async def open_hub(self) -> AsyncIterator[Hub]:
        """Open the hub."""
        async with Hub.open(DiskKnowledgeStore(self.data), limits=_LIMITS) as hub:
            yield hub

    async def begin(self) -> None:
        """Let it come about, and close it."""
        async with self.open_hub() as hub:
            for name in ("alice", "bob", "carol"):
                self.agent_ids[name] = (await hub.register(Passport(name=name))).agent_id or ""
            for name in ("bob", "carol"):
                metadata = await hub.create_channel(
                    creator_id=self.agent_ids["alice"],
                    manifest_type="conversation",
                    participants=[self.agent_ids[name]],
                    required_acks=0,
                    ttl=0,
                )
                self.channel_ids[name] = metadata.channel_id
                await self.post(hub, name, 0, 3)
                async with self.listener(hub, name) as told:
                    await heard(told, metadata.channel_id, 5)
                    # A round trip behind the receipts, so that they have all been taken.
                    await trio.testing.wait_all_tasks_blocked(0.05)
                await self.post(hub, name, 3, 5)

    async def post(self, hub: Hub, name: str, start: int, stop: int) -> None:
        """Let alice post notes to one of the two."""
        for number in range(start, stop):
            await hub.post_envelope(
                Envelope(
                    channel_id=self.channel_ids[name],
                    sender_id=self.agent_ids["alice"],
                    event_type=NOTE,
                    event_data={"text": f"note {number} to {name}"},
                    idempotency_key=f"{name}-{number}",
                )
            )

    @asynccontextmanager
    async def listener(self, hub: Hub, name: str) -> AsyncIterator[Told]:
        """Attach somebody who settles all that comes."""
        told = Told()

        async def hear(envelope: Envelope, _client: AgentClient, _attempt: int) -> None:
            told.hear(envelope.channel_id, envelope.text or envelope.event_type)

        async def ask(_turn: object) -> None:
            """Never speak."""

        async with HubClient(LocalLink(hub)) as client:
            await client.attach(ask, name, handler=hear)
            yield told

    async def check_unharmed(self, hub: Hub, name: str) -> None:
        """See that the channel with `name` is as it was: it is read, heard, and goes on."""
        channel_id = self.channel_ids[name]
        log = await hub.read_wal(channel_id)
        assert [one.text for one in log if one.event_type == NOTE] == notes(name, 0, 5)
        await self.post(hub, name, 4, 6)
        async with self.listener(hub, name) as told:
            # What was settled does not come again.
            await heard(told, channel_id, 3)
            assert list(told.heard[channel_id]) == notes(name, 3, 6)
        assert len(await hub.read_wal(channel_id)) == len(log) + 1


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """Return a world whose hub is closed."""
    world = World(tmp_path / "data")
    await world.begin()
    return world


def notes(name: str, start: int, stop: int) -> list[str]:
    """Return what alice says."""
    return [f"note {number} to {name}" for number in range(start, stop)]


async def heard(told: Told, channel_id: str, count: int) -> None:
    """Wait until so many envelopes of a channel have come."""
    with trio.fail_after(_HEARD_WITHIN_SECONDS):
        while len(told.heard.get(channel_id, {})) < count:
            await told.changes()


def flip(data: Path, *needles: bytes, at: int = 0) -> None:
    """Flip one bit where the needles stand, one after the other, exactly once in the store."""
    file = data / DATABASE_NAME
    content = bytearray(file.read_bytes())
    found = []
    start = content.find(needles[0])
    while start >= 0:
        stop = start
        for needle in needles[1:]:
            stop = content.find(needle, stop, stop + 600)
        if stop >= 0:
            found.append(stop)
        start = content.find(needles[0], start + 1)
    assert len(found) == 1, f"{needles} stand there {len(found)} times"
    content[found[0] + at] ^= 0x04
    file.write_bytes(bytes(content))


def all_problems(health: HubHealth) -> str:
    """Return everything that health complains of."""
    return "\n".join((*health.problems, *health.store.problems))


async def test_damaged_record_costs_its_channel_and_is_named(world: World) -> None:
    flip(world.data, b"note 1 to bob")
    bob = world.channel_ids["bob"]
    async with world.open_hub() as hub:
        texts = [one.text for one in await hub.read_wal(bob) if one.event_type == NOTE]
        assert texts == [note for note in notes("bob", 0, 5) if note != "note 1 to bob"]
        with pytest.raises(ProtocolError, match="damaged"):
            await world.post(hub, "bob", 5, 6)
        # What it owes can still be read, so it is delivered.
        async with world.listener(hub, "bob") as told:
            await heard(told, bob, 2)
            assert list(told.heard[bob]) == notes("bob", 3, 5)
        assert bob in all_problems(hub.health())
        await world.check_unharmed(hub, "carol")


async def test_damaged_record_that_is_owed_is_passed_over_and_what_follows_is_heard(
    world: World,
) -> None:
    flip(world.data, b"note 3 to bob")
    async with world.open_hub() as hub:
        async with world.listener(hub, "bob") as told:
            await heard(told, world.channel_ids["bob"], 1)
            assert list(told.heard[world.channel_ids["bob"]]) == ["note 4 to bob"]
        assert world.channel_ids["bob"] in all_problems(hub.health())
        await world.check_unharmed(hub, "carol")


async def test_damaged_metadata_costs_its_channel_and_is_named(world: World) -> None:
    bob = world.channel_ids["bob"]
    flip(world.data, paths.channel_metadata(bob).encode(), b'"manifest"', at=1)
    async with world.open_hub() as hub:
        assert bob in all_problems(hub.health())
        with pytest.raises(NetworkError):
            await world.post(hub, "bob", 5, 6)
        assert hub.find_channel(bob) is None
        await world.check_unharmed(hub, "carol")


async def test_damaged_passport_costs_its_agent_and_is_named(world: World) -> None:
    flip(world.data, paths.passport(world.agent_ids["bob"]).encode(), b'"owner"', at=1)
    async with world.open_hub() as hub:
        assert world.agent_ids["bob"] in all_problems(hub.health())
        with pytest.raises(NotFoundError):
            hub.get_agent(world.agent_ids["bob"])
        # What was said with it stays readable for the other.
        log = await hub.read_wal(world.channel_ids["bob"])
        assert [one.text for one in log if one.event_type == NOTE] == notes("bob", 0, 5)
        await world.check_unharmed(hub, "carol")


async def test_damaged_rule_opens_no_doors_and_is_named(world: World) -> None:
    flip(world.data, paths.rule(world.agent_ids["bob"]).encode(), b'"limits"', at=1)
    async with world.open_hub() as hub:
        assert world.agent_ids["bob"] in all_problems(hub.health())
        # What it forbade is not known, so the agent does not come back as one that may do anything.
        rule = hub.get_rule(world.agent_ids["bob"])
        assert rule.access.inbound_from == rule.access.outbound_to == ()
        assert rule.access.channel_types.initiate == rule.access.channel_types.accept == ()
        await world.check_unharmed(hub, "carol")


async def test_damaged_cursor_costs_a_redelivery_and_is_named(world: World) -> None:
    bob = world.channel_ids["bob"]
    flip(world.data, paths.cursor(world.agent_ids["bob"], bob).encode(), b'"settled"', at=1)
    async with world.open_hub() as hub:
        assert paths.cursor(world.agent_ids["bob"], bob) in all_problems(hub.health())
        async with world.listener(hub, "bob") as told:
            await heard(told, bob, 7)
            assert list(told.heard[bob])[-5:] == notes("bob", 0, 5)
        await world.check_unharmed(hub, "carol")


async def test_damaged_floor_of_ids_breaks_no_order_and_is_named(world: World) -> None:
    flip(world.data, paths.ID_FLOOR.encode(), b"0", at=0)
    # A clock that stands an hour earlier: only what is on the disk says which ids were given.
    store = DiskKnowledgeStore(world.data)
    async with Hub.open(store, clock=lambda: time.time() - 3600, limits=_LIMITS) as hub:
        assert paths.ID_FLOOR in all_problems(hub.health())
        await world.check_unharmed(hub, "carol")
        await world.check_unharmed(hub, "bob")
        for channel_id in world.channel_ids.values():
            ids = [one.envelope_id for one in await hub.read_wal(channel_id)]
            assert ids == sorted(set(ids))


async def test_log_that_is_gone_is_damage_not_emptiness(world: World) -> None:
    connection = sqlite3.connect(world.data / DATABASE_NAME)
    path = paths.channel_log(world.channel_ids["bob"])
    connection.execute(
        "DELETE FROM records WHERE place >> 32 = (SELECT log_id FROM logs WHERE path = ?)", (path,)
    )
    connection.execute("DELETE FROM logs WHERE path = ?", (path,))
    connection.commit()
    connection.close()
    async with world.open_hub() as hub:
        assert world.channel_ids["bob"] in all_problems(hub.health())
        with pytest.raises(ProtocolError, match="damaged"):
            await world.post(hub, "bob", 5, 6)
        await world.check_unharmed(hub, "carol")


def spoil_page(data: Path, needle: bytes) -> None:
    """Overwrite the page in which `needle` stands."""
    file = data / DATABASE_NAME
    content = bytearray(file.read_bytes())
    assert content.count(needle) == 1
    page = content.index(needle) // 4096
    content[page * 4096 : (page + 1) * 4096] = b"\xff" * 4096
    file.write_bytes(bytes(content))


async def test_log_whose_end_is_spoilt_costs_its_channel_and_holds_up_nobody(world: World) -> None:
    alice = world.agent_ids["alice"]
    async with world.open_hub() as hub:
        # Bob's channel is to end before carol's.
        for name, ttl in (("bob", 100), ("carol", 200)):
            metadata = await hub.create_channel(
                creator_id=alice,
                manifest_type="conversation",
                participants=[world.agent_ids[name]],
                required_acks=0,
                ttl=ttl,
            )
            world.channel_ids[f"short-lived {name}"] = metadata.channel_id
        for number in range(200):
            for name in ("bob", "carol"):
                await hub.post_envelope(
                    Envelope(
                        channel_id=world.channel_ids[f"short-lived {name}"],
                        sender_id=alice,
                        event_type=NOTE,
                        event_data={"text": f"<{name} {number}>" * 20},
                        idempotency_key=f"<{name} key {number}>",
                    )
                )
    spoil_page(world.data, b"<bob key 199>")
    bob = world.channel_ids["short-lived bob"]
    carol = world.channel_ids["short-lived carol"]
    async with world.open_hub() as hub:
        # Nobody is told to try again what can never be done.
        with pytest.raises(ProtocolError, match="damaged") as refused:
            await world.post(hub, "short-lived bob", 0, 1)
        assert not refused.value.retryable
        assert bob in all_problems(hub.health())
        # What stands before the damage is there, and is delivered.
        left = [one.text for one in await hub.read_wal(bob) if one.event_type == NOTE]
        assert left == [f"<bob {number}>" * 20 for number in range(len(left))]
        assert 100 < len(left) < 200
        async with world.listener(hub, "bob") as told:
            await heard(told, bob, len(left) + 2)
    store = DiskKnowledgeStore(world.data)
    # Both are overdue when it opens.
    async with Hub.open(store, clock=lambda: time.time() + 3600, limits=_LIMITS) as hub:
        assert bob in all_problems(hub.health())
        async with trio.open_nursery() as nursery:
            # Whatever comes of the damaged one, what is committed beside it is kept.
            nursery.start_soon(_try_to_close, hub, bob)
            for name in ("bob", "carol"):
                nursery.start_soon(world.post, hub, name, 5, 8)
        for name in ("bob", "carol"):
            assert len(await hub.read_wal(world.channel_ids[name])) >= 8
        assert hub.health().commits_failed == 0
        async with world.listener(hub, "carol") as told:
            with trio.fail_after(_HEARD_WITHIN_SECONDS):
                while EV_CHANNEL_EXPIRED not in told.heard.get(carol, {}):
                    await told.changes()
    async with world.open_hub() as hub:
        # Its end could be noted, though not be said in its log.
        assert hub.get_channel(bob).is_terminal
        assert hub.health().commits_failed == 0


async def _try_to_close(hub: Hub, channel_id: str) -> None:
    with contextlib.suppress(NetworkError):
        await hub.close_channel(channel_id)
