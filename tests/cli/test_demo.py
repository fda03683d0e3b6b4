"""The demonstration: it says that it happened only if it did, and leaves nobody behind."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess

import pytest
import trio
from rich.console import Console

from trio_hub.cli.demo.screen import TableScreen

from .program import PATIENCE_SECONDS, command, run


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
async def test_demo_kills_two_processes_and_shows_that_nothing_was_lost() -> None:
    ended = await run("demo")
    assert ended.status == 0, ended
    lines = ended.stdout.splitlines()
    checks = [line for line in lines if "  check  " in line]
    assert len(checks) == 8
    assert all("check  ok: " in line for line in checks)
    killed = [line for line in lines if "kill -9" in line]
    assert ["bob" in killed[0], "hub" in killed[1]] == [True, True]
    # The question comes to the second bob again, and only then an answer to alice.
    again = next(i for i, line in enumerate(lines) if "same question again" in line)
    heard = [i for i, line in enumerate(lines) if "alice  hears" in line]
    assert again < heard[0]
    assert len(heard) == 2
    assert lines[-1] == "It truly happened: all 8 checks hold."
    pids = [int(pid) for pid in re.findall(r"\(pid (\d+)\)", ended.stdout)]
    assert len(set(pids)) == 5
    assert all(map(is_gone, pids))


async def test_demo_fails_where_the_story_does_not_come_to_its_end() -> None:
    ended = await run("demo", "--patience", "0.01")
    assert ended.status == 1
    assert "FAILED: it ends within 0.01 s" in ended.stdout
    assert "It truly happened" not in ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "moment"),
    [(signal.SIGINT, b"registered"), (signal.SIGTERM, b"listening")],
    ids=["Ctrl-C", "SIGTERM"],
)
async def test_interrupted_demo_ends_its_processes(number: int, moment: bytes) -> None:
    process = await trio.lowlevel.open_process(
        command("demo"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    said = b""
    with trio.fail_after(PATIENCE_SECONDS):
        async with process.stdout:
            while moment not in said:
                said += await process.stdout.receive_some()
            process.send_signal(number)
            async for chunk in process.stdout:
                said += chunk
        assert await process.wait() == 128 + number
    pids = [int(pid) for pid in re.findall(rb"\(pid (\d+)\)", said)]
    assert pids
    assert all(map(is_gone, pids))


@pytest.mark.parametrize("holds", [True, False], ids=["true", "false"])
def test_table_in_a_terminal_shows_events_checks_and_the_verdict(holds: bool) -> None:
    shown = io.StringIO()
    with TableScreen.open(Console(file=shown, force_terminal=True, width=100)) as screen:
        screen.tell("alice", "asks bob: [bold]why?[/bold]")
        screen.check("the first claim", True)
        screen.check("the second claim", holds)
        assert screen.conclude() == (0 if holds else 1)
    assert "asks bob: [bold]why?[/bold]" in shown.getvalue()
    assert "the second claim" in shown.getvalue()
    assert ("It truly happened" in shown.getvalue()) is holds
    assert ("1 of 2 checks do not hold" in shown.getvalue()) is not holds


def test_a_demo_without_a_check_has_not_shown_anything() -> None:
    with TableScreen.open(Console(file=io.StringIO(), force_terminal=True)) as screen:
        assert screen.conclude() == 1
