"""`agents`, as a process that talks to a hub that is a process."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import trio

from trio_hub import AuthError, HubClient, WsLink
from trio_hub.cli import main
from trio_hub.client import IdentityChange, ScriptedAgent, StateChange
from trio_hub.records import AuthBlock, Passport

from .program import PATIENCE_SECONDS, Ended, run, running

KEYS = {"ops": "s3cr3t-of-ops", "alice": "s3cr3t-of-alice"}


def passport(name: str) -> Passport:
    return Passport(name=name, auth=AuthBlock(scheme="api_key", claim={"token": KEYS[name]}))


@pytest.mark.slow
async def test_an_operator_shuts_an_agent_out_over_a_kill_and_lets_it_come_again(
    tmp_path: Path,
) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text("".join(f'{name} = "{key}"\n' for name, key in KEYS.items()))
    key_file = tmp_path / "ops.key"
    key_file.write_text(KEYS["ops"] + "\n")
    words = ("--data", tmp_path / "data", "--keys", keys, "--operator", "ops", "--port")

    async def ask(*words: str, url: str) -> Ended:
        return await run("agents", *words, "--url", url, "--name", "ops", "--key-file", key_file)

    async with running(tmp_path, *words, "0") as hub:
        missing = await ask("reinstate", "alice", "--register", url=hub.url)
        assert (missing.status, missing.stdout) == (1, "alice was not revoked\n")
        assert (await ask("revoked", url=hub.url)).stdout == "nobody is revoked\n"

        async with HubClient(WsLink(hub.url)) as client:
            alice = await client.register(ScriptedAgent("alice", []), passport("alice"))
            told = trio.Event()

            def notice(change: StateChange | IdentityChange) -> None:
                if isinstance(change, IdentityChange) and change.what == "detached":
                    told.set()

            # What is asked before it is told is refused in other words.
            with client.observed_by(notice):
                done = await ask(
                    "revoke", "alice", "--reason", "her laptop was stolen", url=hub.url
                )
                with trio.fail_after(PATIENCE_SECONDS):
                    await told.wait()
            assert (done.status, done.stdout, done.stderr) == (0, "revoked alice\n", "")
            with pytest.raises(AuthError, match="her laptop was stolen"):
                await alice.open(type="conversation", target="ops")
        # The answer was on disk: nothing is gone though nobody could tidy up.
        await hub.end(signal.SIGKILL)

    async with running(tmp_path, *words, "0") as hub, HubClient(WsLink(hub.url)) as client:
        with pytest.raises(AuthError, match="her laptop was stolen"):
            await client.attach(ScriptedAgent("alice", []), "alice", passport=passport("alice"))
        shown = await ask("revoked", url=hub.url)
        assert shown.stdout.splitlines()[0].split() == ["AGENT", "SINCE", "BY", "REASON"]
        assert shown.stdout.splitlines()[1].endswith("  ops  her laptop was stolen")
        as_json = json.loads((await ask("revoked", "--json", url=hub.url)).stdout)
        assert (as_json["name"], as_json["by"]) == ("alice", "ops")

        done = await ask("reinstate", "alice", url=hub.url)
        assert (done.status, done.stdout) == (0, "reinstated alice\n")
        alice = await client.attach(ScriptedAgent("alice", []), "alice", passport=passport("alice"))

        id_instead = await ask("revoke", alice.agent_id, "--reason", "x", url=hub.url)
        assert "is no name" in id_instead.complaint
        nobody = await ask("revoke", "ops", "--reason", "x", url=hub.url)
        assert "another operator" in nobody.complaint


def test_a_reason_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agents", "revoke", "alice", "--name", "ops"]) == 2
    assert "--reason" in capsys.readouterr().err
