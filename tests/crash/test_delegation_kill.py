"""A worker is killed while somebody works for it: whoever it has asked works once."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio

from trio_hub import FunctionAgent, HubClient, WsLink
from trio_hub.client import Turn

from .hub_process import HubProcess
from .worker_process import WorkerProcess

_WORKER = "tests.crash.delegating_worker"
#: When the worker is killed: while it asks, once the expert has heard it (who answers when the next
#: worker is there, or before), and once it has heard the answer.
_PLACES = ("asking", "asked", "answered", "heard")


async def _silence(_turn: Turn) -> None:
    """Whoever asks is not asked."""


class _Expert:
    """Answers when it is told to, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_asked = trio.Event()
        self.may_answer = trio.Event()

    async def ask(self, turn: Turn) -> str:
        self.asked.append(turn.text)
        self.is_asked.set()
        await self.may_answer.wait()
        return f"answer {len(self.asked)}"


@pytest.mark.slow
async def test_whoever_is_asked_by_a_worker_that_dies_works_once(
    kills: int, rng: random.Random, tmp_path: Path
) -> None:
    hub = HubProcess(tmp_path, rng)
    expert = _Expert()
    answers: list[str] = []
    places = [_PLACES[number % len(_PLACES)] for number in range(max(kills, len(_PLACES)))]
    try:
        await hub.start()
        async with HubClient(WsLink(hub.url)) as client:
            await client.register(FunctionAgent("expert", expert.ask))
            asker = await client.register(FunctionAgent("asker", _silence))
            # From now on there is a worker to be asked, if only by name.
            await (await _until(hub, "attached")).close()

            async def consult(text: str) -> None:
                answers.append(await asker.consult("worker", text, timeout=120))

            for number, place in enumerate(places):
                expert.is_asked, expert.may_answer = trio.Event(), trio.Event()
                async with trio.open_nursery() as asking:
                    asking.start_soon(consult, f"question {number}")
                    await _live(place, hub, expert)
                    last = await _until(hub, "asking" if place == "asked" else "attached")
                    expert.may_answer.set()
                await last.close()
        await hub.stop()
    finally:
        await hub.end()
    assert answers == [f"question {it}: answer {it + 1}" for it in range(len(places))]
    assert expert.asked == [f"question {it}" for it in range(len(places))]


async def _live(place: str, hub: HubProcess, expert: _Expert) -> None:
    """Let a worker live until it, or the expert, has come to a place."""
    if place == "heard":
        expert.may_answer.set()
    worker = await _until(hub, "heard" if place == "heard" else "asking", "stands")
    try:
        if place != "asking":
            await expert.is_asked.wait()
    finally:
        await worker.close()
    if place == "answered":
        expert.may_answer.set()


async def _until(hub: HubProcess, line: str, *options: str) -> WorkerProcess:
    """Start a worker, and return once it has said that."""
    worker = await WorkerProcess.begin(_WORKER, hub.url, *options)
    while (said := await worker.line()) != line:
        assert said is not None, "the worker ended by itself"
    return worker
