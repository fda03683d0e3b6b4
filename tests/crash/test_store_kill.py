"""
A process that writes to a disk store is killed with SIGKILL, again and again, on one directory.

The promise: whatever it had said was kept is there afterwards, in its place, and the logs have
no holes. The writer says so on a pipe, which outlives it; the kill falls at a random moment
between two of its words. Set TRIO_HUB_STORE_KILLS for more than the 10 rounds of every run.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from trio_hub.stores import DiskKnowledgeStore

_KILLS = int(os.environ.get("TRIO_HUB_STORE_KILLS", "10"))

# Eight tasks append without end, half of them in batches of three that also put a document, and
# each says what was acknowledged: the log, the first position, and the words that were kept. One of
# them trims the log to its second half now and then, and says so.
_WRITER = """
import itertools, os, sys, trio
from trio_hub.stores import Append, DiskKnowledgeStore, Put, Trim

async def write(store, task):
    log = f"/log/{task % 3}"
    size = 3 if task % 2 else 1
    for turn in itertools.count():
        words = [f"{os.getpid()}.{task}.{turn}.{k}" for k in range(size)]
        changes = [Append(log, word.encode()) for word in words]
        if size == 3:
            changes.append(Put(f"/last/{task}", words[0].encode()))
        first = None
        if task == 7 and turn % 5 == 4:
            first = await store.length(log) // 2
            changes.append(Trim(log, first))
        positions = await store.commit(changes)
        assert list(positions) == list(range(positions[0], positions[0] + size))
        said = f"{log} {positions[0]} {' '.join(words)}\\n"
        if first is not None:
            said += f"trim {log} {first}\\n"
        os.write(1, said.encode())

async def main():
    async with DiskKnowledgeStore(sys.argv[1]) as store, trio.open_nursery() as nursery:
        for task in range(8):
            nursery.start_soon(write, store, task)

trio.run(main)
"""


def _write_until_killed(directory: Path, words_before_kill: int) -> list[str]:
    """Run a writer, kill it after so many acknowledgements, and return all that it made."""
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, os.fspath(directory)], stdout=subprocess.PIPE, text=True
    )
    with writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(words_before_kill)]
        writer.kill()
        # What it said between our last reading and its death counts as well.
        said += writer.stdout.readlines()
    assert writer.returncode == -signal.SIGKILL
    # A line without its end was cut in the middle of saying it.
    return [line for line in said if line.endswith("\n")]


@pytest.mark.slow
def test_what_was_acknowledged_survives_sigkill_and_the_logs_have_no_holes(tmp_path: Path) -> None:
    rng = random.Random()
    acknowledged: dict[str, dict[int, bytes]] = {f"/log/{k}": {} for k in range(3)}
    trimmed = dict.fromkeys(acknowledged, 0)
    for _ in range(_KILLS):
        for line in _write_until_killed(tmp_path, rng.randrange(1, 300)):
            log, first, *words = line.split()
            if log == "trim":
                log, first = first, *words
                trimmed[log] = int(first)
                continue
            for position, word in enumerate(words, int(first)):
                assert position not in acknowledged[log], "one place was given out twice"
                acknowledged[log][position] = word.encode()
        trio.run(_check, tmp_path, acknowledged, trimmed)


async def _check(
    directory: Path, acknowledged: dict[str, dict[int, bytes]], trimmed: dict[str, int]
) -> None:
    async with DiskKnowledgeStore(directory) as store:
        kept_words: set[bytes] = set()
        for log, kept in acknowledged.items():
            # Reads every record, and raises where one is damaged or missing in the middle.
            first = await store.first(log)
            records = await store.read_range(log, first)
            assert len(records) == await store.length(log) - first
            assert first >= trimmed[log], "what was trimmed is there again"
            assert len(records) >= first - 1, "more was trimmed than anybody asked for"
            lost = {
                place: word
                for place, word in kept.items()
                if place >= first and records[place - first : place - first + 1] != [word]
            }
            kept_words.update(records)
            assert not lost, f"acknowledged and lost in {log}: {lost}"
            assert len(set(records)) == len(records), "one record was kept twice"
        # A document is put in one batch with its records: neither is there without the other.
        for path, word in (await store.read_under("/last")).items():
            assert word in kept_words, f"{path} was kept without the records of its batch"
        assert store.health().problems == ()
