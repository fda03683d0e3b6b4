"""`rules`, as a process that talks to a hub that is a process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trio_hub import AccessBlock, AccessDeniedError, HubClient, LimitsBlock, Rule, WsLink
from trio_hub.cli import main
from trio_hub.client import ScriptedAgent
from trio_hub.records import AuthBlock, Passport

from .program import Ended, run, running

KEYS = {"ops": "s3cr3t-of-ops", "alice": "s3cr3t-of-alice", "bob": "s3cr3t-of-bob"}


def passport(name: str) -> Passport:
    return Passport(name=name, auth=AuthBlock(scheme="api_key", claim={"token": KEYS[name]}))


def rows(ended: Ended) -> dict[str, list[str]]:
    assert (ended.status, ended.stderr) == (0, ""), ended
    return {words[0]: words[1:] for words in map(str.split, ended.stdout.splitlines()[1:])}


@pytest.mark.slow
async def test_an_operator_sets_reads_lists_and_clears_rules(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text("".join(f'{name} = "{key}"\n' for name, key in KEYS.items()))
    key_file = tmp_path / "ops.key"
    key_file.write_text(KEYS["ops"] + "\n")
    words = ("--port", "0", "--memory", "--keys", keys, "--operator", "ops")
    async with running(tmp_path, *words) as hub, HubClient(WsLink(hub.url)) as client:

        async def ask(*words: str) -> Ended:
            as_ops = ("--url", hub.url, "--name", "ops", "--key-file", str(key_file))
            return await run("rules", *words, *as_ops)

        missing = await ask("clear", "alice", "--register")
        assert (missing.status, "nothing for alice" in missing.stderr) == (1, True)

        done = await ask(
            "set", "alice", "outbound_to=b*, c*", "delegation_depth=2", "per_minute=60"
        )
        assert (done.status, done.stdout, done.stderr) == (0, "set for alice\n", "")
        own = Rule(access=AccessBlock(outbound_to=("bob",)), limits=LimitsBlock(delegation_depth=9))
        alice = await client.register(ScriptedAgent("alice", []), passport("alice"), rule=own)
        await client.register(ScriptedAgent("bob", []), passport("bob"))

        shown = await ask("get", "alice")
        assert shown.stdout.split("\n")[0].split() == ["FIELD", "OPERATORS", "AGENT", "IN", "FORCE"]
        table = rows(shown)
        assert table["outbound_to"] == ["b*,c*", "bob", "bob", "and", "b*,c*"]
        assert table["inbound_from"] == ["-", "*", "*"]
        assert table["delegation_depth"] == ["2", "9", "2"]
        assert table["per_minute"] == ["60", "0", "60"]
        assert table["channel_ttl_max"] == ["-", "2h", "2h"]

        # Only what is named is changed, and taken back by nothing.
        several = ("channel_ttl_max=1h", "per_minute=", "initiate=[]", "overflow=reject")
        assert (await ask("set", "alice", *several)).status == 0
        table = rows(await ask("get", "alice"))
        assert table["channel_ttl_max"] == ["1h", "2h", "1h"]
        assert table["per_minute"] == ["-", "0", "0"]
        assert table["initiate"] == ["[]", "*", "[]"]
        with pytest.raises(AccessDeniedError, match="initiate"):
            await alice.open(type="conversation", target="bob")

        lonely = await ask("set", "alice", "burst=3")
        assert "per_minute" in lonely.complaint
        assert (await ask("set", "alice", "burst=3", "per_minute=5", "--replace")).status == 0
        assert rows(await ask("list")) == {"alice": ["per_minute=5", "burst=3"]}
        as_json = json.loads((await ask("get", "alice", "--json")).stdout)
        assert as_json["agent"]["limits"]["delegation_depth"] == 9
        assert as_json["operators"]["access"]["outbound_to"] is None
        assert as_json["in_force"]["limits"]["rate"] == {"per_minute": 5, "burst": 3}

        cleared = await ask("clear", "alice")
        assert (cleared.status, cleared.stdout) == (0, "cleared for alice\n")
        await alice.open(type="conversation", target="bob")

        id_instead = await ask("set", alice.agent_id, "delegation_depth=1")
        assert "is no name" in id_instead.complaint


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("colour=red", "FIELD=VALUE"),
        ("per_minute", "FIELD=VALUE"),
        ("per_minute=many", "whole number"),
        ("delegation_depth=-1", "delegation_depth"),
        ("channel_ttl_max=soon", "soon"),
        ("overflow=shout", "overflow"),
    ],
)
def test_what_makes_no_sense_is_said_before_anybody_is_asked(
    word: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rules", "set", "alice", "--name", "ops", word]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert named in line
