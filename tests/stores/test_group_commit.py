"""Batches that wait together share one transaction, and fail, or are cancelled, each rightly."""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from trio_hub.errors import StoreError
from trio_hub.stores import Append, Change, DiskKnowledgeStore, Outcome, Put
from trio_hub.stores._connection import connect
from trio_hub.stores._group_commit import GROUP_CHANGES_MAX, GroupCommit
from trio_hub.stores._thread_bell import ThreadBell, open_bell

_CHANGES = ("INSERT", "UPDATE", "DELETE")


class Faults:
    """
    Stands between a store and SQLite: counts commits, holds them back, makes them fail.

    `before_commit` runs in the writer's thread in place of nothing; what it raises is what SQLite
    would have raised. `after_commit` makes a commit that happened look as if it had not.
    """

    def __init__(self) -> None:
        self.commits = 0
        self.connections = 0
        self.before_commit: Callable[[], None] = lambda: None
        self.entered = threading.Event()
        self.after_commit: Callable[[], None] = lambda: None

    def connect(self, path: Path) -> sqlite3.Connection:
        self.connections += 1
        faults = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
                # A change outside of a transaction is one by itself.
                if sql != "COMMIT" and (self.in_transaction or not sql.startswith(_CHANGES)):
                    return super().execute(sql, *args)
                faults.before_commit()
                cursor = super().execute(sql, *args)
                faults.commits += 1
                faults.after_commit()
                return cursor

        return connect(path, Connection)

    def hold(self) -> threading.Event:
        """Make the next commits wait in their thread until the event is set."""
        release = threading.Event()
        self.entered.clear()

        def wait() -> None:
            self.entered.set()
            assert release.wait(30)

        self.before_commit = wait
        return release


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def store(tmp_path: Path, faults: Faults) -> DiskKnowledgeStore:
    return DiskKnowledgeStore(tmp_path, _connect=faults.connect)


def _full() -> None:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise error


def _io_error() -> None:
    raise OSError(errno.EIO, "Input/output error")


async def test_fifty_concurrent_appends_take_two_transactions_at_most(
    store: DiskKnowledgeStore, faults: Faults
) -> None:
    async with store:
        before = faults.commits
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(store.append, f"/log/{number % 4}", b"x")
        assert sum((await store.lengths_under("/log")).values()) == 50
        assert faults.commits - before <= 2


async def test_what_comes_during_a_commit_shares_the_next_one(
    store: DiskKnowledgeStore, faults: Faults
) -> None:
    async with store:
        release = faults.hold()
        before = faults.commits
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.append, "/log", b"first")
            await trio.to_thread.run_sync(faults.entered.wait)
            for _ in range(30):
                nursery.start_soon(store.append, "/log", b"later")
            await trio.testing.wait_all_tasks_blocked()
            release.set()
        assert faults.commits - before == 2
        assert await store.length("/log") == 31


async def test_one_transaction_takes_no_more_changes_than_the_limit() -> None:
    groups: list[list[int]] = []
    entered, release = threading.Event(), threading.Event()

    def write(batches: list[Sequence[Change]]) -> list[Outcome]:
        entered.set()
        assert release.wait(10)
        groups.append([len(changes) for changes in batches])
        return [() for _ in batches]

    commits = GroupCommit(write, on_kept=lambda kept: None, on_failed=lambda error: None)
    change = Append("/log", b"x")
    async with trio.open_nursery() as nursery:
        for changes in (1, GROUP_CHANGES_MAX - 1, 1, 1, GROUP_CHANGES_MAX + 1, 1):
            nursery.start_soon(commits.commit, [change] * changes)
            await trio.to_thread.run_sync(entered.wait)
            await trio.testing.wait_all_tasks_blocked()
        release.set()
        await commits.stop()
    assert groups == [[1], [GROUP_CHANGES_MAX - 1, 1], [1], [GROUP_CHANGES_MAX + 1], [1]]


async def test_reading_does_not_wait_for_a_commit(
    store: DiskKnowledgeStore, faults: Faults
) -> None:
    async with store:
        await store.append("/log", b"durable")
        release = faults.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.append, "/log", b"under way")
            await trio.testing.wait_all_tasks_blocked()
            assert await store.read_range("/log", 0) == [b"durable"]
            release.set()


async def test_batch_under_way_is_carried_through_when_its_caller_is_cancelled(
    store: DiskKnowledgeStore, faults: Faults
) -> None:
    async with store:
        release_first = faults.hold()
        first_done = trio.Event()
        positions: list[int] = []

        async def append_first() -> None:
            await store.append("/log", b"first")
            first_done.set()

        async def append(scope: trio.CancelScope) -> None:
            with scope:
                # Returns although cancelled: the caller must know that it happened.
                positions.append(await store.append("/log", b"x"))

        leader, follower, waiter = (trio.CancelScope() for _ in range(3))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(append_first)
            await trio.to_thread.run_sync(faults.entered.wait)
            # These two wait together, so they will share the next group.
            release = faults.hold()
            nursery.start_soon(append, leader)
            nursery.start_soon(append, follower)
            await trio.testing.wait_all_tasks_blocked()
            release_first.set()
            await first_done.wait()
            await trio.to_thread.run_sync(faults.entered.wait)
            nursery.start_soon(append, waiter)
            await trio.testing.wait_all_tasks_blocked()
            for scope in (leader, follower, waiter):
                scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert positions == []
            release.set()
        assert sorted(positions) == [1, 2]
        assert waiter.cancelled_caught
        assert not leader.cancelled_caught
        assert not follower.cancelled_caught
        assert await store.length("/log") == 3


async def test_batch_withdrawn_as_others_wait_costs_them_nothing(
    store: DiskKnowledgeStore, faults: Faults
) -> None:
    async with store:
        release = faults.hold()
        scope = trio.CancelScope()

        async def withdrawn() -> None:
            with scope:
                await store.append("/log", b"withdrawn")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.append, "/log", b"first")
            await trio.to_thread.run_sync(faults.entered.wait)
            nursery.start_soon(withdrawn)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(store.append, "/log", b"last")
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert scope.cancelled_caught
            release.set()
        assert await store.read_range("/log", 0) == [b"first", b"last"]


async def test_submitted_batches_are_settled_in_order_with_those_that_are_waited_for(
    store: DiskKnowledgeStore, faults: Faults
) -> None:
    async with store:
        release = faults.hold()
        settled: list[object] = []
        turns: list[int] = []

        def after() -> None:
            turns.append(len(settled))

        def submit(*changes: Change) -> None:
            store.submit(changes, settled.append, after=after)

        async with trio.open_nursery() as nursery:
            submit(Append("/log", b"a"), Append("/log", b"b"))
            await trio.to_thread.run_sync(faults.entered.wait)
            nursery.start_soon(store.append, "/log", b"c")
            await trio.testing.wait_all_tasks_blocked()
            submit(Append("/log", b"no", 0))
            submit()
            submit(Append("/log", b"d"))
            assert settled == []
            release.set()
        refused = settled.pop(1)
        assert isinstance(refused, StoreError)
        assert settled == [(0, 1), (), (3,)]
        # Once for the first alone, and once for the three that were settled together.
        assert turns == [1, 4]
        assert await store.read_range("/log", 0) == [b"a", b"b", b"c", b"d"]


async def test_what_is_submitted_in_one_turn_of_the_loop_shares_one_transaction(
    store: DiskKnowledgeStore, faults: Faults
) -> None:
    async with store:
        before = faults.commits
        done = trio.Event()
        for _ in range(20):
            store.submit([Append("/log", b"x")], lambda _: None, after=done.set)
        await done.wait()
        assert faults.commits == before + 1
        assert await store.length("/log") == 20


async def test_what_is_submitted_when_a_failure_is_heard_of_is_tried(
    store: DiskKnowledgeStore, faults: Faults
) -> None:
    async with store:
        faults.before_commit = _full
        done = trio.Event()
        heard: list[object] = []

        def again(outcome: object) -> None:
            heard.append(outcome)
            faults.before_commit = lambda: None
            store.submit([Append("/log", b"x")], finished, after=lambda: None)

        def finished(outcome: object) -> None:
            heard.append(outcome)
            done.set()

        store.submit([Append("/log", b"x")], again, after=lambda: None)
        await done.wait()
        assert isinstance(heard[0], StoreError)
        assert heard[1] == (0,)


async def test_writer_that_breaks_fails_its_group_and_the_next_one_is_written() -> None:
    broken = True

    def write(batches: list[Sequence[Change]]) -> list[Outcome]:
        if broken:
            raise KeyError("a mistake")
        return [() for _ in batches]

    commits = GroupCommit(write, on_kept=lambda kept: None, on_failed=lambda error: None)
    with pytest.raises(StoreError, match="a mistake"):
        await commits.commit([])
    broken = False
    await commits.commit([])
    await commits.stop()


@pytest.mark.parametrize("new_bell", [open_bell, lambda: None], ids=["bell", "trio's way"])
async def test_whatever_the_thread_calls_with_batches_are_settled_in_order_or_fail(
    new_bell: Callable[[], ThreadBell | None],
) -> None:
    def write(batches: list[Sequence[Change]]) -> list[Outcome]:
        if not batches[0]:
            raise StoreError("the disk is on fire")
        return [(len(changes),) for changes in batches]

    failures: list[StoreError] = []
    commits = GroupCommit(
        write,
        on_kept=lambda kept: None,
        on_failed=failures.append,
        new_bell=new_bell,
    )
    change = Append("/log", b"x")
    for size in range(1, 30):
        assert await commits.commit([change] * size) == (size,)
        with pytest.raises(StoreError, match="fire"):
            await commits.commit([])
    assert len(failures) == 29
    await commits.stop()


def test_store_is_closed_with_all_that_was_under_way_while_trio_is_on_its_way_to_a_crash(
    tmp_path: Path, faults: Faults
) -> None:
    positions: list[int] = []

    async def crash() -> None:
        await trio.to_thread.run_sync(faults.entered.wait)
        raise KeyError("not ours")

    async def release_when_cancelled(release: threading.Event) -> None:
        try:
            await trio.sleep_forever()
        finally:
            # Every other system task is being cancelled in the same turn of the loop.
            release.set()

    async def main() -> None:
        async with DiskKnowledgeStore(tmp_path, _connect=faults.connect) as store:
            trio.lowlevel.spawn_system_task(release_when_cancelled, faults.hold())
            trio.lowlevel.spawn_system_task(crash)
            positions.append(await store.append("/log", b"x"))
            await store.append("/log", b"never tried")

    def run() -> None:
        with pytest.raises(trio.TrioInternalError):
            trio.run(main)
        crashed.set()

    crashed = threading.Event()
    threading.Thread(target=run, daemon=True).start()
    assert crashed.wait(60)
    assert positions == [0]

    async def look() -> None:
        async with DiskKnowledgeStore(tmp_path) as store:
            assert await store.read_range("/log", 0) == [b"x"]

    trio.run(look)


@pytest.mark.parametrize("fault", [_full, _io_error])
async def test_failed_commit_fails_its_group_and_all_that_wait_and_then_it_goes_on(
    store: DiskKnowledgeStore, faults: Faults, fault: Callable[[], None]
) -> None:
    async with store:
        await store.append("/log", b"kept")
        release = threading.Event()
        failures: list[StoreError] = []

        def wait_and_fail() -> None:
            faults.entered.set()
            assert release.wait(10)
            fault()

        faults.before_commit = wait_and_fail
        connections = faults.connections

        async def append(record: bytes) -> None:
            with pytest.raises(StoreError) as caught:
                await store.append("/log", record)
            failures.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(append, b"in the group")
            await trio.to_thread.run_sync(faults.entered.wait)
            for _ in range(5):
                nursery.start_soon(append, b"waits")
            await trio.testing.wait_all_tasks_blocked()
            release.set()
        assert len(failures) == len({id(failure) for failure in failures}) == 6
        assert all(failure.retryable for failure in failures)
        health = store.health()
        assert not health.ok
        assert len(health.problems) == 1

        faults.before_commit = lambda: None
        assert await store.append("/log", b"next") == 1
        # What failed was rolled back with its connection.
        assert faults.connections == connections + 1
        assert await store.read_range("/log", 0) == [b"kept", b"next"]
        assert store.health().ok
        assert store.health().problems == health.problems


async def test_after_a_failed_commit_the_disk_is_believed_and_not_memory(
    store: DiskKnowledgeStore, faults: Faults
) -> None:
    # The commit happened, and then the answer was lost: the outcome that is called unknown.
    async with store:
        faults.after_commit = _io_error
        with pytest.raises(StoreError):
            await store.append("/log", b"kept after all")
        faults.after_commit = lambda: None
        with pytest.raises(StoreError, match="has 1 records"):
            await store.commit([Append("/log", b"again", 0)])
        assert await store.read_range("/log", 0) == [b"kept after all"]


async def test_store_that_cannot_reopen_its_database_fails_until_it_can(
    tmp_path: Path, faults: Faults
) -> None:
    refuse = False

    def connect_or_not(path: Path) -> sqlite3.Connection:
        if refuse:
            raise sqlite3.OperationalError("unable to open database file")
        return faults.connect(path)

    async with DiskKnowledgeStore(tmp_path, _connect=connect_or_not) as store:
        faults.before_commit = _io_error
        refuse = True
        for _ in range(2):
            with pytest.raises(StoreError):
                await store.write("/d", b"x")
        refuse = False
        faults.before_commit = lambda: None
        await store.write("/d", b"x")
        assert await store.read("/d") == b"x"


async def test_failed_change_is_not_heard_of(store: DiskKnowledgeStore, faults: Faults) -> None:
    async with store, store.on_change("/") as paths:
        faults.before_commit = _full
        with pytest.raises(StoreError, match="make room"):
            await store.write("/lost", b"x")
        faults.before_commit = lambda: None
        await store.write("/kept", b"x")
        assert await paths.receive() == "/kept"


async def test_new_logs_and_deleted_ones_in_one_group_do_not_mix(
    store: DiskKnowledgeStore, faults: Faults
) -> None:
    async with store:
        await store.append("/a", b"old")
        release = faults.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.append, "/holds/the/line", b"x")
            await trio.to_thread.run_sync(faults.entered.wait)
            for commit in (
                partial(store.append, "/a", b"old too"),
                partial(store.delete, "/a"),
                partial(store.append, "/b", b"new"),
                partial(store.append, "/a", b"new"),
                partial(store.commit, [Append("/b", b"wrong", 9), Put("/d", b"x")]),
                partial(store.append, "/b", b"newer"),
            ):
                nursery.start_soon(_ignore_refusal, commit)
                await trio.testing.wait_all_tasks_blocked()
            release.set()
        assert await store.read_range("/a", 0) == [b"new"]
        assert await store.read_range("/b", 0) == [b"new", b"newer"]
        assert not await store.exists("/d")


async def _ignore_refusal(commit: Callable[[], Any]) -> None:
    try:
        await commit()
    except StoreError as exc:
        assert "is not next" in str(exc)  # noqa: PT017 - only one of the callers gets it
