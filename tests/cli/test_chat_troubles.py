"""What can go wrong in the middle of a conversation, beside a hub that is a process."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from trio_hub import (
    AuthBlock,
    FunctionAgent,
    HubClient,
    InboxBlock,
    LimitsBlock,
    Passport,
    RateBlock,
    Rule,
    WsLink,
)
from trio_hub.client import Turn

from .program import Running, run, running
from .talking import talking

pytestmark = pytest.mark.slow


async def echo(turn: Turn) -> str:
    return f"<{turn.text}>"


@asynccontextmanager
async def hub_with_bob(
    tmp_path: Path, bob: FunctionAgent, rule: Rule | None = None
) -> AsyncIterator[tuple[Running, HubClient]]:
    async with (
        running(tmp_path, "--memory", "--port", "0") as hub,
        HubClient(WsLink(hub.url)) as us,
    ):
        await us.register(bob, rule=rule)
        yield hub, us


async def test_whoever_comes_under_the_same_name_ends_it(tmp_path: Path) -> None:
    async with (
        hub_with_bob(tmp_path, FunctionAgent("bob", echo)) as (hub, us),
        talking(hub.url, "--register") as talk,
    ):
        await talk.see("Ctrl-D leaves")
        await us.attach_human("hanna")
        assert await talk.ended() == 1
        assert "-- hanna is not here any more: another connection attached" in talk.shown


@pytest.mark.parametrize("lines", [[], ["anybody?"], ["one", "two"]])
async def test_a_hub_that_is_gone_for_too_long_ends_it(tmp_path: Path, lines: list[str]) -> None:
    async with (
        hub_with_bob(tmp_path, FunctionAgent("bob", echo)) as (hub, _us),
        talking(hub.url, "--register", "--timeout", "1") as talk,
    ):
        await talk.see("Ctrl-D leaves")
        await hub.end(signal.SIGKILL)
        await talk.see("-- the connection is lost, trying again")
        await talk.say(*lines)
        assert await talk.ended() == 1
        assert talk.shown.count("-- the hub is gone: ") == 1


async def test_who_talks_too_fast_waits_and_every_line_is_posted_once(tmp_path: Path) -> None:
    said: list[str] = []

    async def listen(turn: Turn) -> str | None:
        said.append(turn.text)
        return "done" if turn.text == "three" else None

    slowly = Rule(limits=LimitsBlock(rate=RateBlock(per_minute=60, burst=1)))
    async with hub_with_bob(tmp_path, FunctionAgent("bob", listen)) as (hub, _us):
        async with HubClient(WsLink(hub.url)) as first:
            await first.register_human(Passport(name="hanna"), rule=slowly)
        async with talking(hub.url) as talk:
            await talk.say("one", "two", "three")
            await talk.see("-- too much at once, again in ")
            await talk.see("bob: done")
            assert await talk.end() == 0
    assert said == ["one", "two", "three"]


async def test_a_line_for_whom_is_owed_too_much_waits(tmp_path: Path) -> None:
    said: list[str] = []
    go_on = trio.Event()

    async def slow(turn: Turn) -> str:
        said.append(turn.text)
        await go_on.wait()
        return f"<{turn.text}>"

    small = Rule(limits=LimitsBlock(inbox=InboxBlock(max_pending=1)))
    async with (
        hub_with_bob(tmp_path, FunctionAgent("bob", slow), small) as (hub, _us),
        talking(hub.url, "--register") as talk,
    ):
        await talk.say("one", "two")
        await talk.see("-- too much at once, again in ")
        go_on.set()
        await talk.see("bob: <two>")
        assert await talk.end() == 0
    assert said == ["one", "two"]


async def _make_key(keys: Path, name: str) -> str:
    done = await run("keys", "add", name, "--keys", keys)
    assert done.status == 0, done
    return done.stdout.strip()


async def test_a_person_comes_with_a_key_and_leaves_when_it_is_revoked(tmp_path: Path) -> None:
    keys, key_file = tmp_path / "keys.toml", tmp_path / "hanna.key"
    bobs = await _make_key(keys, "bob")
    hannas = await _make_key(keys, "hanna")
    key_file.write_text(hannas)
    async with (
        running(tmp_path, "--memory", "--port", "0", "--keys", keys) as hub,
        HubClient(WsLink(hub.url)) as us,
    ):
        auth = AuthBlock(scheme="api_key", claim={"token": bobs})
        await us.register(FunctionAgent("bob", echo), Passport(name="bob", auth=auth))
        for words, environment in (
            ((), {}),
            ((), {"TRIO_HUB_KEY": "made up"}),
            (("--key-file", _file(tmp_path / "bob.key", bobs)), {"TRIO_HUB_KEY": hannas}),
        ):
            async with talking(hub.url, "--register", *words, **environment) as talk:
                assert await talk.end() == 2
                assert "does not believe that this is hanna" in talk.shown
                assert "--key-file or TRIO_HUB_KEY" in talk.shown
        async with talking(hub.url, TRIO_HUB_KEY=hannas) as talk:
            await talk.say("hello")
            await talk.see("bob: <hello>")
            assert await talk.end() == 0
        async with talking(hub.url, "--key-file", key_file) as talk:
            await talk.see("bob: <hello>")
            await talk.see("Ctrl-D leaves")
            listed = await run("keys", "list", "--keys", keys)
            [key_id] = [row.split()[0] for row in listed.stdout.splitlines() if "hanna" in row]
            assert (await run("keys", "revoke", key_id, "--keys", keys)).status == 0
            assert await talk.ended() == 1
            assert "-- hanna is not here any more: " in talk.shown
        assert hannas not in talk.shown


def _file(path: Path, content: str) -> Path:
    path.write_text(content)
    return path
