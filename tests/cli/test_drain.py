"""`drain`: an operator elsewhere ends a hub that is a process, and nothing is lost by that."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from trio_hub.client import HubClient, Reconnect, Turn
from trio_hub.links import WsLink
from trio_hub.records import AuthBlock, Passport

from .program import PATIENCE_SECONDS, run, running

# Every command is a process.
pytestmark = pytest.mark.slow

KEYS = {name: f"s3cr3t-of-{name}" for name in ("ops", "alice", "bob", "eve")}


async def silence(_turn: Turn) -> None:
    return None


def passport(name: str) -> Passport:
    return Passport(name=name, auth=AuthBlock(scheme="api_key", claim={"token": KEYS[name]}))


async def test_an_operator_ends_a_hub_and_its_clients_come_back_to_the_next(tmp_path: Path) -> None:
    keys, key = tmp_path / "keys.toml", tmp_path / "ops.key"
    keys.write_text("".join(f'{name} = "{key}"\n' for name, key in KEYS.items()))
    key.write_text(KEYS["ops"])
    words = ("--data", tmp_path / "data", "--keys", keys, "--operator", "ops", "--port")
    as_ops = ("--name", "ops", "--key-file", key)
    async with running(tmp_path, *words, "0") as hub:
        link = WsLink(hub.url)
        async with HubClient(link, reconnect=Reconnect(give_up_after_seconds=None)) as client:
            alice = await client.register(silence, passport("alice"))
            await client.register(silence, passport("bob"))
            channel = await alice.open(type="conversation", target="bob")
            said = await channel.send("before")

            eves = tmp_path / "eve.key"
            eves.write_text(KEYS["eve"])
            as_eve = ("--name", "eve", "--key-file", eves, "--register")
            refused = await run("drain", "--url", hub.url, *as_eve)
            assert refused.status == 2
            assert "no operator" in refused.complaint

            done = await run("drain", "--url", hub.url, *as_ops, "--register")
            assert (done.status, done.stderr) == (0, "")
            assert done.stdout == f"the hub at {hub.url} drains\n"
            with trio.fail_after(PATIENCE_SECONDS):
                assert await hub.process.wait() == 0
            assert "an operator asked for it" in hub.log

            async with running(tmp_path, *words, str(hub.port)):
                again = await channel.send("after")
                log = await client.read_wal(channel.channel_id)
                assert [it.envelope_id for it in log if it.text] == [said, again]
