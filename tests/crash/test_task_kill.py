"""
Workers and hubs are killed in the middle of tasks: no work begins before its last checkpoint.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import trio

from trio_hub import HubClient, Passport, TaskState, WsLink

from .hub_process import HubProcess
from .task_worker import silence

_WITHIN_SECONDS = 90.0


class Worker:
    """One life of a worker."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._heard = b""

    @classmethod
    async def begin(cls, url: str, until: int, task_id: str | None) -> Worker:
        more = [] if task_id is None else [task_id]
        return cls(
            await trio.lowlevel.open_process(
                [sys.executable, "-m", "tests.crash.task_worker", url, str(until), *more],
                stdout=subprocess.PIPE,
            )
        )

    async def line(self) -> str | None:
        """Return what it says next; None where it says no more."""
        assert self._process.stdout is not None
        with trio.fail_after(_WITHIN_SECONDS):
            while b"\n" not in self._heard:
                more = await self._process.stdout.receive_some()
                if not more:
                    return None
                self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    async def kill(self) -> None:
        self._process.kill()
        with trio.CancelScope(shield=True):
            await self._process.wait()


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
            worker = await Worker.begin(hub.url, until, task_id)
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
                await worker.kill()
        assert ended == ["done"]
        async with HubClient(WsLink(hub.url)) as client:
            await client.attach(silence, "worker", passport=Passport(name="worker"))
            task = await client.get_task(task_id or "")
            assert (task.state, task.result) == (TaskState.COMPLETED, {"number": reached})
            tasks = await client.list_tasks(state=TaskState.COMPLETED, limit=kills + 1)
            assert [it.task_id for it in tasks] == [task_id]
    finally:
        await hub.end()
