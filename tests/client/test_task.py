"""A task is a block: what the hub knows of it, however the block ends, and whoever dies."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from trio_hub import (
    AgentClient,
    DiskKnowledgeStore,
    Hub,
    HubBackedCheckpointStore,
    HubClient,
    HubLimits,
    LimitsBlock,
    LocalLink,
    MemoryKnowledgeStore,
    Passport,
    Resume,
    Rule,
    Task,
    TaskMetadata,
    TaskSpec,
    TaskState,
    Turn,
    WsLink,
    serve_ws,
)
from trio_hub.errors import AccessDeniedError, NotFoundError, ProtocolError
from trio_hub.ids import iso_from_seconds
from trio_hub.testing import FaultyStore
from trio_hub.testing.faulty_link import FaultyLink
from trio_hub.wire.params import ListTasks


async def silence(_turn: Turn) -> None:
    return None


async def join(client: HubClient, name: str = "alice") -> AgentClient:
    return await client.register(silence, Passport(name=name))


async def test_a_block_is_a_task_that_completes_and_is_counted() -> None:
    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        alice = await client.register(
            silence, Passport(name="alice"), Resume(claimed_capabilities=("reading",))
        )
        async with alice.task("read", capability="reading") as task:
            await task.progress({"read": 1})
            await task.progress({"pages": 30})
            seen = await client.get_task(task.task_id)
            assert (seen.state, seen.progress) == (TaskState.RUNNING, {"read": 1, "pages": 30})
            await task.complete({"words": 9})
        ended = await client.get_task(task.task_id)
        assert (ended.state, ended.result) == (TaskState.COMPLETED, {"words": 9})
        assert [it.task_id for it in await client.list_tasks()] == [task.task_id]
        stat = (await client.get_resume(alice.agent_id)).observed["reading"]
        assert (stat.n, stat.completed, stat.failed) == (1, 1, 0)

        async with alice.task("nothing to tell") as task:
            pass
        assert (await client.get_task(task.task_id)).state is TaskState.COMPLETED


async def test_an_exception_fails_it_and_a_cancellation_cancels_it() -> None:
    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        alice = await join(client)
        with pytest.raises(ValueError, match="ink"):
            async with alice.task("write") as task:
                raise ValueError("no ink")
        failed = await client.get_task(task.task_id)
        assert (failed.state, failed.error) == (TaskState.FAILED, "ValueError: no ink")

        with trio.CancelScope() as scope:
            async with alice.task("write") as task:
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert (await client.get_task(task.task_id)).state is TaskState.CANCELLED

        async with alice.task("write") as task:
            await task.cancel("changed my mind")
        given_up = await client.get_task(task.task_id)
        assert (given_up.state, given_up.error) == (TaskState.CANCELLED, "changed my mind")


async def test_a_task_ends_once_and_the_same_end_may_be_told_again() -> None:
    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        alice = await join(client)
        refused = []

        async def end(task_id: str, state: TaskState) -> None:
            try:
                await client.update_task(task_id, state=state)
            except ProtocolError:
                refused.append(state)

        async def work() -> None:
            async with alice.task("race") as task:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(end, task.task_id, TaskState.FAILED)
                    nursery.start_soon(end, task.task_id, TaskState.CANCELLED)
                ended = await client.get_task(task.task_id)
                assert {*refused, ended.state} == {TaskState.FAILED, TaskState.CANCELLED}
                assert len(refused) == 1

                await client.update_task(task.task_id, state=ended.state)
                assert await client.get_task(task.task_id) == ended
                with pytest.raises(ProtocolError, match="has ended"):
                    await task.progress({"more": 1})

        # It would complete, and hears that it cannot.
        with pytest.raises(ProtocolError, match="has ended"):
            await work()


async def test_a_rule_limits_how_many_tasks_have_not_ended(tmp_path: Path) -> None:
    rule = Rule(limits=LimitsBlock(max_concurrent_tasks=2))
    async with (
        Hub.open(DiskKnowledgeStore(tmp_path)) as hub,
        HubClient(LocalLink(hub)) as client,
    ):
        alice = await client.register(silence, Passport(name="alice"), rule=rule)
        bob = await join(client, "bob")
        with trio.CancelScope() as scope:
            async with alice.task("one") as one, alice.task("two"):
                with pytest.raises(AccessDeniedError, match="its rule allows 2"):
                    async with alice.task("three"):
                        pytest.fail("it may not begin")
                # Who has begun may say so again, and others have limits of their own.
                await client.observe_task(await client.get_task(one.task_id))
                async with bob.task("his"):
                    pass
                await one.complete()
                async with alice.task("three"):
                    pass
                left = attrs.evolve(await client.get_task(one.task_id), task_id="left-behind")
                await client.observe_task(attrs.evolve(left, state=TaskState.RUNNING))
                # Killed: it is not ended.
                scope.cancel()
    async with (
        Hub.open(DiskKnowledgeStore(tmp_path)) as hub,
        HubClient(LocalLink(hub)) as client,
    ):
        alice = await client.attach(silence, "alice")
        async with alice.task("one more"):
            with pytest.raises(AccessDeniedError, match="has 2 tasks"):
                async with alice.task("and another"):
                    pytest.fail("the one from before still counts")


async def test_tasks_that_begin_at_once_do_not_slip_past_the_limit() -> None:
    rule = Rule(limits=LimitsBlock(max_concurrent_tasks=3))
    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        alice = await client.register(silence, Passport(name="alice"), rule=rule)
        begun, refused = 0, 0
        all_told = trio.Event()

        async def begin() -> None:
            nonlocal begun, refused
            try:
                async with alice.task("at once"):
                    begun += 1
                    await all_told.wait()
            except AccessDeniedError:
                refused += 1
            if refused == 7:
                all_told.set()

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(begin)
        assert (begun, refused) == (3, 7)


async def test_a_ttl_ends_the_block_and_the_task(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1.7e9 + trio.current_time())
    async with (
        Hub.open(MemoryKnowledgeStore(), clock=time.time) as hub,
        HubClient(LocalLink(hub)) as client,
    ):
        alice = await join(client)
        with pytest.raises(trio.TooSlowError, match="TTL: 600 s"):
            async with alice.task("wait for it", ttl="10m", capability="waiting") as task:
                await trio.sleep_forever()
        assert (await client.get_task(task.task_id)).state is TaskState.EXPIRED
        # The hub has seen it end as well, and it counts once.
        await trio.sleep(60)
        [waiting] = (await client.get_track_record(alice.agent_id)).values()
        assert (waiting.n, waiting.expired) == (1, 1)


@pytest.mark.parametrize("dates_are_right", [False, True])
@pytest.mark.parametrize("restart", [False, True])
async def test_the_hub_expires_and_counts_what_nobody_ends(
    restart: bool, dates_are_right: bool, autojump_clock: trio.testing.MockClock
) -> None:
    def clock() -> float:
        return 1.7e9 + trio.current_time()

    store = MemoryKnowledgeStore()
    running = TaskMetadata(
        task_id="t",
        owner_id="",
        spec=TaskSpec(title="die", capability="dying"),
        state=TaskState.RUNNING,
        started_at=iso_from_seconds(clock()) if dates_are_right else "yesterday",
        expires_at=iso_from_seconds(clock() + 3600),
    )
    async with Hub.open(store, clock=clock) as hub, HubClient(LocalLink(hub)) as client:
        alice = await join(client)
        await client.observe_task(attrs.evolve(running, owner_id=alice.agent_id))
        await client.update_task("t", progress={"half": True})
        if not restart:
            await trio.sleep(3599)
            assert hub.tasks.get("t").state is TaskState.RUNNING
            await trio.sleep(2)
            # Its owner is told as late as it asks.
            with pytest.raises(ProtocolError, match="expired"):
                await client.update_task("t", state=TaskState.COMPLETED)
    if restart:
        await trio.sleep(3700)
    async with Hub.open(store, clock=clock) as hub:
        await trio.sleep(60)
        expired = hub.tasks.get("t")
        assert (expired.state, expired.progress) == (TaskState.EXPIRED, {"half": True})
        record = hub.get_track_record(alice.agent_id)["dying"]
        assert (record.n, record.expired) == (1, 1)
        hour = pytest.approx(3_600_000, rel=0.01)
        assert record.p50_latency_ms == (hour if dates_are_right else None)


async def test_a_task_that_is_told_again_with_more_time_has_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def clock() -> float:
        return 1.7e9 + trio.current_time()

    async with (
        Hub.open(MemoryKnowledgeStore(), clock=clock) as hub,
        HubClient(LocalLink(hub)) as client,
    ):
        alice = await join(client)
        for seconds in (60, 600):
            await client.observe_task(
                TaskMetadata(
                    task_id="t",
                    owner_id=alice.agent_id,
                    spec=TaskSpec(title="longer"),
                    state=TaskState.RUNNING,
                    expires_at=iso_from_seconds(clock() + seconds),
                )
            )
        await trio.sleep(599)
        assert hub.tasks.get("t").state is TaskState.RUNNING
        await trio.sleep(2)
        assert hub.tasks.get("t").state is TaskState.EXPIRED


@pytest.mark.parametrize("meanwhile", [False, True])
async def test_a_date_that_is_none_harms_nobody(
    meanwhile: bool, autojump_clock: trio.testing.MockClock
) -> None:
    def clock() -> float:
        return 1.7e9 + trio.current_time()

    store = FaultyStore(MemoryKnowledgeStore())
    async with Hub.open(store, clock=clock) as hub, HubClient(LocalLink(hub)) as client:
        alice = await join(client)

        async def tell(task_id: str, expires_at: str) -> None:
            await client.observe_task(
                TaskMetadata(
                    task_id=task_id,
                    owner_id=alice.agent_id,
                    spec=TaskSpec(title="date"),
                    state=TaskState.RUNNING,
                    expires_at=expires_at,
                )
            )

        for task_id in ("first", "odd", "last"):
            await tell(task_id, iso_from_seconds(clock() + 60))
        if meanwhile:
            # It is told while the one before it is on its way to the disk.
            async with trio.open_nursery() as nursery:
                with store.hold_commits():
                    await trio.sleep(61)
                    nursery.start_soon(tell, "odd", "whenever")
                    await trio.testing.wait_all_tasks_blocked()
        else:
            await tell("odd", "whenever")
        await trio.sleep(120)
        states = [hub.tasks.get(it).state for it in ("first", "odd", "last")]
        assert states == [TaskState.EXPIRED, TaskState.RUNNING, TaskState.EXPIRED]


async def test_work_goes_on_from_the_last_checkpoint_after_worker_and_hub_are_gone(
    tmp_path: Path,
) -> None:
    async with Hub.open(DiskKnowledgeStore(tmp_path)) as hub:
        async with HubClient(LocalLink(hub)) as client:
            alice = await join(client)
            store = HubBackedCheckpointStore(client)
            with trio.CancelScope() as life:
                async with alice.task("count", checkpoint_store=store) as task:
                    await task.checkpoint({"counted": 1})
                    await task.checkpoint({"counted": 2})
                    life.cancel()
        async with HubClient(LocalLink(hub)) as others:
            await join(others, "mallory")
            with pytest.raises(AccessDeniedError):
                await HubBackedCheckpointStore(others).read(task.task_id)
    async with (
        Hub.open(DiskKnowledgeStore(tmp_path)) as hub,
        HubClient(LocalLink(hub)) as client,
    ):
        alice = await client.attach(silence, "alice")
        # In the hub's process, straight from the hub.
        in_process = HubBackedCheckpointStore(hub)
        for store in (HubBackedCheckpointStore(client), in_process):
            async with alice.task("count", checkpoint_store=store, resume_from=task.task_id) as on:
                assert on.resumed_state == {"counted": 2}
                await on.checkpoint({"counted": 3})
            assert await store.read(on.task_id) == {"counted": 3}
        assert await in_process.read("nobody's") is None


async def test_what_cannot_be_is_refused() -> None:
    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        alice = await join(client)
        with pytest.raises(ValueError, match="checkpoint_store"):
            async with alice.task("resume", resume_from="t"):
                raise AssertionError("it began")
        async with alice.task("forgetful") as task:
            with pytest.raises(RuntimeError, match="checkpoint_store"):
                await task.checkpoint({})
        with pytest.raises(AccessDeniedError):
            async with alice.task("elsewhere", channel_id="c"):
                raise AssertionError("it began")
        with pytest.raises(NotFoundError):
            await client.get_task("unheard-of")


async def test_others_are_told_of_an_end_in_the_moment_it_happens(tmp_path: Path) -> None:
    async with (
        Hub.open(DiskKnowledgeStore(tmp_path)) as hub,
        serve_ws(hub, "127.0.0.1", 0) as server,
        HubClient(WsLink(server.url)) as worker,
        HubClient(WsLink(server.url)) as watcher,
    ):
        alice = await join(worker)
        bob = await join(watcher, "bob")
        channel = await alice.open(type="conversation", target="bob")
        seen: list[TaskMetadata] = []

        async def watch(client: HubClient, task_id: str) -> None:
            seen.append(await client.wait_task(task_id))

        async with trio.open_nursery() as nursery:
            async with alice.task("tell", channel_id=channel.channel_id) as task:
                for client in (watcher, worker, watcher):
                    nursery.start_soon(watch, client, task.task_id)
                with pytest.raises(trio.TooSlowError, match="has not ended within 0 s"):
                    await watcher.wait_task(task.task_id, timeout=0)
                with trio.CancelScope() as impatient:
                    impatient.cancel()
                    await hub.wait_task(task.task_id)
                assert not seen
                await task.complete({"pages": 3})
            # Before the nursery is left, so that it is what those in it were told.
            assert (await hub.wait_task(task.task_id)).is_terminal
        assert [(it.state, it.result) for it in seen] == 3 * [(TaskState.COMPLETED, {"pages": 3})]
        # What has ended is answered at once, also to whoever may not see it: as if it were none.
        assert await watcher.wait_task(task.task_id) == await hub.wait_task(task.task_id) == seen[0]
        async with HubClient(WsLink(server.url)) as others:
            await join(others, "mallory")
            for task_id in (task.task_id, "none"):
                with pytest.raises(NotFoundError, match="no task"):
                    await others.wait_task(task_id)
        assert bob.agent_id


async def test_whoever_waits_outlasts_a_cut_connection_and_what_a_hub_holds_a_request_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Hub.open(MemoryKnowledgeStore()) as hub:
        links: list[FaultyLink] = []
        for _ in range(2):
            links.append(FaultyLink(LocalLink(hub)))
        async with HubClient(links[0]) as worker, HubClient(links[1]) as watcher:
            alice = await join(worker)
            bob = await join(watcher, "bob")
            channel = await alice.open(type="conversation", target="bob")
            seen: list[tuple[TaskState, float]] = []
            began = trio.current_time()

            async def watch(task_id: str) -> None:
                seen.append(((await watcher.wait_task(task_id)).state, trio.current_time()))

            async def work(
                alice: AgentClient, channel_id: str, task_status: trio.TaskStatus[Task]
            ) -> None:
                async with alice.task("long", channel_id=channel_id) as task:
                    task_status.started(task)
                    await trio.sleep(241)

            async with trio.open_nursery() as nursery:
                task = await nursery.start(work, alice, channel.channel_id)
                nursery.start_soon(watch, task.task_id)
                await trio.sleep(3 * 60 + 1)
                links[1].cut()
                await trio.sleep(59)
                assert seen == []
            # In that very moment, not when it looks again.
            assert (seen, bob.name) == ([(TaskState.COMPLETED, began + 241)], "bob")


@pytest.mark.parametrize("restart", [False, True])
async def test_only_the_last_ones_to_end_are_kept(restart: bool, tmp_path: Path) -> None:
    few = HubLimits(ended_tasks_per_owner_max=2)
    first = HubLimits() if restart else few
    async with (
        Hub.open(DiskKnowledgeStore(tmp_path), limits=first) as hub,
        HubClient(LocalLink(hub)) as client,
    ):
        alice, bob = await join(client), await join(client, "bob")
        store = HubBackedCheckpointStore(client)
        ids = []
        async with alice.task("goes on") as running, bob.task("of another"):
            for title in "abcd":
                async with alice.task(title, checkpoint_store=store) as task:
                    await task.checkpoint({"at": title})
                ids.append(task.task_id)
            await client.update_task(running.task_id, progress={"still": "there"})
            await hub.probe()
            kept = [it.task_id for it in await client.list_tasks(agent_id=alice.agent_id)]
            assert kept == [running.task_id, *(ids if restart else ids[2:])]
    async with Hub.open(DiskKnowledgeStore(tmp_path), limits=few) as hub:
        await hub.probe()
        # The one that went on has ended too, as the last one.
        assert {it.task_id for it in hub.tasks if it.owner_id == alice.agent_id} == {
            running.task_id,
            ids[3],
        }
        assert [await hub.read_task_checkpoint(it) for it in ids] == [None] * 3 + [{"at": "d"}]


async def test_a_list_is_bounded_and_can_be_gone_on_with() -> None:
    limits = HubLimits(tasks_per_answer_max=3)
    async with (
        Hub.open(MemoryKnowledgeStore(), limits=limits) as hub,
        HubClient(LocalLink(hub)) as client,
        HubClient(LocalLink(hub)) as other,
    ):
        alice, bob = await join(client), await join(other, "bob")
        channel = await alice.open(type="conversation", target="bob")
        for number in range(4):
            async with alice.task(f"alone {number}"):
                pass
            async with alice.task(f"seen {number}", channel_id=channel.channel_id):
                pass
        async with bob.task("of bob's"):
            pass

        async def titles(by: HubClient, **wanted: Any) -> list[str]:
            found: list[str] = []
            last = None
            while page := await by.list_tasks(after=last, **wanted):
                assert len(page) <= 3
                found += [it.spec.title for it in page]
                last = page[-1]
            return found

        seen = [f"seen {number}" for number in range(4)]
        both = [f"{how} {number}" for number in range(4) for how in ("alone", "seen")]
        assert await titles(client) == both
        assert await titles(client, agent_id=alice.agent_id, limit=2) == both
        assert await titles(client, channel_id=channel.channel_id) == seen
        assert await titles(other) == [*seen, "of bob's"]
        assert await titles(other, agent_id=alice.agent_id) == seen
        assert await titles(client, state=TaskState.RUNNING) == []
        assert await titles(client, channel_id="unheard-of") == []
        with pytest.raises(ProtocolError, match="after"):
            await client.request("list_tasks", ListTasks(after="x"), None)
