"""A hub that opens again finds everything that it had answered for, and sets aside what is damaged."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_hub import DiskKnowledgeStore, HubLimits, KnowledgeStore, MemoryKnowledgeStore, Passport
from trio_hub.errors import (
    AccessDeniedError,
    ConnectionLost,
    HubClosing,
    NotFoundError,
    ProtocolError,
    StoreError,
)
from trio_hub.hub import paths
from trio_hub.records import EV_TEXT
from trio_hub.testing import FaultyStore

from .peer import House, Peer, open_house

OpenStore = Callable[[], KnowledgeStore]


@pytest.fixture(params=["memory", "disk"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Open the same store again and again."""
    if request.param == "disk":
        return lambda: DiskKnowledgeStore(tmp_path / "data")
    store = MemoryKnowledgeStore()
    return lambda: store


async def _talk(house: House, **options: Any) -> tuple[Peer, Peer, str]:
    alice, bob = await house.join("alice"), await house.join("bob", acks=False, **options)
    channel_id = await alice.open("conversation", bob, ttl=0)
    bob.ack(await bob.hears(event_type="ag2.channel.opened"))
    return alice, bob, channel_id


async def test_everything_is_there_again(open_store: OpenStore) -> None:
    async with open_house(open_store()) as house:
        alice, bob, channel_id = await _talk(house)
        consult_id = await alice.open("consulting", bob)
        await alice.say(consult_id, "what?")
        await alice.say(channel_id, "a")
        before = await alice.request("list_channels")
        agents = await alice.request("list_agents")
        wal = await alice.request("read_wal", channel_id=channel_id)
        epoch = house.hub.epoch
    async with open_house(open_store()) as house:
        assert house.hub.epoch == epoch
        alice = await house.back("alice")
        assert await alice.request("list_agents") == agents
        assert await alice.request("list_channels") == before
        assert await alice.request("read_wal", channel_id=channel_id) == wal
        assert alice.id == agents[0]["agent_id"]
        bob = await house.back("bob")
        # The folded state is back: it is bob's turn, and nobody else's.
        with pytest.raises(ProtocolError, match="waits for the reply"):
            await alice.say(consult_id, "hello?")
        await bob.say(consult_id, "that.")
        await alice.hears("that.")
        assert house.hub.health().problems == ()


async def test_after_a_clean_close_nothing_acked_comes_again(open_store: OpenStore) -> None:
    async with open_house(open_store()) as house:
        alice, bob, channel_id = await _talk(house)
        for word in "abcd":
            await alice.say(channel_id, word)
        notifies = [await bob.hears(word) for word in "abcd"]
        for index in (0, 1, 3):
            bob.ack(notifies[index])
        await bob.quiet()
    async with open_house(open_store()) as house:
        bob = await house.back("bob")
        await bob.quiet()
        assert bob.heard() == ["c"]


async def test_a_cursor_that_could_not_be_written_is_written_later(
    autojump_clock: MockClock,
) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with open_house(store) as house:
        alice, bob, channel_id = await _talk(house)
        await alice.say(channel_id, "a")
        await trio.sleep(5)
        bob.ack(await bob.hears("a"))
        store.fail("commit")
        await trio.sleep(5)
        assert house.hub.health().commits_failed == 1
    async with open_house(store) as house:
        bob = await house.back("bob")
        await bob.quiet()
        assert bob.heard() == []


async def test_what_was_owed_is_delivered_by_the_next_hub(open_store: OpenStore) -> None:
    async with open_house(open_store()) as house:
        alice, bob, channel_id = await _talk(house)
        bob.cut()
        await bob.gone()
        for number in range(20):
            await alice.say(channel_id, str(number))
        await alice.request("close_channel", channel_id=channel_id)
    async with open_house(open_store()) as house:
        bob = await house.back("bob")
        await bob.hears(event_type="ag2.channel.closed")
        assert bob.heard() == [str(number) for number in range(20)]


async def test_a_turn_is_still_pending_after_a_restart(open_store: OpenStore) -> None:
    async with open_house(open_store()) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("consulting", bob)
        question = await alice.say(channel_id, "what?")
    async with open_house(open_store()) as house:
        bob = await house.back("bob", since=None)
        turns = await bob.request("pending_turns_for", agent_id=bob.id)
        assert [it["triggering_envelope_id"] for it in turns] == [question]


@pytest.mark.parametrize("step_seconds", [-86_400.0, -1.0, 0.0, 86_400.0])
async def test_ids_increase_across_a_restart_whatever_the_clock_does(step_seconds: float) -> None:
    store = MemoryKnowledgeStore()
    now = 1_767_225_600.0
    async with open_house(store, clock=lambda: now) as house:
        alice, _, channel_id = await _talk(house)
        before = [await alice.say(channel_id, str(number)) for number in range(3)]
    now += step_seconds
    async with open_house(store, clock=lambda: now) as house:
        alice = await house.back("alice")
        assert await alice.say(channel_id, "after") > max(before)


async def test_ids_increase_though_the_first_commit_of_their_floor_failed() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    now = 1_767_225_600.0
    async with open_house(store, clock=lambda: now) as house:
        alice, _, channel_id = await _talk(house)
        now += 10_000
        store.fail("commit")
        with pytest.raises(StoreError):
            await alice.say(channel_id, "lost")
        before = await alice.say(channel_id, "kept")
    now -= 5_000
    async with open_house(store, clock=lambda: now) as house:
        alice = await house.back("alice")
        assert await alice.say(channel_id, "after") > before


# Leaving


async def test_a_hub_that_closes_says_so_to_everybody(any_house: Any) -> None:
    async with any_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        await alice.open("conversation", bob)
        with trio.fail_after(10):
            await house.hub.drain()
        for peer in (alice, bob):
            error = next(
                it for it in [*peer.frames, await _told(peer)] if it.get("code") == "hub_closing"
            )
            assert "come back" in error["message"]
            assert "1012" in await peer.gone()
        with pytest.raises(HubClosing):
            await house.hub.register(Passport(name="carol"))


async def _told(peer: Peer) -> dict[str, Any]:
    await peer.gone()
    return next(it for it in peer.history if it["kind"] == "error")


async def test_what_was_accepted_is_written_before_the_hub_is_gone() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    channel_id = ""
    async with open_house(store) as house:
        alice, _, channel_id = await _talk(house)
        async with trio.open_nursery() as nursery:
            with store.hold_commits():
                alice.ask_to_say(channel_id, "last words")
                await alice.quiet()
                nursery.start_soon(house.hub.drain)
                await trio.testing.wait_all_tasks_blocked()
    async with store:
        records = await store.read_range(paths.channel_log(channel_id), 0)
    assert [json.loads(it)["event_data"].get("text") for it in records][-1] == "last words"


async def test_nobody_is_let_in_while_the_hub_closes() -> None:
    async with open_house() as house:
        await house.hub.drain()
        peer = await house.peer()
        assert "1012" in await peer.gone()
        with pytest.raises(ConnectionLost):
            await peer.request("list_agents")


# Damage

Spoil = Callable[[KnowledgeStore, str, str], Any]


async def _rewrite_log(
    store: KnowledgeStore, path: str, change: Callable[[list[bytes]], None]
) -> None:
    records = await store.read_range(path, 0)
    change(records)
    await store.delete(path)
    for record in records:
        await store.append(path, record)


async def _spoil_envelope(store: KnowledgeStore, channel_id: str, agent_id: str) -> None:
    def change(records: list[bytes]) -> None:
        records[3] = b'{"not": "an envelope"}'

    await _rewrite_log(store, paths.channel_log(channel_id), change)


async def _spoil_json(store: KnowledgeStore, channel_id: str, agent_id: str) -> None:
    def change(records: list[bytes]) -> None:
        records[3] = records[3][:-10]

    await _rewrite_log(store, paths.channel_log(channel_id), change)


async def _shorten_log(store: KnowledgeStore, channel_id: str, agent_id: str) -> None:
    await _rewrite_log(store, paths.channel_log(channel_id), lambda records: records.pop())


async def _spoil_metadata(store: KnowledgeStore, channel_id: str, agent_id: str) -> None:
    await store.write(paths.channel_metadata(channel_id), b'{"channel_id": 7}')


async def _foreign_creator(store: KnowledgeStore, channel_id: str, agent_id: str) -> None:
    path = paths.channel_metadata(channel_id)
    metadata = json.loads(await store.read(path) or b"")
    metadata["creator_id"] = "nobody"
    metadata["manifest"]["type"] = "discussion"
    await store.write(path, json.dumps(metadata).encode())


async def _unknown_adapter(store: KnowledgeStore, channel_id: str, agent_id: str) -> None:
    path = paths.channel_metadata(channel_id)
    metadata = json.loads(await store.read(path) or b"")
    metadata["manifest"]["type"] = "auction"
    metadata["expires_at"] = "2000-01-01T00:00:00+00:00"
    await store.write(path, json.dumps(metadata).encode())


async def _no_date(store: KnowledgeStore, channel_id: str, agent_id: str) -> None:
    path = paths.channel_metadata(channel_id)
    metadata = json.loads(await store.read(path) or b"")
    metadata["state"] = "pending"
    metadata["expires_at"] = "tomorrow"
    await store.write(path, json.dumps(metadata).encode())


async def _spoil_passport(store: KnowledgeStore, channel_id: str, agent_id: str) -> None:
    await store.write(paths.passport(agent_id), b"\xff\xfe")


async def _no_passport(store: KnowledgeStore, channel_id: str, agent_id: str) -> None:
    await store.delete(paths.passport(agent_id))


async def _spoil_rule(store: KnowledgeStore, channel_id: str, agent_id: str) -> None:
    await store.write(paths.rule(agent_id), b'{"limits": 3}')


async def _spoil_cursor(store: KnowledgeStore, channel_id: str, agent_id: str) -> None:
    await store.write(paths.cursor(agent_id, channel_id), b'{"cursor": "x"}')


async def _cursor_of_another_log(store: KnowledgeStore, channel_id: str, agent_id: str) -> None:
    await store.write(paths.cursor(agent_id, channel_id), b'{"cursor": 9999, "settled": []}')


async def _spoil_task(store: KnowledgeStore, channel_id: str, agent_id: str) -> None:
    await store.write(paths.task_metadata("t"), b"[]")


async def _spoil_floor(store: KnowledgeStore, channel_id: str, agent_id: str) -> None:
    await store.write(paths.ID_FLOOR, b"not hex")


async def _add_stray_documents(store: KnowledgeStore, channel_id: str, agent_id: str) -> None:
    await store.write("/agents/x/passport", b"{}")
    await store.write("/channels/y/metadata", b"{}")
    await store.write("/channels/z/unknown", b"?")
    await store.append("/channels/w/log", b"?")
    await store.write("/cursors/x/y", b"{}")


DAMAGES = [
    (_spoil_envelope, None),
    (_spoil_json, None),
    (_shorten_log, None),
    (_spoil_metadata, "channel"),
    (_foreign_creator, None),
    (_unknown_adapter, None),
    (_no_date, None),
    (_spoil_passport, "agent"),
    (_no_passport, "agent"),
    (_spoil_rule, "agent"),
    (_spoil_cursor, "cursor"),
    (_cursor_of_another_log, None),
    (_spoil_task, "task"),
    (_spoil_floor, "id floor"),
    (_add_stray_documents, "agent x"),
]


@pytest.mark.parametrize(
    ("spoil", "named"), DAMAGES, ids=[spoil.__name__.strip("_") for spoil, _ in DAMAGES]
)
async def test_one_damaged_thing_never_stops_a_hub_and_costs_at_most_its_own(
    spoil: Any, named: str | None, open_store: OpenStore
) -> None:
    async with open_house(open_store(), ttl_sweep_interval=0.05) as house:
        alice, bob, channel_id = await _talk(house)
        carol = await house.join("carol")
        other_id = await alice.open("conversation", carol)
        for word in "ab":
            await alice.say(channel_id, word)
        await alice.say(other_id, "c")
        await carol.hears("c")
        await carol.quiet()
        bob_id = bob.id
    store = open_store()
    async with store:
        await spoil(store, channel_id, bob_id)
    async with open_house(open_store(), ttl_sweep_interval=0.05) as house:
        problems = house.hub.health().problems
        if named is not None:
            assert any(named in it for it in problems), problems
        alice = await house.back("alice")
        carol = await house.back("carol")
        await alice.say(other_id, "goes on")
        await carol.hears("goes on")
        # Several looks of the caretaker later everybody still lives.
        await trio.sleep(0.2)
        await alice.open("conversation", carol)
        await alice.quiet()
        if spoil in (_spoil_envelope, _spoil_json):
            with pytest.raises(ProtocolError, match="damaged"):
                await alice.say(channel_id, "more")
            wal = await alice.request("read_wal", channel_id=channel_id)
            assert [it["event_data"]["text"] for it in wal if it["event_type"] == EV_TEXT] == ["b"]
            bob = await house.back("bob")
            await bob.hears("b")
        if spoil in (_spoil_cursor, _cursor_of_another_log):
            bob = await house.back("bob")
            for word in "ab":
                # A store's thread takes as long as it takes.
                await bob.hears(word)
            await bob.quiet()
            assert bob.heard() == ["a", "b"]
        if spoil is _spoil_metadata:
            with pytest.raises(AccessDeniedError):
                await alice.say(channel_id, "more")
        if spoil is _unknown_adapter:
            with pytest.raises(NotFoundError, match="auction"):
                await alice.say(channel_id, "more")


async def test_a_since_id_is_found_in_a_log_with_a_hole() -> None:
    store = MemoryKnowledgeStore()
    async with open_house(store, limits=HubLimits(page_records_max=3)) as house:
        alice, bob, channel_id = await _talk(house)
        posted = [await alice.say(channel_id, word) for word in "abcdef"]
        bob_id = bob.id
    async with store:
        await _spoil_envelope(store, channel_id, bob_id)
        await store.delete(paths.cursor(bob_id, channel_id))
    async with open_house(store, limits=HubLimits(page_records_max=3)) as house:
        bob = await house.back("bob", since=posted[4], acks=False)
        await bob.quiet()
        assert bob.heard() == ["f"]
        again = await house.back("bob", since="f" * 32)
        await again.quiet()
        assert again.heard() == ["f"]


@pytest.mark.parametrize("what", ["log", "metadata", "passport"])
async def test_bytes_that_rot_on_the_disk_cost_at_most_their_own(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with open_house(DiskKnowledgeStore(folder)) as house:
        alice, bob, channel_id = await _talk(house)
        carol = await house.join("carol")
        other_id = await alice.open("conversation", carol)
        for word in "ab":
            await alice.say(channel_id, word)
        bob_id = bob.id
    (database,) = [it for it in folder.iterdir() if it.suffix in (".db", ".sqlite", ".sqlite3")]
    with closing(sqlite3.connect(database)) as connection, connection:
        if what == "log":
            changed = connection.execute(
                "UPDATE records SET record = CAST('rot' || record AS BLOB)"
                """ WHERE instr(record, CAST('"text":"a"' AS BLOB))"""
            )
        else:
            path = paths.passport(bob_id) if what == "passport" else None
            path = path or paths.channel_metadata(channel_id)
            changed = connection.execute(
                "UPDATE documents SET data = CAST('rot' || data AS BLOB) WHERE path = ?", (path,)
            )
        assert changed.rowcount == 1
    async with open_house(DiskKnowledgeStore(folder)) as house:
        alice, carol = await house.back("alice"), await house.back("carol")
        await alice.say(other_id, "goes on")
        await carol.hears("goes on")
        if what == "log":
            bob = await house.back("bob")
            await bob.hears("b")
            with pytest.raises(ProtocolError, match="damaged"):
                await alice.say(channel_id, "more")
        health = house.hub.health()
        assert health.problems or health.store.problems
