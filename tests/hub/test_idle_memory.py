"""
What an agent that says nothing takes of a hub's memory: bytes that Python has, not those that the
system lends, so that they are the same everywhere. In a process of its own, where nobody else has
anything.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# A fifth above the 2,130 that it was when this was written. What the store remembers of paths, and
# has a bound, is in it.
_BYTES_MAX = 2_560

# Each has a rule that was made for it, as one that was decoded.
_PROGRAM = """
import gc, sys, tracemalloc, trio
from trio_hub import DiskKnowledgeStore, Hub, InboxBlock, LimitsBlock, Passport, Rule

async def register(hub, name):
    rule = Rule(limits=LimitsBlock(inbox=InboxBlock(max_pending=0)))
    await hub.register(Passport(name=name), rule=rule)

async def main(directory, agents):
    async with Hub.open(DiskKnowledgeStore(directory)) as hub:
        await register(hub, "first")
        gc.collect()
        tracemalloc.start()
        for number in range(agents):
            await register(hub, f"agent-{number}")
        gc.collect()
        print(tracemalloc.get_traced_memory()[0] // agents)

trio.run(main, sys.argv[1], 300)
"""


@pytest.mark.slow
def test_idle_agent_takes_little(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert 0 < int(done.stdout.split()[-1]) < _BYTES_MAX
