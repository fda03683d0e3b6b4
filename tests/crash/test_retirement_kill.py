"""
A hub is killed while it archives and deletes channels: each of them is there, or whole in the
archive, and nothing of one is left behind when it is gone.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import trio

from trio_hub import DiskKnowledgeStore, FunctionAgent, HubClient, WsLink
from trio_hub.client import Turn
from trio_hub.hub import paths

from .hub_process import HubProcess

_CHANNELS = 60


async def _answer(turn: Turn) -> str:
    return f"re: {turn.text}"


async def _none(_turn: Turn) -> None:
    return None


async def _talk(hub: HubProcess) -> dict[str, int]:
    """Hold consults; return the ids of their channels with the lengths of their logs."""
    lengths = {}
    async with HubClient(WsLink(hub.url)) as client:
        await client.register(FunctionAgent("bob", _answer))
        alice = await client.register(FunctionAgent("alice", _none))
        for number in range(_CHANNELS):
            channel = await alice.open(type="consulting", target="bob")
            await channel.send(f"question {number}")
            await alice.wait_for_channel_event(
                channel_id=channel.channel_id,
                predicate=lambda it: it.event_type == "ag2.channel.closed",
                timeout=60,
            )
            lengths[channel.channel_id] = len(await client.read_wal(channel.channel_id))
        # Receipts have no answers; a request behind them on the same connection has one.
        await client.find_agent_id("bob")
    return lengths


async def test_channel_is_there_or_in_the_archive_wherever_the_hub_is_killed(
    tmp_path: Path, kills: int
) -> None:
    rng = random.Random(7)
    archive = tmp_path / "archive"
    hub = HubProcess(tmp_path, rng)
    try:
        await hub.start()
        lengths = await _talk(hub)
        # What a cursor behind its time owes would keep a channel.
        await hub.stop()
        retiring = HubProcess(tmp_path, rng, "--retain-ended", "0", "--archive", str(archive))
        hub = retiring
        for _ in range(kills):
            await hub.start()
            await _some_files_more(archive, rng.randrange(1, 8))
            await hub.kill()
            await _check(hub.data, archive, lengths)
    finally:
        await hub.end()


async def _some_files_more(archive: Path, count: int) -> None:
    """Wait until so many more channels are in the archive, or all are."""

    def archived() -> int:
        return (
            sum(name.endswith(".jsonl") for name in os.listdir(archive)) if archive.exists() else 0
        )

    wanted = min(archived() + count, _CHANNELS)
    with trio.fail_after(60):
        while archived() < wanted:  # noqa: ASYNC110  a file of another process tells nobody
            await trio.sleep(0.001)


async def _check(data: Path, archive: Path, lengths: dict[str, int]) -> None:
    async with DiskKnowledgeStore(data) as store:
        documents = await store.read_under(paths.CHANNELS)
        logs = await store.lengths_under(paths.CHANNELS)
        cursors = await store.read_under(paths.CURSORS)
    for channel_id, length in lengths.items():
        is_there = paths.channel_metadata(channel_id) in documents
        assert logs.get(paths.channel_log(channel_id), 0) == (length if is_there else 0)
        if not is_there:
            lines = (archive / f"{channel_id}.jsonl").read_text().splitlines()
            assert json.loads(lines[0])["metadata"]["channel_id"] == channel_id
            assert len(lines) == 1 + length
            assert not [path for path in cursors if channel_id in path]
