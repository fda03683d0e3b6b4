"""`dead-letters` and `health`, as processes that talk to a hub that is a process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from trio_hub.client import AgentClient, Channel, HubClient, Turn, default_handler
from trio_hub.links import WsLink
from trio_hub.records import EV_TEXT, AuthBlock, Envelope, Passport

from .program import PATIENCE_SECONDS, Ended, Running, run, running

# Every command is a process.
pytestmark = pytest.mark.slow

KEYS = {"ops": "s3cr3t-of-ops", "alice": "s3cr3t-of-alice", "bob": "s3cr3t-of-bob"}
WORDS = "what-nobody-else-may-read"
# As peers may say it: it would clear the terminal.
REASON = "\x1b[2Jcannot\nreally"


async def silence(_turn: Turn) -> None:
    return None


@attrs.define(eq=False)
class Scene:
    """A hub, Alice and Bob, who refuses every text until he is told not to."""

    hub: Running
    folder: Path
    bob: AgentClient
    channel: Channel
    refusing: bool = True
    taken: list[tuple[str, int]] = attrs.field(factory=list)

    async def ask(self, *words: str, name: str = "ops") -> Ended:
        """Run a command as somebody."""
        return await run(*words, "--url", self.hub.url, *self.as_(name))

    def as_(self, name: str) -> tuple[str, ...]:
        path = self.folder / f"{name}.key"
        path.write_text(KEYS[name] + "\n")
        return ("--name", name, "--key-file", str(path))

    async def dies(self, text: str) -> str:
        """Say something that Bob refuses, and return its id once it is a dead letter."""
        envelope_id = await self.channel.send(text)
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                page = await self.bob.dead_letters()
                if envelope_id in [it.envelope_id for it in page.letters]:
                    return envelope_id
                await trio.sleep(0.01)

    async def heard(self, text: str) -> int:
        """Wait until Bob has taken something, and return which attempt it was."""
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                for words, attempt in self.taken:
                    if words == text:
                        return attempt
                await trio.sleep(0.01)


def passport(name: str) -> Passport:
    return Passport(name=name, auth=AuthBlock(scheme="api_key", claim={"token": KEYS[name]}))


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    path.write_text("".join(f'{name} = "{key}"\n' for name, key in KEYS.items()))
    return path


@asynccontextmanager
async def scene(tmp_path: Path, keys: Path) -> AsyncIterator[Scene]:
    words = ("--port", "0", "--memory", "--keys", keys, "--operator", "ops")
    async with (
        running(tmp_path, *words) as hub,
        HubClient(WsLink(hub.url)) as alices,
        HubClient(WsLink(hub.url)) as bobs,
    ):
        stage: list[Scene] = []

        async def handler(envelope: Envelope, client: AgentClient, attempt: int) -> None:
            if envelope.event_type != EV_TEXT:
                await default_handler(envelope, client, attempt)
            elif stage[0].refusing:
                raise ValueError(REASON)
            else:
                stage[0].taken.append((envelope.event_data["text"], attempt))

        bob = await bobs.register(silence, passport("bob"), handler=handler)
        alice = await alices.register(silence, passport("alice"))
        channel = await alice.open(type="conversation", target="bob")
        stage.append(Scene(hub, tmp_path, bob, channel))
        yield stage[0]


async def test_an_operator_lists_reads_replays_and_discards(tmp_path: Path, keys: Path) -> None:
    async with scene(tmp_path, keys) as it:
        first = await it.ask("dead-letters", "list", "--register")
        assert (first.status, first.stdout, first.stderr) == (0, "no dead letters\n", "")
        poison, other = await it.dies(WORDS), await it.dies("something else")

        listed = await it.ask("dead-letters", "list")
        head, *rows = listed.stdout.splitlines()
        assert head.split()[:4] == ["DIED", "AT", "AGENT", "ENVELOPE"]
        assert [row.split()[1:3] for row in rows] == [["bob", poison], ["bob", other]]
        assert "\x1b" not in listed.stdout
        assert "cannot" in rows[0]
        assert WORDS not in listed.stdout

        lines = await it.ask("dead-letters", "list", "--json", "--limit", "1")
        [letter] = map(json.loads, lines.stdout.splitlines())
        assert (letter["agent"], letter["envelope_id"], letter["attempts"]) == ("bob", poison, 5)

        read = await it.ask("dead-letters", "read", poison)
        assert (read.status, WORDS in read.stdout, "\x1b" in read.stdout) == (0, True, False)
        as_json = await it.ask("dead-letters", "read", poison, "--json", "--agent", "bob")
        assert json.loads(as_json.stdout)["event_data"] == {"text": WORDS}

        it.refusing = False
        replayed = await it.ask("dead-letters", "replay", poison)
        assert (replayed.status, replayed.stdout) == (0, f"replaying {poison} of bob\n")
        assert await it.heard(WORDS) == 6

        discarded = await it.ask("dead-letters", "discard", "--all", "--agent", it.bob.agent_id)
        assert (discarded.status, other in discarded.stdout) == (0, True)
        assert (await it.ask("dead-letters", "list")).stdout == "no dead letters\n"

        gone = await it.ask("dead-letters", "replay", poison, other)
        assert (gone.status, gone.stdout) == (1, "")
        assert [poison in gone.stderr, other in gone.stderr] == [True, True]
        ended = await it.hub.end()
    said = ended.stderr + "".join(one.stdout + one.stderr for one in (first, listed, read, gone))
    assert not any(key in said for key in KEYS.values())


async def test_who_is_no_operator_sees_its_own_letters_only(tmp_path: Path, keys: Path) -> None:
    async with scene(tmp_path, keys) as it:
        await it.dies(WORDS)
        own = await it.ask("dead-letters", "list", "--agent", "alice", name="alice")
        assert (own.status, own.stdout) == (0, "no dead letters\n")
        for words in ((), ("--agent", "bob")):
            ended = await it.ask("dead-letters", "list", *words, name="alice")
            assert "alice is no operator" in ended.complaint
        assert "alice is no operator" in (await it.ask("health", name="alice")).complaint


async def test_a_command_settles_nothing_for_the_name_that_it_borrows(
    tmp_path: Path, keys: Path
) -> None:
    async with scene(tmp_path, keys) as it:
        it.refusing = False
        ended = await it.ask("dead-letters", "list", "--agent", "bob", name="bob")
        assert ended.status == 0
        # Bob's program was told that it lost the name, and gets what it is owed when it is back.
        envelope_id = await it.channel.send("later")
        ended = await it.ask("dead-letters", "list", "--agent", "bob", name="bob")
        assert ended.status == 0
        async with HubClient(WsLink(it.hub.url)) as bobs:
            got = trio.Event()

            async def handler(envelope: Envelope, _client: AgentClient, _attempt: int) -> None:
                if envelope.envelope_id == envelope_id:
                    got.set()

            await bobs.attach(silence, "bob", passport=passport("bob"), handler=handler)
            with trio.fail_after(PATIENCE_SECONDS):
                await got.wait()


async def test_health_is_for_operators_and_has_a_status(tmp_path: Path, keys: Path) -> None:
    async with scene(tmp_path, keys) as it:
        shown = await it.ask("health", "--register")
        assert shown.status == 0
        assert ["agents", "3"] in [line.split() for line in shown.stdout.splitlines()]
        health = json.loads((await it.ask("health", "--json")).stdout)
        assert (health["ok"], health["agents"], health["store"]["ok"]) == (True, 3, True)


async def test_what_keeps_an_operator_out_is_said_in_one_line(tmp_path: Path, keys: Path) -> None:
    async with running(
        tmp_path, "--port", "0", "--memory", "--keys", keys, "--operator", "ops"
    ) as hub:
        asked = ("dead-letters", "list", "--url", hub.url, "--name", "ops")
        assert "--register" in (await run(*asked)).complaint
        assert "--key-file" in (await run(*asked, "--register")).complaint
        wrong = tmp_path / "wrong"
        wrong.write_text("guess")
        ended = await run(*asked, "--register", "--key-file", wrong)
        assert "does not believe" in ended.complaint
        assert "guess" not in ended.complaint
        wrong.write_text(KEYS["ops"])
        assert (await run(*asked, "--register", "--key-file", wrong)).status == 0
        ended = await run(*asked, "--key-file", wrong, "--agent", "nobody")
        assert "--agent" in ended.complaint
        await hub.end()
        assert hub.url in (await run(*asked, "--key-file", wrong)).complaint


async def test_operators_need_keys_or_somebody_who_insists(tmp_path: Path) -> None:
    words = ("--port", "0", "--memory", "--operator", "ops")
    assert "--keys" in (await run(*words)).complaint
    async with running(tmp_path, *words, "--allow-unauthenticated-operators") as hub:
        ended = await run("health", "--url", hub.url, "--name", "ops", "--register")
        assert ended.status == 0
