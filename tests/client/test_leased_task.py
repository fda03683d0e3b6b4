"""A task that several workers may go on with has one at a time, whoever is cut off or dies."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from trio_hub import (
    AgentClient,
    Conflict,
    DiskKnowledgeStore,
    Hub,
    HubBackedCheckpointStore,
    HubClient,
    LocalLink,
    MemoryKnowledgeStore,
    Passport,
    TaskMetadata,
    TaskSpec,
    TaskState,
    VersionedCheckpointStore,
)
from trio_hub.errors import ProtocolError, StoreError
from trio_hub.testing.faulty_link import FaultyLink
from trio_hub.testing.faulty_store import FaultyStore

from .test_task import silence


@asynccontextmanager
async def worker(hub: Hub) -> AsyncIterator[tuple[AgentClient, FaultyLink]]:
    link = FaultyLink(LocalLink(hub))
    async with HubClient(link) as client:
        yield await client.attach(silence, "worker", passport=Passport(name="worker")), link


async def test_work_goes_on_under_its_id_with_the_next_worker(tmp_path: Path) -> None:
    for life in range(4):
        # Every second time, the hub has died too.
        async with Hub.open(DiskKnowledgeStore(tmp_path)) as hub, worker(hub) as (alice, _):
            with trio.CancelScope() as scope:
                async with alice.task("count", task_id="t", lease="30s") as task:
                    assert task.resumed_state == ({"number": 2 * life} if life else None)
                    await task.progress({f"life {life}": True})
                    await task.checkpoint({"number": 2 * life + 1})
                    await task.checkpoint({"number": 2 * life + 2})
                    scope.cancel()
                    await trio.sleep_forever()
            assert hub.tasks.get("t").state is TaskState.RUNNING
    async with Hub.open(DiskKnowledgeStore(tmp_path)) as hub, worker(hub) as (alice, _):
        async with alice.task("count", task_id="t", lease="30s") as task:
            assert task.metadata.progress == {f"life {life}": True for life in range(4)}
            await task.complete(task.resumed_state)
        assert hub.tasks.get("t").result == {"number": 8}
        with pytest.raises(ProtocolError, match=r"has ended \(completed\)"):
            async with alice.task("count", task_id="t", lease="30s"):
                raise AssertionError("it was done again")


async def test_a_second_worker_begins_only_when_the_first_has_stopped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log: list[tuple[str, float]] = []

    def note(what: str) -> None:
        log.append((what, trio.current_time() - began))

    async def first(hub: Hub, ready: trio.Event) -> None:
        async with worker(hub) as (alice, link):
            try:
                async with alice.task("count", task_id="t", lease="30s") as task:
                    await task.checkpoint({"by": "first"})
                    await trio.sleep(100)
                    # Cut off without a word; it works on, as far as it knows.
                    link.stall()
                    ready.set()
                    await trio.sleep_forever()
            except Conflict:
                note("first stops")
            link.resume()

    async def second(hub: Hub) -> None:
        async with (
            worker(hub) as (alice, _),
            alice.task("count", task_id="t", lease="30s") as task,
        ):
            note("second begins")
            assert task.resumed_state == {"by": "first"}
            await task.complete("second")

    async with Hub.open(MemoryKnowledgeStore()) as hub:
        began = trio.current_time()
        ready = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first, hub, ready)
            await ready.wait()
            nursery.start_soon(second, hub)
        # Renewed every 10 s until it was cut off at 100.
        assert [what for what, _ in log] == ["first stops", "second begins"]
        stopped, begun = (when for _, when in log)
        assert 120 <= stopped <= begun <= 130
        assert hub.tasks.get("t").result == "second"


async def test_one_whose_lease_is_over_overwrites_nothing() -> None:
    async with Hub.open(MemoryKnowledgeStore()) as hub, worker(hub) as (alice, _):
        client = alice.hub_client
        async with alice.task("count") as task:
            old = await client.lease_task(task.task_id, "old", 30)
            old = await client.swap_task_checkpoint(
                task.task_id, {"by": "old"}, generation=old, holder="old"
            )
            with pytest.raises(Conflict, match="another worker has the lease"):
                await client.lease_task(task.task_id, "new", 30)
            await client.release_task(task.task_id, "new")  # It has none to give back.
            await client.release_task(task.task_id, "old")
            new = await client.lease_task(task.task_id, "new", 30)
            for generation, holder in ((old, "old"), (old, None), (new, "old")):
                with pytest.raises(Conflict):
                    await client.swap_task_checkpoint(
                        task.task_id, {"by": "old"}, generation=generation, holder=holder
                    )
            with pytest.raises(Conflict):
                await client.checkpoint_task(task.task_id, {"by": "old"})
            await client.release_task(task.task_id, "new")
            # Nobody has the lease now: its number still keeps the old one out.
            with pytest.raises(Conflict, match="read it again"):
                await client.swap_task_checkpoint(task.task_id, {"by": "old"}, generation=old)
            assert await client.read_task_checkpoint(task.task_id) == {"by": "old"}
            await client.checkpoint_task(task.task_id, {"by": "whoever is last"})
            kept = await client.read_task_generation(task.task_id)
            assert (kept.state, kept.generation) == ({"by": "whoever is last"}, new + 1)


async def test_a_hub_that_was_started_again_gives_leases_their_time_once_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = MemoryKnowledgeStore()
    async with Hub.open(store) as hub, worker(hub) as (alice, _):
        # The worker dies: nobody gives the lease back.
        task_id = "t"
        await alice.hub_client.observe_task(
            TaskMetadata(
                task_id=task_id,
                owner_id=alice.agent_id,
                spec=TaskSpec(title="count"),
                state=TaskState.RUNNING,
            )
        )
        await alice.hub_client.lease_task(task_id, "dead", 30)
        await trio.sleep(20)
    async with Hub.open(store) as hub, worker(hub) as (alice, _):
        opened = trio.current_time()
        with pytest.raises(Conflict, match="for 20 s more"):
            await alice.hub_client.lease_task(task_id, "next", 30, wait_seconds=10)
        await alice.hub_client.lease_task(task_id, "next", 30, wait_seconds=60)
        assert trio.current_time() - opened == 30


async def test_whoever_waits_for_a_lease_hears_at_once_that_it_is_free_or_of_no_use(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Hub.open(MemoryKnowledgeStore()) as hub, worker(hub) as (alice, _):
        client, began = alice.hub_client, trio.current_time()
        outcomes: list[str] = []

        async def wait(holder: str) -> None:
            try:
                await client.lease_task(task.task_id, holder, 3600, wait_seconds=60)
            except ProtocolError:
                outcomes.append("ended")
            else:
                outcomes.append("has it")

        async with alice.task("count") as task:
            await client.lease_task(task.task_id, "first", 3600)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait, "second")
                nursery.start_soon(wait, "third")
                await trio.testing.wait_all_tasks_blocked()
                await client.release_task(task.task_id, "first")
                await trio.testing.wait_all_tasks_blocked()
                assert outcomes == ["has it"]
                await task.complete()
        assert outcomes == ["has it", "ended"]
        assert trio.current_time() == began


async def test_a_write_whose_answer_was_lost_is_one_write() -> None:
    async with Hub.open(MemoryKnowledgeStore()) as hub, worker(hub) as (alice, link):
        store = HubBackedCheckpointStore(alice.hub_client)
        assert isinstance(store, VersionedCheckpointStore)
        async with alice.task("count", checkpoint_store=store) as task:
            assert await store.swap(task.task_id, {"n": 1}, 0) == 1
            before = link.connect_count
            async with trio.open_nursery() as nursery:
                link.drop_next_received()
                nursery.start_soon(_cut_when_written, hub, task.task_id, link)
                assert await store.swap(task.task_id, {"n": 2}, 1) == 2
            assert link.connect_count == before + 1
            with pytest.raises(Conflict):
                await store.swap(task.task_id, {"n": 3}, 1)
            kept = await HubBackedCheckpointStore(hub).read_checkpoint(task.task_id)
            assert (kept.state, kept.generation) == ({"n": 2}, 2)
            assert await HubBackedCheckpointStore(hub).swap(task.task_id, {"n": 3}, 2) == 3
            with pytest.raises(Conflict):
                await HubBackedCheckpointStore(hub).swap(task.task_id, {"n": 3}, 2)


async def _cut_when_written(hub: Hub, task_id: str, link: FaultyLink) -> None:
    while (await hub.read_task_generation(task_id)).generation < 2:
        await trio.testing.wait_all_tasks_blocked()
    await trio.testing.wait_all_tasks_blocked()
    link.cut()


@pytest.mark.parametrize("after", [False, True])
async def test_after_a_failed_commit_the_disk_decides_which_generation_it_is(after: bool) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with Hub.open(store) as hub:
        checkpoints = HubBackedCheckpointStore(hub)
        assert await checkpoints.swap("t", {"n": 1}, 0) == 1
        store.fail("commit", after=after)
        with pytest.raises(StoreError, match="made to fail"):
            await checkpoints.swap("t", {"n": 2}, 1)
        there = await checkpoints.read_checkpoint("t")
        assert (there.state, there.generation) == (({"n": 2}, 2) if after else ({"n": 1}, 1))
        with pytest.raises(Conflict):
            await checkpoints.swap("t", {"n": 3}, 1 if after else 2)
        assert await checkpoints.swap("t", {"n": 3}, there.generation) == there.generation + 1


@pytest.mark.parametrize("after", [False, True])
async def test_what_is_told_again_is_not_answered_before_it_is_on_disk(after: bool) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with Hub.open(store) as hub, worker(hub) as (alice, _), alice.task("count") as task:
        book = hub.tasks.checkpoints
        for again in (
            lambda: book.write(task.task_id, {"n": 1}, (), generation=0, key="k"),
            lambda: book.lease(task.task_id, "h", 30),
        ):
            answers: list[int | None] = []

            async def ask(again: Callable[[], Awaitable[int]] = again) -> None:
                try:
                    answers.append(await again())  # noqa: B023
                except StoreError:
                    answers.append(None)  # noqa: B023

            async with trio.open_nursery() as nursery:
                with store.hold_commits():
                    store.fail("commit", after=after)
                    nursery.start_soon(ask)
                    await trio.testing.wait_all_tasks_blocked()
                    nursery.start_soon(ask)
                    await trio.testing.wait_all_tasks_blocked()
                    assert answers == []
            # The first one does not know, and whoever waited for it finds out.
            assert None in answers
            assert await again() == (await book.read(task.task_id)).generation


async def test_a_block_that_has_ended_its_task_needs_no_lease(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Hub.open(MemoryKnowledgeStore()) as hub, worker(hub) as (alice, _):
        async with alice.task("count", lease="30s") as task:
            await task.complete()
            await trio.sleep(3600)

        async def work() -> None:
            async with alice.task("count", lease="30s") as task:
                await alice.hub_client.update_task(task.task_id, state=TaskState.EXPIRED)
                await trio.sleep_forever()

        # One that somebody else has ended, the hub itself perhaps, is over.
        with pytest.raises(ProtocolError, match="has ended"):
            await work()


async def test_a_leased_task_fails_and_expires_like_any_other(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1.7e9 + trio.current_time())
    async with (
        Hub.open(MemoryKnowledgeStore(), clock=time.time) as hub,
        worker(hub) as (alice, _),
    ):
        with pytest.raises(ValueError, match="ink"):
            async with alice.task("write", task_id="w", lease="30s"):
                raise ValueError("no ink")
        assert hub.tasks.get("w").state is TaskState.FAILED
        with pytest.raises(trio.TooSlowError, match="TTL"):
            async with alice.task("wait", task_id="x", lease="30s", ttl="10m"):
                await trio.sleep_forever()
        assert hub.tasks.get("x").state is TaskState.EXPIRED


async def test_what_does_not_go_together_is_refused() -> None:
    async with Hub.open(MemoryKnowledgeStore()) as hub, worker(hub) as (alice, _):
        store = HubBackedCheckpointStore(hub)
        with pytest.raises(ValueError, match="leave `checkpoint_store`"):
            alice.task("x", lease="30s", checkpoint_store=store)
        with pytest.raises(ValueError, match="`task_id` is for"):
            alice.task("x", task_id="x")
        with pytest.raises(ValueError, match="no time at all"):
            async with alice.task("x", lease=0):
                raise AssertionError("it began")
