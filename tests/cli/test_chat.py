"""`chat` line by line, beside a hub that is a process; see `test_chat_terminal`, too."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from trio_hub import FunctionAgent, HubClient, WsLink
from trio_hub.client import Turn

from .program import PATIENCE_SECONDS, Ended, Running, command, run, running

pytestmark = pytest.mark.slow


async def answer(turn: Turn) -> str:
    return f"About {turn.text}:\nthirty \x1b[2Jdays."


@asynccontextmanager
async def hub_with_bob(tmp_path: Path) -> AsyncIterator[tuple[Running, HubClient]]:
    async with (
        running(tmp_path, "--memory", "--port", "0") as hub,
        HubClient(WsLink(hub.url)) as us,
    ):
        await us.register(FunctionAgent("bob", answer))
        yield hub, us


async def chat(url: str, typed: str, *words: str) -> Ended:
    with trio.fail_after(PATIENCE_SECONDS):
        done = await trio.run_process(
            command("chat", "--url", url, "--name", "hanna", *words),
            stdin=typed.encode(),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


async def test_what_is_piped_is_answered_and_shown_again_the_next_time(tmp_path: Path) -> None:
    said = "bob: About refunds:\n  thirty \\x1b[2Jdays.\n"
    async with hub_with_bob(tmp_path) as (hub, _us):
        first = await chat(hub.url, "refunds", "--to", "bob", "--register")
        assert (first.status, first.stdout) == (0, said), first
        again = await chat(hub.url, "", "--to", "bob")
        assert (again.status, again.stdout) == (0, f"hanna: refunds\n{said}"), again
        other = await chat(hub.url, "", "--to", "bob", "--new")
        assert (other.status, other.stdout) == (0, ""), other


async def test_no_answer_in_time_is_status_1(tmp_path: Path) -> None:
    async def think(_turn: Turn) -> None:
        await trio.sleep_forever()

    async with hub_with_bob(tmp_path) as (hub, us):
        await us.register(FunctionAgent("slow", think))
        ended = await chat(hub.url, "?\n", "--to", "slow", "--register", "--timeout", "1")
        assert ended.status == 1
        assert "-- slow has the word\n" in ended.stderr
        assert "-- slow gave no answer within 1 s\n" in ended.stderr


async def test_who_cannot_talk_is_told_in_one_line(tmp_path: Path) -> None:
    async with hub_with_bob(tmp_path) as (hub, us):
        await us.register(FunctionAgent("robot", answer))
        for words, complaint in (
            (("--name", "nobody", "--to", "bob"), "nobody is named 'nobody'"),
            (("--name", "robot", "--to", "bob"), "'robot' is of the kind 'agent'"),
            (("--name", "ina", "--register", "--to", "ina"), "takes two"),
            (("--name", "ina", "--register", "--to", "eve"), "eve"),
            (("--name", "ina", "--to", "bob", "--timeout", "0"), "--timeout 0 is not a time"),
            (("--name", "ina", "--to", "bob", "--history", "-1"), "--history -1"),
        ):
            assert complaint in (await run("chat", "--url", hub.url, *words)).complaint


@pytest.mark.parametrize(("key", "status"), [(b"\x04", 0), (b"\x03", 130)])
async def test_line_by_line_in_a_terminal_keys_end_it(
    tmp_path: Path, key: bytes, status: int
) -> None:
    async with hub_with_bob(tmp_path) as (hub, _us):
        ours, theirs = pty.openpty()
        process = await trio.lowlevel.open_process(
            [
                *("setsid", "--ctty"),
                *command("chat", "--url", hub.url, "--name", "hanna", "--register", "--to", "bob"),
                "--plain",
            ],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        shown = b""
        try:
            with trio.fail_after(PATIENCE_SECONDS):
                for expected, typed in ((b"Ctrl-D leaves", b"refunds\n"), (b"days.", key)):
                    while expected not in shown:
                        await trio.lowlevel.wait_readable(ours)
                        shown += os.read(ours, 4096)
                    os.write(ours, typed)
                assert await process.wait() == status
        finally:
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    process.send_signal(signal.SIGKILL)
                await process.wait()
            os.close(ours)


async def test_a_conversation_that_is_closed_ends_it(tmp_path: Path) -> None:
    async with hub_with_bob(tmp_path) as (hub, us):
        process = await trio.lowlevel.open_process(
            command("chat", "--url", hub.url, "--name", "hanna", "--register", "--to", "bob"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stderr is not None
        shown = b""
        try:
            with trio.fail_after(PATIENCE_SECONDS):
                async for chunk in process.stderr:
                    shown += chunk
                    if b"Ctrl-D leaves\n" in shown and b"ended" not in shown:
                        [channel] = await us.list_channels()
                        await us.close_channel(channel.channel_id, reason="enough")
                assert await process.wait() == 1
        finally:
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.wait()
                await process.stdin.aclose()
                await process.stderr.aclose()
        assert b"-- the conversation has ended: enough\n" in shown


async def test_a_line_typed_while_the_hub_is_away_is_answered_when_it_is_back(
    tmp_path: Path,
) -> None:
    data = ("--data", tmp_path / "data")
    shown = b""
    async with running(tmp_path, *data, "--port", "0") as hub:
        url, port = hub.url, str(hub.port)
        async with HubClient(WsLink(url)) as us:
            await us.register(FunctionAgent("bob", answer))
            process = await trio.lowlevel.open_process(
                command("chat", "--url", url, "--name", "hanna", "--register", "--to", "bob"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            try:
                with trio.fail_after(PATIENCE_SECONDS):
                    while b"Ctrl-D leaves" not in shown:
                        shown += await process.stderr.receive_some()
                    await hub.end(signal.SIGKILL)
                    while b"-- the connection is lost" not in shown:
                        shown += await process.stderr.receive_some()
                    await process.stdin.send_all(b"refunds\n")
                    await process.stdin.aclose()
                    async with running(tmp_path, *data, "--port", port):
                        answers = b"".join([chunk async for chunk in process.stdout])
                        assert await process.wait() == 0
                        shown += b"".join([chunk async for chunk in process.stderr])
            finally:
                with trio.CancelScope(shield=True):
                    if process.returncode is None:
                        process.kill()
                    await process.wait()
                    await process.stdin.aclose()
                    await process.stdout.aclose()
                    await process.stderr.aclose()
    assert answers.count(b"bob: About refunds:") == 1
    assert b"-- connected again\n" in shown
