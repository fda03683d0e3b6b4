"""
A worker that answers each question by a task under a lease, and says where it stands.

``python -m tests.crash.turn_worker URL PLACE COUNT``: when it has come to PLACE (one of `PLACES`)
for the COUNT-th time it stands still, the whole process, for whoever has started it to kill it.

It says ``PLACE TASK NUMBER``, a line for each place that it comes to, and ``here`` when it stands.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from trio_hub import (
    AgentClient,
    Envelope,
    HubClient,
    NotFoundError,
    Passport,
    TaskMetadata,
    Turn,
    WsLink,
)
from trio_hub.client import default_handler
from trio_hub.client.handlers import is_turn

__all__ = ["LEASE", "PLACES", "STEPS", "task_id_of"]

#: Where a worker can stand: the life of a question in its order. Those on ``-ing`` have sent
#: something to the hub that is not answered.
PLACES = (
    "arrived",  # the question is here, and nothing is done about it
    "asked",  # in the turn, before its task
    "entered",  # the lease is ours
    "did",  # a step is done, and not kept
    "keeping",
    "kept",  # the checkpoint is kept, and no progress told
    "told",  # progress is told
    "ready",  # behind the last checkpoint, before the end is told
    "completing",
    "completed",  # the task has ended, and its lease is not given back
    "left",  # the lease is given back, and no reply posted
    "replying",
    "replied",  # the reply is posted, and no receipt sent
)
STEPS = 3
LEASE = "1s"


def task_id_of(envelope_id: str) -> str:
    """Return under which id a question is worked on."""
    return f"answer-{envelope_id}"


class TurnWorker:
    """Agent and handler in one, for as long as it is let."""

    name = "worker"

    def __init__(self, place: str, count: int) -> None:
        self._place = place
        self._left = count
        self._answering: dict[str, trio.Event] = {}

    async def handle(self, envelope: Envelope, client: AgentClient, attempt: int) -> None:
        """Do what agents do, and look at it."""
        if not is_turn(envelope):
            await default_handler(envelope, client, attempt)
            return
        task_id = task_id_of(envelope.envelope_id)
        self._reach("arrived", task_id)
        replies = self._answering[task_id] = trio.Event()
        async with self._under_way("replying", task_id, after=replies):
            await default_handler(envelope, client, attempt)
        if replies.is_set():
            self._reach("replied", task_id)

    async def ask(self, turn: Turn) -> str:
        """Count to `STEPS`, from where the last worker has come to."""
        task_id = task_id_of(turn.envelope.envelope_id)
        self._reach("asked", task_id)
        known = await _find(turn.agent.hub_client, task_id)
        if known is None or not known.is_terminal:
            await self._work(turn, task_id)
            known = await turn.agent.hub_client.get_task(task_id)
        self._answering[task_id].set()
        return f"{turn.text} {known.result['by']}"

    async def _work(self, turn: Turn, task_id: str) -> None:
        async with turn.agent.task(
            "count", task_id=task_id, lease=LEASE, channel_id=turn.envelope.channel_id
        ) as task:
            number = (task.resumed_state or {"number": 0})["number"]
            self._reach("entered", task_id, number)
            while number < STEPS:
                number += 1
                self._reach("did", task_id, number)
                async with self._under_way("keeping", task_id, number):
                    await task.checkpoint({"number": number})
                self._reach("kept", task_id, number)
                await task.progress({"number": number})
                self._reach("told", task_id, number)
            self._reach("ready", task_id, number)
            # No two workers would say the same of it.
            async with self._under_way("completing", task_id, number):
                await task.complete({"by": os.getpid()})
            self._reach("completed", task_id, number)
        self._reach("left", task_id, number)

    @asynccontextmanager
    async def _under_way(
        self, place: str, task_id: str, number: int = 0, *, after: trio.Event | None = None
    ) -> AsyncIterator[None]:
        """Be at a place while the block waits for an answer of the hub."""
        if place != self._place:
            yield
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._reach_once_sent, place, task_id, number, after)
            yield
            nursery.cancel_scope.cancel()

    async def _reach_once_sent(
        self, place: str, task_id: str, number: int, after: trio.Event | None
    ) -> None:
        if after is not None:
            await after.wait()
        await trio.testing.wait_all_tasks_blocked()
        self._reach(place, task_id, number)

    def _reach(self, place: str, task_id: str, number: int = 0) -> None:
        say(place, task_id, number)
        if place == self._place:
            self._left -= 1
            if self._left == 0:
                say("here")
                # Until it is killed; or, where the test is, until that is gone.
                sys.stdin.read()
                os._exit(1)


async def _find(client: HubClient, task_id: str) -> TaskMetadata | None:
    try:
        return await client.get_task(task_id)
    except NotFoundError:
        return None


def say(*words: object) -> None:
    """Say a line."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def main(url: str, place: str, count: str) -> None:
    """Answer questions for ever."""
    worker = TurnWorker(place, int(count))
    async with HubClient(WsLink(url)) as client:
        await client.attach(
            worker, worker.name, passport=Passport(name=worker.name), handler=worker.handle
        )
        say("attached", "-", 0)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3])
