"""
What an envelope costs a hub, in things that can be counted.

Timings depend on the mood of the machine; syncs, writes to sockets, task switches and bytes do
not. The hub runs in a thread with a Trio loop of its own, so that what is counted is the hub's
and nothing of its clients'. Where a count must go up, say why beside the new one.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from trio_hub import DiskKnowledgeStore, Hub, WsLink, serve_ws
from trio_hub.links._tcp import TcpStream
from trio_hub.stores import Change, Outcome
from trio_hub.stores._connection import connect
from trio_hub.wire.frames import Dialect

from .peer import Peer, connected

pytest.importorskip("websockets", reason="the counts are those of the faster transport")

POSTS = 40
# A text of 100 bytes, as in the benchmarks.
TEXT = "x" * 100

# What goes on besides the posts: cursors that are written behind once a second, timers, and the
# last request, which says that all receipts are in.
BESIDES = 6


class Loop(trio.abc.Instrument):
    """Counts what a Trio loop does."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._counts["steps"] += 1

    def before_io_wait(self, timeout: float) -> None:
        self._counts["turns"] += 1


class CountedHub:
    """
    A hub on a disk store and a real socket, and the counts of what it does.

    - `steps`: times that a task was run, `turns`: times that the loop looked for news.
    - `syncs`: transactions, `submits`: batches given to the store.
    - `writes`, `bytes`: what went out to sockets.
    """

    def __init__(self, directory: Path) -> None:
        self.counts: Counter[str] = Counter()
        self.thread = 0
        self._directory = directory
        self._ready = threading.Event()
        self._url = ""
        self._ending: Callable[[], None] | None = None

    def since(self, before: Counter[str]) -> Counter[str]:
        """Return what was counted since a copy of the counts was made."""
        counts = self.counts.copy()
        counts.subtract(before)
        return counts

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Run it for as long as the block lasts; yields its address."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, self._run)
            await trio.to_thread.run_sync(self._ready.wait, abandon_on_cancel=True)
            try:
                yield self._url
            finally:
                assert self._ending is not None
                self._ending()

    def _run(self) -> None:
        trio.run(self._serve, instruments=[Loop(self.counts)])

    async def _serve(self) -> None:
        token, ended = trio.lowlevel.current_trio_token(), trio.Event()
        self._ending = lambda: token.run_sync_soon(ended.set)
        async with (
            Hub.open(self._store()) as hub,
            serve_ws(hub, "127.0.0.1", 0, transport="websockets") as server,
        ):
            self._url = server.url
            self.thread = threading.get_ident()
            self._ready.set()
            await ended.wait()

    def _store(self) -> DiskKnowledgeStore:
        counts = self.counts

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
                if sql == "COMMIT" or (not self.in_transaction and sql.startswith("INSERT")):
                    counts["syncs"] += 1
                return super().execute(sql, *args)

        class Store(DiskKnowledgeStore):
            def submit(
                self,
                changes: Sequence[Change],
                settled: Callable[[Outcome], None],
                *,
                after: Callable[[], None],
            ) -> None:
                counts["submits"] += 1
                super().submit(changes, settled, after=after)

        return Store(self._directory, _connect=lambda path: connect(path, Connection))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CountedHub:
    counted = CountedHub(tmp_path)
    write = TcpStream._write

    def counting(self: TcpStream, data: bytes | memoryview) -> int:
        if threading.get_ident() == counted.thread:
            counted.counts["writes"] += 1
            counted.counts["bytes"] += len(data)
        return write(self, data)

    monkeypatch.setattr(TcpStream, "_write", counting)
    return counted


@asynccontextmanager
async def talking(url: str, listeners: int) -> AsyncIterator[tuple[Peer, list[Peer], str]]:
    """One who speaks and so many that listen, on a connection each, in one channel."""
    link = WsLink(url, dialects=[Dialect.PLAIN])
    async with trio.open_nursery() as nursery:

        async def come(name: str, *, task_status: trio.TaskStatus[Peer]) -> None:
            async with connected(link) as peer:
                await peer.register(name)
                task_status.started(peer)
                await trio.sleep_forever()

        speaker = await nursery.start(come, "speaker")
        others = [await nursery.start(come, f"listener-{n}") for n in range(listeners)]
        kind = "conversation" if listeners == 1 else "discussion"
        channel_id = await speaker.open(kind, *others)
        yield speaker, others, channel_id
        nursery.cancel_scope.cancel()


async def count_awaited_posts(hub: CountedHub, listeners: int) -> Counter[str]:
    """Count what `POSTS` posts cost, one after another, each answered and acked by all."""
    async with hub.running() as url, talking(url, listeners) as (speaker, others, channel_id):
        for peer in (speaker, *others):
            await peer.quiet()
        before = hub.counts.copy()
        for _ in range(POSTS):
            await speaker.say(channel_id, TEXT, event_type="counted.note")
        for other in others:
            for _ in range(POSTS):
                await other.hears(event_type="counted.note")
            await other.request("find_agent_id", name="speaker")
        return hub.since(before)


async def test_an_awaited_post_costs_one_sync_two_writes_and_three_steps(hub: CountedHub) -> None:
    counts = await count_awaited_posts(hub, listeners=1)
    assert POSTS <= counts["syncs"] <= POSTS + BESIDES
    assert POSTS <= counts["submits"] <= POSTS + BESIDES
    # The answer, and the notification.
    assert 2 * POSTS <= counts["writes"] <= 2 * POSTS + BESIDES
    # The request read, the commit settled, the receipt read: no writer, no dispatcher.
    assert counts["steps"] <= 3 * POSTS + 3 * BESIDES
    assert counts["turns"] <= 4 * POSTS + 3 * BESIDES
    # Some 95 for the answer, some 560 for a notification around a text of 100.
    assert counts["bytes"] <= 665 * POSTS + 1000


async def test_a_delivery_to_one_more_costs_one_write_and_one_step(hub: CountedHub) -> None:
    counts = await count_awaited_posts(hub, listeners=8)
    assert POSTS <= counts["syncs"] <= POSTS + BESIDES
    assert counts["writes"] <= 9 * POSTS + 2 * BESIDES
    # Two for the post, and one for each receipt.
    assert counts["steps"] <= (2 + 8) * POSTS + 8 * BESIDES


async def test_posts_that_come_together_share_syncs(hub: CountedHub) -> None:
    async with hub.running() as url, talking(url, 1) as (speaker, (other,), channel_id):
        await other.quiet()
        before = hub.counts.copy()
        requests = [
            speaker.ask_to_say(channel_id, TEXT, event_type="counted.note") for _ in range(POSTS)
        ]
        for request in requests:
            await speaker.answer(request)
        for _ in range(POSTS):
            await other.hears(event_type="counted.note")
        counts = hub.since(before)
    # They are pushed at once, and are one group or a few, as the network cuts them.
    assert counts["syncs"] <= POSTS // 4 + BESIDES
    assert counts["submits"] <= POSTS + BESIDES
    assert counts["writes"] <= POSTS // 2 + BESIDES
