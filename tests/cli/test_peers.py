"""`peers`, as a person types it, beside a hub that is a process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trio_hub import FunctionAgent, HubClient, Passport, Resume, TaskState, WsLink
from trio_hub.client import Turn

from .program import Ended, run, running

pytestmark = pytest.mark.slow

PAGE = "---\nname: law\ndescription: Tenancy.\n---\nAsk me.\x1b[2J"


async def _silent(_turn: Turn) -> None:
    return None


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a hub with two agents."""
    async with (
        running(tmp_path, "--memory", "--port", "0") as hub,
        HubClient(WsLink(hub.url)) as us,
    ):
        bob = await us.register(
            FunctionAgent("bob", _silent),
            Passport(name="bob"),
            Resume(claimed_capabilities=("law",), summary="Lawyer.\x1b[2J"),
            skill_md=PAGE,
        )
        for latency_ms in (10, 15, 20):
            await us.record_observation(
                owner_id=bob.agent_id,
                capability="law",
                outcome=TaskState.COMPLETED,
                latency_ms=latency_ms,
            )
        await us.register(FunctionAgent("carol", _silent))
        yield hub.url


async def peers(url: str, action: str, *words: str) -> Ended:
    return await run("peers", action, *words, "--url", url, "--name", "desk", "--register")


async def test_who_there_is_is_listed(url: str) -> None:
    ended = await peers(url, "find")
    assert (ended.status, ended.stderr) == (0, "")
    header, bob, carol = ended.stdout.splitlines()
    assert header.split() == [
        "NAME",
        "KIND",
        "CAPABILITIES",
        "TASKS",
        "SUCCESS",
        "MEDIAN",
        "SUMMARY",
    ]
    assert bob.split()[:7] == ["bob", "agent", "law", "3", "100%", "0.015", "s"]
    assert carol.split() == ["carol", "agent", "0"]
    # Nothing that a peer wrote moves the cursor.
    assert "\x1b" not in ended.stdout
    assert (await peers(url, "find", "--capability", "tax")).stdout == "nobody\n"
    [line] = (await peers(url, "find", "--text", "LAWYER", "--json")).stdout.splitlines()
    assert json.loads(line)["track_record"]["n"] == 3


async def test_one_of_them_is_described(url: str) -> None:
    ended = await peers(url, "describe", "bob")
    assert (ended.status, ended.stderr) == (0, "")
    assert "skill    Tenancy.\n" in ended.stdout
    assert "law       3      100%     0.015 s  0.02 s" in ended.stdout
    assert ended.stdout.endswith("\nAsk me.\\x1b[2J\n")
    [line] = (await peers(url, "describe", "bob", "--json")).stdout.splitlines()
    assert json.loads(line)["skill"]["metadata"] == {"name": "law", "description": "Tenancy."}


async def test_nobody_of_that_name_is_a_status(url: str) -> None:
    ended = await peers(url, "describe", "nobody")
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr == "trio_hub: no agent 'nobody' is registered\n"


async def test_who_looks_around_has_to_be_somebody(url: str) -> None:
    ended = await run("peers", "find", "--url", url, "--name", "stranger")
    assert "nobody named 'stranger' is registered" in ended.complaint
