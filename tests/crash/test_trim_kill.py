"""
A hub is killed while it trims the log of a channel: each record is there, or in the archive before
it is gone, once; and the channel goes on, and knows what was posted under which key.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import trio

from trio_hub import (
    DiskKnowledgeStore,
    Envelope,
    Hub,
    HubClient,
    InboxBlock,
    LimitsBlock,
    LocalLink,
    Passport,
    Rule,
)
from trio_hub.client import Turn
from trio_hub.hub import paths

from .hub_process import HubProcess
from .speaker import NOTE

_POSTS = 3_000
_KEPT = 100
_NO_LIMIT = Rule(limits=LimitsBlock(inbox=InboxBlock(max_pending=0)))


async def _none(_turn: Turn) -> None:
    """Never speak."""


class _Talk:
    """A long conversation, all of it settled."""

    def __init__(self) -> None:
        self.channel_id = self.alice = ""
        self.ids: list[str] = [""] * _POSTS

    async def begin(self, data: Path) -> None:
        async with Hub.open(DiskKnowledgeStore(data)) as hub, HubClient(LocalLink(hub)) as client:
            for name in ("alice", "bob"):
                await hub.register(Passport(name=name), rule=_NO_LIMIT)
            alice = await client.attach(_none, "alice")
            bob = await client.attach(_none, "bob")
            channel = await alice.open(type="conversation", target="bob", ttl=0)
            self.channel_id, self.alice = channel.channel_id, alice.agent_id
            limiter = trio.CapacityLimiter(200)

            async def post(number: int) -> None:
                async with limiter:
                    self.ids[number] = await hub.post_envelope(self.note(number))

            async with trio.open_nursery() as nursery:
                for number in range(_POSTS):
                    nursery.start_soon(post, number)
            with trio.fail_after(60):
                while hub.owed_to(bob.agent_id):
                    # Receipts have no answers; a request behind them on the connection has one.
                    await client.find_agent_id("bob")

    def note(self, number: int) -> Envelope:
        return Envelope(
            channel_id=self.channel_id,
            sender_id=self.alice,
            event_type=NOTE,
            event_data={"text": f"{number}" * 20},
            idempotency_key=str(number),
        )

    async def check(self, data: Path, archive: Path, rng: random.Random) -> int:
        """Look at what a killed hub has left; return where the log begins."""
        log = paths.channel_log(self.channel_id)
        async with DiskKnowledgeStore(data) as store:
            first, length = await store.first(log), await store.length(log)
            kept = [json.loads(record) for record in await store.read_range(log, first)]
        assert len(kept) == length - first
        file = archive / f"{self.channel_id}.trimmed.jsonl"
        whole = file.read_bytes().rpartition(b"\n")[0].splitlines() if file.exists() else []
        archived = [json.loads(line) for line in whole]
        positions = [it["position"] for it in archived]
        assert positions == list(range(len(positions)))
        assert len(positions) >= first, "what is in no archive was deleted"
        found = [it["envelope"] for it in archived[:first]] + kept
        notes = [it for it in found if it["event_type"] == NOTE]
        keys = {it["idempotency_key"]: it["envelope_id"] for it in notes}
        assert keys == {str(number): envelope_id for number, envelope_id in enumerate(self.ids)}
        async with Hub.open(DiskKnowledgeStore(data)) as hub:
            assert hub.health().problems == ()
            for number in rng.sample(range(_POSTS), 20):
                assert await hub.post_envelope(self.note(number)) == self.ids[number]
            assert hub.channels.get(self.channel_id).length == length
        return first


async def test_record_is_there_or_in_the_archive_wherever_the_hub_is_killed(
    tmp_path: Path, kills: int
) -> None:
    rng = random.Random(7)
    archive = tmp_path / "archive"
    wishes = ("--retain-records-max", str(_KEPT), "--archive", str(archive))
    hub, talk, first = HubProcess(tmp_path, rng, *wishes), _Talk(), 0
    try:
        await talk.begin(hub.data)
        for _ in range(kills):
            await hub.start()
            file = archive / f"{talk.channel_id}.trimmed.jsonl"
            await _grows(file, rng.randrange(1, 200_000))
            await trio.sleep(rng.random() * 0.01)
            await hub.kill()
            before, first = first, await talk.check(hub.data, archive, rng)
            assert first >= before
        assert first > 0
    finally:
        await hub.end()


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


async def _grows(file: Path, by: int) -> None:
    """Wait until a file has grown, or has all that will come into it."""
    wanted = _size(file) + by
    with trio.move_on_after(2):
        while _size(file) < wanted:  # noqa: ASYNC110  a file of another process tells nobody
            await trio.sleep(0.001)
