"""What was answered for survives a power cut; what was under way survives whole or not at all."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_hub.errors import StoreError
from trio_hub.stores import Append, Put, Trim
from trio_hub.stores.base import Change
from trio_hub.testing.simulated_disk import MachineStore, SimulatedDisk
from trio_hub.testing.trim_contract import TrimmingStoreContract


class TestStoreOfAMachineThatKeepsItsPower(TrimmingStoreContract):
    def make_store(self, tmp_path: Path) -> MachineStore:
        return SimulatedDisk(random.Random(0), commit_seconds=(0.0, 0.001)).store()


async def test_what_was_answered_for_survives(autojump_clock: trio.testing.MockClock) -> None:
    disk = SimulatedDisk(random.Random(0))
    async with disk.store() as store:
        await store.append("/log", b"kept")
        disk.cut_power()
        with pytest.raises(StoreError, match="power"):
            await store.append("/log", b"too late")
    async with disk.store() as store:
        assert await store.read_range("/log", 0) == [b"kept"]
        assert await store.append("/log", b"next") == 1


@pytest.mark.parametrize("seed", range(20))
async def test_commit_under_way_survives_whole_or_not_at_all(
    autojump_clock: trio.testing.MockClock, seed: int
) -> None:
    durable: list[Sequence[Change]] = []
    disk = SimulatedDisk(random.Random(seed), on_durable=durable.append)
    store = disk.store()
    failed: list[str] = []

    async def commit(name: str) -> None:
        try:
            await store.commit([Append("/log", name.encode()), Put(f"/{name}", b"")])
        except StoreError:
            failed.append(name)

    async with store, trio.open_nursery() as nursery:
        nursery.start_soon(commit, "first")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(commit, "second")
        await trio.testing.wait_all_tasks_blocked()
        disk.cut_power()
    assert failed == ["first", "second"]
    async with disk.store() as again:
        kept = await again.read_range("/log", 0)
        assert kept in ([], [b"first"])
        assert await again.exists("/first") == bool(kept)
        assert not await again.exists("/second")
        assert len(durable) == len(kept)


async def test_both_fates_happen(autojump_clock: trio.testing.MockClock) -> None:
    fates = set()
    for seed in range(20):
        disk = SimulatedDisk(random.Random(seed))
        async with disk.store() as store, trio.open_nursery() as nursery:

            async def commit(store: MachineStore = store) -> None:
                with pytest.raises(StoreError):
                    await store.append("/log", b"x")

            nursery.start_soon(commit)
            await trio.testing.wait_all_tasks_blocked()
            disk.cut_power()
        async with disk.store() as store:
            fates.add(await store.length("/log"))
    assert fates == {0, 1}


async def test_commit_under_way_that_breaks_a_rule_leaves_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for seed in range(10):
        disk = SimulatedDisk(random.Random(seed))
        async with disk.store() as store, trio.open_nursery() as nursery:

            async def commit(store: MachineStore = store) -> None:
                with pytest.raises(StoreError):
                    await store.commit([Put("/d", b"x"), Append("/log", b"x", 7)])

            nursery.start_soon(commit)
            await trio.testing.wait_all_tasks_blocked()
            disk.cut_power()
        async with disk.store() as store:
            assert await store.list("/") == []


async def test_restored_copy_takes_the_place_of_what_was_there(
    autojump_clock: trio.testing.MockClock,
) -> None:
    changed: list[Sequence[Change]] = []
    disk = SimulatedDisk(random.Random(0), on_durable=changed.append)
    async with disk.store() as store, trio.open_nursery() as nursery:
        first_epoch = store.epoch
        await store.append("/log", b"kept")
        backup = disk.copy()
        await store.commit([Append("/log", b"lost"), Put("/late", b"")])
        with pytest.raises(RuntimeError, match="cut its power"):
            disk.restore(backup)
        nursery.start_soon(_try_to_append, store)
        await trio.testing.wait_all_tasks_blocked()
        disk.cut_power()
        told = len(changed)
        # What is under way was for the disk that is replaced.
        assert disk.restore(backup) == {"/log": [b"lost"]}
    for _ in range(2):
        async with disk.store() as store:
            assert await store.read_range("/log", 0) == [b"kept"]
            assert await store.read("/late") is None
            assert store.epoch != first_epoch
            assert len(changed) == told
            disk.cut_power()
        assert disk.restore(backup) == {}


async def test_copy_has_what_was_trimmed_since_and_the_other_way_round(
    autojump_clock: trio.testing.MockClock,
) -> None:
    disk = SimulatedDisk(random.Random(0))
    async with disk.store() as store:
        await store.commit([Append("/log", b"%d" % n) for n in range(4)])
        early = disk.copy()
        await store.commit([Trim("/log", 2)])
        trimmed = disk.copy()
        await store.commit([Append("/log", b"4"), Append("/log", b"5"), Trim("/log", 5)])
        disk.cut_power()
    # The one before was trimmed already when it was to be read.
    assert disk.restore(trimmed) == {"/log": [b"5"]}
    async with disk.store() as store:
        assert await store.first("/log") == 2
        assert await store.read_range("/log", 2) == [b"2", b"3"]
        disk.cut_power()
    assert disk.restore(early) == {}
    async with disk.store() as store:
        assert await store.read_range("/log", 0) == [b"0", b"1", b"2", b"3"]


async def _try_to_append(store: MachineStore) -> None:
    with pytest.raises(StoreError, match="power"):
        await store.append("/log", b"too late")
