"""Tickets are settled in order and rightly, whichever way the store takes them."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_hub.errors import StoreError
from trio_hub.hub.committer import Committer
from trio_hub.stores import (
    Append,
    DiskKnowledgeStore,
    KnowledgeStore,
    MemoryKnowledgeStore,
    SubmittingStore,
)
from trio_hub.stores._connection import connect

OpenStore = Callable[[Path], KnowledgeStore]


@pytest.fixture(params=["commits", "submits"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> KnowledgeStore:
    """One that has nothing but `commit`, and one that takes tickets."""
    chosen = MemoryKnowledgeStore() if request.param == "commits" else DiskKnowledgeStore(tmp_path)
    assert isinstance(chosen, SubmittingStore) == (request.param == "submits")
    return chosen


@asynccontextmanager
async def running(store: KnowledgeStore) -> AsyncIterator[Committer]:
    """A committer at work on an open store."""
    async with store, trio.open_nursery() as nursery:
        committer = Committer(store)
        nursery.start_soon(committer.run)
        yield committer
        nursery.cancel_scope.cancel()


async def test_tickets_are_settled_in_the_order_of_their_submission(store: KnowledgeStore) -> None:
    async with running(store) as committer:
        order: list[int] = []
        tickets = [
            committer.submit([Append("/log", b"%d" % n)], partial(order.append, n))
            for n in range(20)
        ]
        assert committer.waiting == 20
        await tickets[-1].wait()
        assert order == list(range(20))
        assert await store.read_range("/log", 0) == [b"%d" % n for n in range(20)]
        await committer.flushed()
        assert committer.waiting == 0


async def test_caught_up_waits_for_what_was_before_it(store: KnowledgeStore) -> None:
    async with running(store) as committer:
        await committer.caught_up()
        committer.submit([Append("/log", b"x")])
        await committer.caught_up()
        assert await store.length("/log") == 1


async def test_leaving_settles_every_ticket(store: KnowledgeStore) -> None:
    async with running(store) as committer:
        tickets = [committer.submit([Append("/log", b"x")]) for _ in range(5)]
    assert all(ticket.done for ticket in tickets)
    kept = [ticket for ticket in tickets if ticket.error is None]
    async with store:
        assert await store.length("/log") == len(kept)


async def test_mistake_in_a_callback_ends_the_committer_and_nothing_else(tmp_path: Path) -> None:
    def mistake() -> None:
        raise KeyError("a mistake")

    async with DiskKnowledgeStore(tmp_path) as store:
        with pytest.RaisesGroup(KeyError):
            async with running(store) as committer:
                committer.submit([Append("/log", b"x")], mistake)
                await trio.sleep_forever()
        # The store has heard nothing of it.
        assert await store.append("/log", b"y") == 1


async def test_what_is_no_batch_is_refused_where_it_is_submitted(tmp_path: Path) -> None:
    async with running(DiskKnowledgeStore(tmp_path)) as committer:
        with pytest.raises(TypeError, match="must be bytes"):
            committer.submit([Append("/log", "text")])  # type: ignore[arg-type]
        assert committer.waiting == 0
        await committer.flushed()


async def test_one_refused_ticket_fails_alone(tmp_path: Path) -> None:
    async with running(DiskKnowledgeStore(tmp_path)) as committer:
        refused = committer.submit([Append("/log", b"x", 7)])
        kept = committer.submit([Append("/log", b"x", 0)])
        with pytest.raises(StoreError, match="is not next"):
            await refused.wait()
        await kept.wait()
        assert committer.failures == 1


async def test_disk_that_fails_fails_all_that_wait_and_is_tried_again(tmp_path: Path) -> None:
    full = False

    class Disk(sqlite3.Connection):
        def execute(self, sql: str, *args: object) -> sqlite3.Cursor:  # type: ignore[override]
            if full and sql.startswith(("COMMIT", "INSERT")):
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(sql, *args)  # type: ignore[arg-type]

    store = DiskKnowledgeStore(tmp_path, _connect=lambda path: connect(path, Disk))
    async with running(store) as committer:
        full = True
        failed: list[int] = []
        tickets = [
            committer.submit(
                [Append("/log", b"x")],
                on_failed=lambda _, n=n: failed.append(n),  # type: ignore[misc]
            )
            for n in range(3)
        ]
        for ticket in tickets:
            with pytest.raises(StoreError, match="is full"):
                await ticket.wait()
        assert failed == [0, 1, 2]
        full = False
        await committer.commit([Append("/log", b"x", 0)])
