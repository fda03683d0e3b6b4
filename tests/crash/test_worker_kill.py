"""
A worker is killed again and again in the middle of its turns and tasks, over a hub of its own.

The promises: each question has one answer, each task ends once, no step is done again once its
checkpoint was kept, and nothing is asked again once its reply was posted. Each kill falls at a
place that a worker comes to with a question, all places alike, or at any moment between them.

``pytest tests/crash/test_worker_kill.py --kills 200`` for more than the few kills of every run.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio

from trio_hub import (
    AgentClient,
    DiskKnowledgeStore,
    Envelope,
    FunctionAgent,
    Hub,
    HubClient,
    TaskState,
    WsLink,
)
from trio_hub.client import Turn
from trio_hub.records import EV_TEXT

from .hub_process import HubProcess
from .turn_worker import PLACES, STEPS, task_id_of
from .worker_process import WorkerProcess

_WORKER = "tests.crash.turn_worker"
# Of each kind, as many as that.
_CHANNELS = 2
_ANYWHERE = "anywhere"
_ANSWER_WITHIN_SECONDS = 120.0


async def _silence(_turn: Turn) -> None:
    """Those who ask are not asked."""


@attrs.define(eq=False)
class _Witness:
    """
    Hears what all lives of the worker say, and objects.

    Attributes:
        last: The place that was told of last.
    """

    last: str = ""
    _done: dict[str, int] = attrs.field(factory=dict)
    _kept: dict[str, int] = attrs.field(factory=dict)
    _completed: set[str] = attrs.field(factory=set)
    _replied: set[str] = attrs.field(factory=set)

    def hear(self, line: str) -> None:
        """Take a line that tells of a place."""
        place, task_id, word = line.split()
        number = int(word)
        self.last = place
        done, kept = self._done.get(task_id, 0), self._kept.get(task_id, 0)
        if place == "asked":
            assert task_id not in self._replied, "asked again what was answered"
        elif place == "entered":
            assert task_id not in self._completed, "begun again after its end"
            assert kept <= number <= done, "went on from elsewhere than the last checkpoint"
            # More than is known where a worker died before it heard that it was kept.
            self._kept[task_id] = number
        elif place == "did":
            assert number > kept, "done again after it was kept"
            assert number <= done + 1, "left out a step"
            self._done[task_id] = max(done, number)
        elif place == "kept":
            assert number == kept + 1 == done, "kept what was not done"
            self._kept[task_id] = number
        elif place == "completed":
            assert kept == STEPS
            assert task_id not in self._completed, "ended twice"
            self._completed.add(task_id)
        elif place == "replied":
            assert task_id not in self._replied, "replied twice"
            self._replied.add(task_id)


class _Asker:
    """
    Asks the worker one thing after another, in several channels side by side.

    Attributes:
        answers: What was asked, and what was answered.
        ends: Whether nothing more is to be asked.
    """

    def __init__(self, client: AgentClient) -> None:
        self.answers: dict[str, str] = {}
        self.ends = False
        self._client = client
        self._count = 0

    async def converse(self) -> None:
        """Ask in one conversation."""
        channel = await self._client.open(type="conversation", target="worker", ttl=0)
        while not self.ends:
            text = self._question()
            asked = await channel.send(text)

            def answers(envelope: Envelope, asked: str = asked) -> bool:
                return envelope.event_type == EV_TEXT and envelope.causation_id == asked

            answer = await self._client.wait_for_channel_event(
                channel_id=channel.channel_id,
                predicate=answers,
                timeout=_ANSWER_WITHIN_SECONDS,
            )
            self.answers[text] = answer.text

    async def consult(self) -> None:
        """Ask each question in a channel of its own."""
        while not self.ends:
            text = self._question()
            self.answers[text] = await self._client.consult(
                "worker", text, timeout=_ANSWER_WITHIN_SECONDS
            )

    def _question(self) -> str:
        self._count += 1
        return f"question-{self._count}"


@pytest.mark.slow
async def test_killed_workers_answer_once_end_once_and_go_on_from_their_last_checkpoint(
    kills: int, rng: random.Random, tmp_path: Path
) -> None:
    hub = HubProcess(tmp_path, rng)
    witness = _Witness()
    killed_at: Counter[str] = Counter()
    found_at: Counter[str] = Counter()
    try:
        await hub.start()
        async with (
            HubClient(WsLink(hub.url)) as client,
            trio.open_nursery() as listeners,
        ):
            asker = _Asker(await client.register(FunctionAgent("asker", _silence)))
            # From now on there is a worker to be asked, if only by name.
            await _live(hub, witness, "nowhere", 1, lines_max=1)
            async with trio.open_nursery() as askers:
                for _ in range(_CHANNELS):
                    askers.start_soon(asker.converse)
                    askers.start_soon(asker.consult)
                for place in _places(kills, rng):
                    lines_max = rng.randrange(1, 60) if place == _ANYWHERE else None
                    await _live(hub, witness, place, rng.randrange(1, 4), lines_max=lines_max)
                    killed_at[place] += 1
                    if place == _ANYWHERE:
                        found_at[witness.last] += 1
                asker.ends = True
                last = await WorkerProcess.begin(_WORKER, hub.url, "nowhere", "1")
                listeners.start_soon(_hear_out, last, witness)
            await last.kill()
        await hub.stop()
    finally:
        await hub.end()
    print(  # noqa: T201  the figures of a long run (-s)
        f"{kills} kills, {len(asker.answers)} questions; {dict(killed_at)}, of these by chance "
        f"{dict(found_at)}"
    )
    assert killed_at.total() == kills
    assert all(killed_at[place] >= kills // (len(PLACES) + 1) for place in (*PLACES, _ANYWHERE))
    await _check_logs(hub.data, asker)


def _places(kills: int, rng: random.Random) -> Iterator[str]:
    """Return where to kill: every place equally often, in any order."""
    for _ in range(0, kills, len(PLACES) + 1):
        round_of_them = [*PLACES, _ANYWHERE]
        rng.shuffle(round_of_them)
        yield from round_of_them[:kills]
        kills -= len(round_of_them)


async def _live(
    hub: HubProcess, witness: _Witness, place: str, count: int, *, lines_max: int | None
) -> None:
    """Let a worker live until it stands still at `place`, or has said so many lines."""
    worker = await WorkerProcess.begin(_WORKER, hub.url, place, str(count))
    try:
        lines = 0
        while lines_max is None or lines < lines_max:
            line = await worker.line()
            assert line is not None, "the worker ended by itself"
            if line == "here":
                break
            witness.hear(line)
            lines += 1
        await worker.kill()
        await _hear_out(worker, witness)
    finally:
        await worker.close()


async def _hear_out(worker: WorkerProcess, witness: _Witness) -> None:
    """Hear what a worker says until it is dead."""
    try:
        while (line := await worker.line()) is not None:
            witness.hear(line)
    finally:
        await worker.close()


async def _check_logs(data: Path, asker: _Asker) -> None:
    """Open the hub here, and see that each question has its one answer in the log."""
    questions: dict[str, Envelope] = {}
    answers: dict[str, list[str]] = {}
    async with Hub.open(DiskKnowledgeStore(data)) as hub:
        worker_id = hub.find_agent_id("worker")
        assert worker_id is not None
        for channel in hub.list_channels(limit=None):
            for envelope in await hub.read_wal(channel.channel_id):
                if envelope.event_type == EV_TEXT and envelope.sender_id == worker_id:
                    answers.setdefault(envelope.causation_id or "", []).append(envelope.text)
                elif envelope.event_type == EV_TEXT:
                    questions[envelope.envelope_id] = envelope
        tasks = {task.task_id: task for task in hub.tasks}
        assert not hub.list_dead_letters(worker_id).letters
        assert hub.health().ok
    assert answers == {
        envelope_id: [asker.answers[question.text]] for envelope_id, question in questions.items()
    }
    assert len(questions) == len(asker.answers)
    assert tasks.keys() == {task_id_of(envelope_id) for envelope_id in questions}
    for envelope_id, question in questions.items():
        task = tasks[task_id_of(envelope_id)]
        assert task.state is TaskState.COMPLETED
        ended_by = task.result["by"]
        assert asker.answers[question.text] == f"{question.text} {ended_by}"
