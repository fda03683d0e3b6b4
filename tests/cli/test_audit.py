"""`audit verify` and `audit show`: what they say of a whole log, of a bad one, and of none."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

import attrs
import pytest
import trio

from trio_hub import (
    ConnectionLost,
    DiskKnowledgeStore,
    Hub,
    HubClient,
    LimitsBlock,
    Passport,
    Rule,
    WsLink,
)
from trio_hub.cli.main import main
from trio_hub.stores.disk import DATABASE_NAME

from .program import PATIENCE_SECONDS, Running, run, running

# Every command is a process.
pytestmark = pytest.mark.slow


@attrs.frozen
class Scene:
    """A data directory with five records in its audit log."""

    data: Path
    head: str
    alice_id: str


@pytest.fixture
async def scene(tmp_path: Path) -> Scene:
    data = tmp_path / "data"
    async with Hub.open(DiskKnowledgeStore(data)) as hub:
        alice = await hub.register(Passport(name="alice"))
        await hub.register(Passport(name="bob"))
        assert alice.agent_id is not None
        for depth in (1, 2, 3):
            await hub.set_rule(alice.agent_id, Rule(limits=LimitsBlock(delegation_depth=depth)))
        health = hub.health()
        assert health.audit_records == 5
    return Scene(data, health.audit_head, alice.agent_id)


def tamper(data: Path, statement: str) -> None:
    """Change the audit log behind the store's back, checksums and all."""
    with closing(sqlite3.connect(data / DATABASE_NAME)) as database, database:
        where = "place >> 32 = (SELECT log_id FROM logs WHERE path = '/audit/log')"
        assert database.execute(f"{statement} AND {where}").rowcount > 0


async def said(*words: str) -> tuple[int, str]:
    ended = await run(*words)
    assert ended.stderr == ""
    return ended.status, ended.stdout


async def test_a_whole_log_is_said_to_be_whole_with_its_head(scene: Scene) -> None:
    status, out = await said("audit", "verify", "--data", str(scene.data))
    assert status == 0
    assert out == f"5 records, all of them whole\nhead {scene.head}\n"


@pytest.mark.parametrize(
    ("statement", "first_bad"),
    [
        ("UPDATE records SET record = CAST('x' AS BLOB) WHERE place % 8 = 2", 2),
        ("UPDATE records SET record = CAST('x' AS BLOB) WHERE place % 8 = 4", 4),
    ],
)
async def test_a_log_that_was_changed_is_not_whole_and_the_record_is_named(
    scene: Scene, statement: str, first_bad: int
) -> None:
    tamper(scene.data, statement)
    status, out = await said("audit", "verify", "--data", str(scene.data))
    assert status == 1
    assert out.startswith(f"record {first_bad} is bad: ")


async def test_a_log_that_was_cut_off_does_not_hold_the_head_of_before(scene: Scene) -> None:
    words = ("audit", "verify", "--data", str(scene.data))
    status, out = await said(*words, "--head", scene.head)
    assert status == 0
    assert "0 of them are newer" in out
    tamper(scene.data, "DELETE FROM records WHERE place % 8 >= 3")
    status, out = await said(*words)
    assert (status, out.splitlines()[0]) == (0, "3 records, all of them whole")
    status, out = await said(*words, "--head", scene.head)
    assert status == 1
    assert "cut off" in out


async def test_the_log_is_shown_as_a_table_or_as_json_and_can_be_asked(scene: Scene) -> None:
    words = ("audit", "show", "--data", str(scene.data))
    status, out = await said(*words, "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [it["position"] for it in records] == [0, 1, 2, 3, 4]
    assert records[-1]["hash"] == scene.head
    _, out = await said(*words, "--kind", "rule_changed", "--limit", "2", "--json")
    assert [json.loads(line)["position"] for line in out.splitlines()] == [3, 4]
    _, out = await said(*words, "--agent", scene.alice_id)
    assert out.startswith("POSITION")
    assert len(out.splitlines()) == 5
    _, out = await said(*words, "--until", "2020-01-01T00:00:00Z")
    assert out == "no records\n"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--data", "nowhere"], "nowhere is no data directory of a hub"),
        (["--data", "{data}", "--since", "noon"], "'noon' is no time"),
        (["--data", "{data}", "--limit", "0"], "--limit"),
        ([], "--data"),
    ],
)
async def test_what_is_asked_wrongly_is_said_in_one_line(
    scene: Scene, words: list[str], complaint: str
) -> None:
    ended = await run("audit", "show", *[it.format(data=scene.data) for it in words])
    assert complaint in ended.complaint


async def test_looking_for_a_log_makes_no_store(tmp_path: Path) -> None:
    ended = await run("audit", "verify", "--data", str(tmp_path))
    assert "is no data directory" in ended.complaint
    assert os.listdir(tmp_path) == []


async def test_a_hub_that_runs_keeps_its_log_to_itself(tmp_path: Path) -> None:
    async with Hub.open(DiskKnowledgeStore(tmp_path)):
        ended = await run("audit", "verify", "--data", str(tmp_path))
    assert ended.complaint


async def register_until_killed(hub: Running, prefix: str) -> None:
    """Register agents one after another, and kill the hub over the twentieth."""
    with suppress(ConnectionLost):
        async with HubClient(WsLink(hub.url), reconnect=None) as client:
            for number in count():
                await client.register_human(Passport(name=f"{prefix}-{number}"))
                if number == 20:
                    hub.process.kill()


async def test_a_hub_that_is_killed_leaves_a_whole_chain(tmp_path: Path) -> None:
    data = tmp_path / "data"
    records = 0
    for life in range(3):
        async with running(tmp_path, "serve", "--port", "0", "--data", data) as hub:
            with trio.fail_after(PATIENCE_SECONDS):
                async with trio.open_nursery() as nursery:
                    for peer in range(3):
                        nursery.start_soon(register_until_killed, hub, f"{life}-{peer}")
        status, out = await said("audit", "verify", "--data", str(data))
        assert status == 0, out
        before, records = records, int(out.split()[0])
        assert records > before + 20


def test_the_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "audit" in capsys.readouterr().out
