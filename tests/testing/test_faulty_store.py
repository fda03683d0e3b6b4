"""`FaultyStore` is a store like any other until it is told to fail, and then fails as told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_hub.errors import StoreError
from trio_hub.stores import Append, MemoryKnowledgeStore
from trio_hub.testing.faulty_store import FaultyStore, Operation
from trio_hub.testing.trim_contract import TrimmingStoreContract


class TestFaultyStoreThatWasToldNothing(TrimmingStoreContract):
    def make_store(self, tmp_path: Path) -> FaultyStore:
        return FaultyStore(MemoryKnowledgeStore())


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryKnowledgeStore())


async def test_nth_commit_fails_once_and_nothing_of_it_is_kept(store: FaultyStore) -> None:
    async with store:
        store.fail("commit", nth=2, message="a bad sector")
        assert await store.append("/log", b"0") == 0
        with pytest.raises(StoreError, match="a bad sector"):
            await store.append("/log", b"lost")
        assert await store.append("/log", b"1") == 1
        assert await store.read_range("/log", 0) == [b"0", b"1"]


async def test_commit_that_fails_afterwards_was_kept(store: FaultyStore) -> None:
    async with store:
        store.fail("commit", after=True)
        with pytest.raises(StoreError):
            await store.append("/log", b"kept")
        assert await store.read_range("/log", 0) == [b"kept"]


async def test_every_way_to_change_something_is_a_commit(store: FaultyStore) -> None:
    async with store:
        await store.write("/d", b"x")
        await store.append("/log", b"x")
        await store.delete("/d")
        await store.commit([Append("/log", b"x")])
        assert store.operations == {"commit": 4}
        store.fail("commit")
        with pytest.raises(StoreError):
            await store.delete("/log")
        assert await store.exists("/log")


@pytest.mark.parametrize("after", [False, True])
async def test_reading_fails_when_told_and_then_goes_on(store: FaultyStore, after: bool) -> None:
    calls: dict[Operation, Callable[[], Awaitable[object]]] = {
        "read": lambda: store.read("/d"),
        "read_under": lambda: store.read_under("/"),
        "read_range": lambda: store.read_range("/log", 0),
        "length": lambda: store.length("/log"),
        "lengths_under": lambda: store.lengths_under("/"),
        "exists": lambda: store.exists("/d"),
        "list": lambda: store.list("/"),
    }
    async with store:
        for operation, call in calls.items():
            store.fail(operation, after=after)
            with pytest.raises(StoreError):
                await call()
            await call()
            assert store.operations[operation] == 2


async def test_two_faults_count_for_themselves(store: FaultyStore) -> None:
    async with store:
        store.fail("commit", nth=1, message="one")
        store.fail("commit", nth=1, message="two")
        store.fail("commit", nth=4, message="four")
        said = []
        for _ in range(5):
            try:
                await store.append("/log", b"x")
                said.append("kept")
            except StoreError as exc:
                said.append(str(exc))
        assert said == ["one", "two", "kept", "four", "kept"]


async def test_full_disk_fails_every_commit_until_it_is_healed(store: FaultyStore) -> None:
    async with store:
        await store.write("/d", b"before")
        store.fail_commits("the disk is full")
        for _ in range(3):
            with pytest.raises(StoreError, match="the disk is full"):
                await store.write("/d", b"after")
        assert await store.read("/d") == b"before"
        assert not store.health().ok
        assert store.health().problems == ("the disk is full",)
        store.heal()
        await store.write("/d", b"after")
        assert store.health().ok
        assert store.operations["commit"] == 5


async def test_healing_forgets_faults_that_have_not_come_yet(store: FaultyStore) -> None:
    async with store:
        store.fail("commit", nth=2)
        store.heal()
        for _ in range(3):
            await store.append("/log", b"x")


async def test_held_commits_go_on_in_the_order_in_which_they_came(store: FaultyStore) -> None:
    async with store, trio.open_nursery() as nursery:
        called: list[bytes] = []

        async def append(number: int) -> None:
            called.append(b"%d" % number)
            await store.append("/log", b"%d" % number)

        with store.hold_commits():
            for number in range(20):
                nursery.start_soon(append, number)
            await trio.testing.wait_all_tasks_blocked()
            assert store.commits_held == 20
            assert await store.length("/log") == 0
        await trio.testing.wait_all_tasks_blocked()
        assert store.commits_held == 0
        assert await store.read_range("/log", 0) == called


async def test_held_commit_that_is_cancelled_has_not_happened(store: FaultyStore) -> None:
    async with store, trio.open_nursery() as nursery:
        with store.hold_commits():
            with trio.move_on_after(0) as scope:
                await store.append("/log", b"cancelled")
            assert scope.cancelled_caught
            nursery.start_soon(store.append, "/log", b"kept")
            await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        assert await store.read_range("/log", 0) == [b"kept"]


async def test_fault_that_could_never_come_is_refused(store: FaultyStore) -> None:
    with pytest.raises(ValueError, match="'append' is none of commit"):
        store.fail("append")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="number 1"):
        store.fail("commit", nth=0)
    with store.hold_commits(), pytest.raises(RuntimeError, match="already"), store.hold_commits():
        pass
