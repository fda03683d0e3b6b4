"""Channels that have ended go when it was wished, never before all is settled, and not half."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hub import (
    HubListener,
    KnowledgeStore,
    MemoryKnowledgeStore,
    Retention,
)
from trio_hub.errors import AccessDeniedError
from trio_hub.hub import paths
from trio_hub.testing import FaultyStore

from .peer import House, Peer, open_house

LONG = 4 * 3600.0


def by_trio_clock() -> float:
    """Wall time that goes with the virtual clock."""
    return 1_800_000_000.0 + trio.current_time()


class Gone(HubListener):
    """Hears of a channel that is kept no more."""

    def __init__(self) -> None:
        self.event = trio.Event()

    async def on_channel_event(
        self, channel_id: str, kind: str, payload: Mapping[str, Any]
    ) -> None:
        if kind == "retired":
            self.event.set()


class SlowToRead(MemoryKnowledgeStore):
    """Where `held` is an event, logs are read once that is set."""

    held: trio.Event | None = None

    async def read_range(self, path: str, start: int, stop: int | None = None) -> list[bytes]:
        if self.held is not None:
            await self.held.wait()
        return await super().read_range(path, start, stop)


@pytest.fixture
def clock(autojump_clock: MockClock) -> MockClock:
    return autojump_clock


def retiring_house(
    store: KnowledgeStore | None = None, **options: Any
) -> AbstractAsyncContextManager[House]:
    """Open a house on the virtual clock, where hours go by."""
    return open_house(store, **{"clock": by_trio_clock, "ttl_sweep_interval": 3600.0, **options})


async def consult(asker: Peer, answerer: Peer) -> str:
    """Ask and answer, which ends the channel; both have heard of its end, and have said so."""
    channel_id = await asker.open("consulting", answerer)
    await asker.say(channel_id, "what?")
    await answerer.hears("what?")
    await answerer.say(channel_id, "that")
    for peer in (asker, answerer):
        await peer.hears(event_type="ag2.channel.closed")
        await peer.quiet()
    return channel_id


async def ids_kept(house: House) -> set[str]:
    return {channel.channel_id for channel in house.hub.channels}


async def left_in(store: KnowledgeStore, channel_id: str) -> list[str]:
    async with store:
        kept = [
            *await store.read_under(paths.CHANNELS),
            *await store.lengths_under(paths.CHANNELS),
            *await store.read_under(paths.CURSORS),
        ]
    return [path for path in kept if channel_id in path]


async def test_channel_goes_when_its_time_is_over(clock: MockClock) -> None:
    store = MemoryKnowledgeStore()
    async with retiring_house(store, retention=Retention(ended_for="4h")) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await consult(alice, bob)
        talk = await alice.open("conversation", bob, ttl=0)
        await trio.sleep(LONG - 60)
        assert channel_id in await ids_kept(house)
        await trio.sleep(120)
        assert await ids_kept(house) == {talk}
        assert house.hub.health().channels_retired == 1
        for op in ("get_channel", "read_wal"):
            # What is no more and what one may not see are answered alike.
            with pytest.raises(AccessDeniedError):
                await alice.request(op, channel_id=channel_id)
    assert await left_in(store, channel_id) == []


async def test_channel_that_ended_before_a_restart_goes_too(clock: MockClock) -> None:
    store, gone = MemoryKnowledgeStore(), Gone()
    async with retiring_house(store) as house:
        channel_id = await consult(await house.join("alice"), await house.join("bob"))
    async with retiring_house(
        store,
        clock=lambda: by_trio_clock() + 2 * LONG,
        retention=Retention(ended_for="4h"),
        listeners=[gone],
    ):
        await gone.event.wait()
    assert await left_in(store, channel_id) == []


async def test_one_who_comes_back_while_a_channel_goes_is_welcome(clock: MockClock) -> None:
    """What it has processed of that channel is looked up, and is not there any more."""
    store, gone = SlowToRead(), Gone()
    async with retiring_house(
        store, retention=Retention(ended_for="3s"), listeners=[gone]
    ) as house:
        alice, bob = await house.join("alice", acks=False), await house.join("bob")
        ended = await consult(alice, bob)
        talk = await alice.open("conversation", bob, ttl=0)
        last = await bob.say(talk, "first")
        await alice.quiet()
        store.held = gone.event
        back = await house.peer()
        back.send("hello", name="alice", since_envelope_id={ended: "0" * 32, talk: last})
        await wait_all_tasks_blocked()  # Its place in what has ended is being looked up.
        for notify in alice.history:
            if notify["kind"] == "notify" and notify["envelope"]["channel_id"] == ended:
                alice.ack(notify)
        await back.expect("welcome")
        assert ended not in await ids_kept(house)
        await bob.say(talk, "second")
        await back.hears("second")
        assert back.heard() == ["second"]


async def test_what_is_owed_keeps_a_channel(clock: MockClock) -> None:
    async with retiring_house(retention=Retention(ended_for="1h")) as house:
        alice, bob = await house.join("alice", acks=False), await house.join("bob")
        channel_id = await consult(alice, bob)
        alice.cut()
        await trio.sleep(LONG)
        assert channel_id in await ids_kept(house)
        back = await house.back("alice")
        await back.hears("that")
        await back.hears(event_type="ag2.channel.closed")
        await trio.sleep(2 * 3600)
        assert await ids_kept(house) == set()


async def test_running_task_keeps_its_channel(clock: MockClock) -> None:
    async with retiring_house(retention=Retention(ended_for="1h")) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("consulting", bob)
        await bob.request(
            "observe_task",
            metadata={
                "task_id": "t",
                "owner_id": bob.id,
                "spec": {"title": "work"},
                "state": "running",
                "channel_id": channel_id,
            },
        )
        await alice.request("close_channel", channel_id=channel_id)
        await trio.sleep(LONG)
        assert channel_id in await ids_kept(house)
        await bob.request("update_task", task_id="t", state="completed")
        await trio.sleep(LONG)
        assert await ids_kept(house) == set()


async def test_the_youngest_are_kept(clock: MockClock) -> None:
    async with retiring_house(retention=Retention(ended_max=2)) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        ids = []
        for _ in range(4):
            ids.append(await consult(alice, bob))
            await trio.sleep(10)
        await trio.sleep(60)
        assert await ids_kept(house) == set(ids[2:])


async def test_archive_has_all_of_a_channel_before_it_goes(
    clock: MockClock, tmp_path: Path
) -> None:
    archive = tmp_path / "deep" / "archive"
    gone = Gone()
    async with retiring_house(
        retention=Retention(ended_for="1h"),
        archive=archive,
        listeners=[gone],
    ) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await consult(alice, bob)
        metadata = await alice.request("get_channel", channel_id=channel_id)
        log = await alice.request("read_wal", channel_id=channel_id)
        await gone.event.wait()
    assert os.listdir(archive) == [f"{channel_id}.jsonl"]
    text = (archive / f"{channel_id}.jsonl").read_text()
    first, *rest = (json.loads(line) for line in text.splitlines())
    assert first == {"metadata": metadata}
    assert rest == log


async def test_archive_that_cannot_be_written_keeps_the_channel(
    clock: MockClock, tmp_path: Path
) -> None:
    (tmp_path / "archive").write_text("a file stands in its way")
    async with retiring_house(
        retention=Retention(ended_for=0), archive=tmp_path / "archive"
    ) as house:
        alice = await house.join("alice")
        channel_id = await consult(alice, await house.join("bob"))
        await trio.sleep(LONG)
        assert channel_id in await ids_kept(house)
        assert await alice.request("read_wal", channel_id=channel_id)


async def test_store_that_fails_keeps_the_channel_until_it_works(clock: MockClock) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with retiring_house(store, retention=Retention(ended_for="1h")) as house:
        alice = await house.join("alice")
        channel_id = await consult(alice, await house.join("bob"))
        await trio.sleep(60)
        store.fail_commits()
        await trio.sleep(2 * 3600)
        assert channel_id in await ids_kept(house)
        store.heal()
        await trio.sleep(2 * 3600)
        assert await ids_kept(house) == set()


async def test_retirement_is_audited_and_told(clock: MockClock) -> None:
    async with retiring_house(retention=Retention(ended_for="1h")) as house:
        channel_id = await consult(await house.join("alice"), await house.join("bob"))
        await trio.sleep(2 * 3600)
        page = await house.hub.audit.query(kind="channel_retired")
        assert [(it.channel_id, it.details) for it in page.records] == [
            (channel_id, {"archived": False})
        ]


async def test_idle_hub_does_not_look(clock: MockClock) -> None:
    """What nothing is due for costs nothing: the queue is not asked, however long it takes."""
    async with retiring_house(retention=Retention(ended_for="9h")) as house:
        await consult(await house.join("alice"), await house.join("bob"))
        await trio.sleep(60)
        asked: list[float] = []
        ended: Any = house.hub._retirement._ended
        real = ended.due

        def due(now: float) -> Any:
            asked.append(now)
            return real(now)

        ended.due = due
        await trio.sleep(LONG)
        assert asked == []
