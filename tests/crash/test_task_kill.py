"""
Workers and hubs are killed in the middle of tasks: no work begins before its last checkpoint.
"""

from __future__ import annotations

import random
from pathlib import Path

from trio_hub import HubClient, Passport, TaskState, WsLink

from .hub_process import HubProcess
from .task_worker import silence
from .worker_process import WorkerProcess

_WORKER = "tests.crash.task_worker"


async def test_no_task_goes_back_behind_its_last_checkpoint(
    kills: int, rng: random.Random, tmp_path: Path
) -> None:
    hub = HubProcess(tmp_path, rng)
    await hub.start()
    task_id, reached, ended = None, 0, []
    try:
        for life in range(kills + 1):
            last = life == kills
            until = reached + 3 if last else 10**9
            more = (task_id,) if task_id else ()
            worker = await WorkerProcess.begin(_WORKER, hub.url, str(until), *more)
            try:
                begun = await worker.line()
                assert begun is not None
                word, task_id, number = begun.split()
                assert (word, int(number) >= reached) == ("task", True)
                reached = int(number)
                hub_dies_at = rng.randrange(40)
                for step in range(10**9 if last else rng.randrange(1, 30)):
                    if step == hub_dies_at:
                        await hub.kill()
                        await hub.start()
                    line = await worker.line()
                    if line is None or line == "done":
                        ended.append(line)
                        break
                    assert int(line) == reached + 1, "something was done twice, or left out"
                    reached += 1
            finally:
                await worker.close()
        assert ended == ["done"]
        async with HubClient(WsLink(hub.url)) as client:
            await client.attach(silence, "worker", passport=Passport(name="worker"))
            task = await client.get_task(task_id or "")
            assert (task.state, task.result) == (TaskState.COMPLETED, {"number": reached})
            tasks = await client.list_tasks(state=TaskState.COMPLETED, limit=kills + 1)
            assert [it.task_id for it in tasks] == [task_id]
    finally:
        await hub.end()
