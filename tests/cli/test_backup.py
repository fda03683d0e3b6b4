"""`backup` and `restore` beside a hub that serves."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from trio_hub import FunctionAgent, HubClient, WsLink
from trio_hub.client import Turn
from trio_hub.records import EV_TEXT

from .program import PATIENCE_SECONDS, run, running

# Every command is a process.
pytestmark = pytest.mark.slow


async def silence(_turn: Turn) -> None:
    return None


async def test_backup_of_a_busy_hub_has_every_post_that_was_answered_before(tmp_path: Path) -> None:
    data, backup, again = tmp_path / "data", tmp_path / "backup", tmp_path / "again"
    answered: list[str] = []
    enough = trio.Event()
    async with (
        running(tmp_path, "--data", data, "--port", "0") as hub,
        HubClient(WsLink(hub.url)) as client,
        trio.open_nursery() as nursery,
    ):
        await client.register(FunctionAgent("bob", silence))
        alice = await client.register(FunctionAgent("alice", silence))
        channel = await alice.open(type="conversation", target="bob")

        async def speak() -> None:
            while True:
                answered.append(await channel.send(f"number {len(answered)}"))
                if len(answered) == 50:
                    enough.set()

        nursery.start_soon(speak)
        with trio.fail_after(PATIENCE_SECONDS):
            await enough.wait()
        before = list(answered)
        ended = await run("backup", backup, "--data", data)
        assert ended.status == 0, ended
        assert "checked and on disk" in ended.stdout
        nursery.cancel_scope.cancel()
    ended = await run("restore", backup, "--data", again)
    assert ended.status == 0, ended
    async with (
        running(tmp_path, "--data", again, "--port", "0") as hub,
        HubClient(WsLink(hub.url)) as client,
    ):
        alice = await client.attach(silence, "alice")
        log = await client.read_wal(channel.channel_id)
        said = [it.envelope_id for it in log if it.event_type == EV_TEXT]
        assert said[: len(before)] == before
        # What came later is there up to some moment, without a hole.
        assert said == answered[: len(said)]


async def test_what_cannot_be_done_is_one_line(tmp_path: Path) -> None:
    ended = await run("backup", tmp_path / "backup", "--data", tmp_path / "nothing")
    assert "holds no store" in ended.complaint
    ended = await run("restore", tmp_path / "backup", "--data", tmp_path / "data")
    assert "is no file" in ended.complaint
