"""
A worker that counts, and says a number only once its checkpoint is kept.

``python -m tests.crash.task_worker URL UNTIL [TASK_ID]``: go on from what that task kept. It says
``task ID NUMBER`` when it has begun, then each number, then ``done``.
"""

from __future__ import annotations

import sys

import trio

from trio_hub import HubBackedCheckpointStore, HubClient, Passport, Reconnect, Turn, WsLink
from trio_hub.protocol.backoff import Backoff


async def silence(_turn: Turn) -> None:
    """Never speak."""


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def main(url: str, until: str, task_id: str | None = None) -> None:
    soon = Reconnect(backoff=Backoff(base=0.01, cap=0.1), wait_for_hub=True)
    async with HubClient(WsLink(url), reconnect=soon, request_timeout=60) as client:
        worker = await client.attach(silence, "worker", passport=Passport(name="worker"))
        store = HubBackedCheckpointStore(client)
        async with worker.task("count", checkpoint_store=store, resume_from=task_id) as task:
            number = (task.resumed_state or {"number": 0})["number"]
            # Kept under the new id before anybody hears of it: the next one resumes from that.
            await task.checkpoint({"number": number})
            say("task", task.task_id, number)
            while number < int(until):
                number += 1
                await task.checkpoint({"number": number})
                say(number)
            await task.complete({"number": number})
        say("done")


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
