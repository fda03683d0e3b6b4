"""`compact`, and the options of `serve` that it shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from trio_hub import DiskKnowledgeStore, FunctionAgent, Hub, HubClient, LocalLink
from trio_hub.client import Turn

from .program import run, running

# Every command is a process.
pytestmark = pytest.mark.slow


async def answer(turn: Turn) -> str:
    return "x" * 100_000


async def silence(_turn: Turn) -> None:
    return None


async def filled(data: Path, count: int) -> list[str]:
    """Hold some long consults in a data directory; return their channels' ids."""
    ids = []
    async with Hub.open(DiskKnowledgeStore(data)) as hub, HubClient(LocalLink(hub)) as client:
        await client.register(FunctionAgent("bob", answer))
        alice = await client.register(FunctionAgent("alice", silence))
        for _ in range(count):
            channel = await alice.open(type="consulting", target="bob")
            await channel.send("tell me")
            await alice.wait_for_channel_event(
                channel_id=channel.channel_id,
                predicate=lambda it: it.event_type == "ag2.channel.closed",
                timeout=20,
            )
            ids.append(channel.channel_id)
        # Receipts have no answers; a request behind them on the same connection has one.
        await client.find_agent_id("bob")
    return ids


async def test_what_ended_is_archived_and_the_disk_gets_its_space_back(tmp_path: Path) -> None:
    data, archive = tmp_path / "data", tmp_path / "archive"
    ids = await filled(data, 10)
    before = (data / "store.sqlite3").stat().st_size
    ended = await run("compact", "--data", data, "--retain-ended-max", "2", "--archive", archive)
    assert ended.status == 0, ended
    assert "8 channels taken out" in ended.stdout
    assert sorted(os.listdir(archive)) == sorted(f"{it}.jsonl" for it in ids[:8])
    assert (data / "store.sqlite3").stat().st_size < before / 2
    async with Hub.open(DiskKnowledgeStore(data)) as hub:
        assert {channel.channel_id for channel in hub.channels} == set(ids[8:])


async def test_logs_of_open_channels_are_trimmed(tmp_path: Path) -> None:
    data, archive = tmp_path / "data", tmp_path / "archive"
    async with Hub.open(DiskKnowledgeStore(data)) as hub, HubClient(LocalLink(hub)) as client:
        await client.register(FunctionAgent("bob", silence))
        alice = await client.register(FunctionAgent("alice", silence))
        channel = await alice.open(type="conversation", target="bob")
        for number in range(100):
            await channel.send(f"{number}" + "x" * 10_000)
        with trio.fail_after(30):
            while hub.owed_to(hub.find_agent_id("bob") or ""):
                await client.find_agent_id("bob")
    before = (data / "store.sqlite3").stat().st_size
    ended = await run("compact", "--data", data, "--retain-records-max", "10", "--archive", archive)
    assert ended.status == 0, ended
    assert "93 records of open channels taken out" in ended.stdout
    assert os.listdir(archive) == [f"{channel.channel_id}.trimmed.jsonl"]
    assert (data / "store.sqlite3").stat().st_size < before / 3
    async with Hub.open(DiskKnowledgeStore(data)) as hub:
        log = await hub.read_wal(channel.channel_id)
        assert [it.event_data["text"].rstrip("x") for it in log] == [str(n) for n in range(90, 100)]


async def test_without_a_wish_everything_stays(tmp_path: Path) -> None:
    ids = await filled(tmp_path / "data", 2)
    ended = await run("compact", "--data", tmp_path / "data")
    assert ended.status == 0, ended
    async with Hub.open(DiskKnowledgeStore(tmp_path / "data")) as hub:
        assert {channel.channel_id for channel in hub.channels} == set(ids)


async def test_what_cannot_be_done_is_one_line(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert "no data directory" in (await run("compact", "--data", tmp_path)).complaint
    async with running(tmp_path, "--data", data, "--port", "0"):
        assert "already open" in (await run("compact", "--data", data)).complaint
    ended = await run("compact", "--data", data, "--archive", tmp_path / "archive")
    assert "--archive has nothing to do" in ended.complaint
    ended = await run("serve", "--memory", "--retain-ended", "soon")
    assert "'soon' is no duration" in ended.complaint
