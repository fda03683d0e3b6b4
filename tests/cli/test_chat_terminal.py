"""`chat` in a terminal of its own, beside a hub that is a process."""

from __future__ import annotations

import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from trio_hub import DeliveryRule, FunctionAgent, HubClient, WsLink
from trio_hub.client import Turn

from .program import PATIENCE_SECONDS, command, running
from .terminal import Terminal, at_terminal

pytestmark = pytest.mark.slow


@asynccontextmanager
async def chat(tmp_path: Path, url: str, *words: str) -> AsyncIterator[Terminal]:
    line = command(
        *("chat", "--url", url, "--name", "hanna", "--to", "bob", "--register"),
        *words,
    )
    async with at_terminal(line, XDG_STATE_HOME=str(tmp_path)) as terminal:
        yield terminal


@asynccontextmanager
async def hub_with(tmp_path: Path, bob: FunctionAgent) -> AsyncIterator[tuple[str, HubClient]]:
    async with (
        running(tmp_path, "--memory", "--port", "0") as hub,
        HubClient(WsLink(hub.url)) as us,
    ):
        await us.register(bob)
        yield hub.url, us


async def _answer(turn: Turn) -> str:
    return f"About {turn.text}:\nthirty days."


BOB = FunctionAgent("bob", _answer)


async def test_words_stand_above_the_line_and_who_has_the_word_between(tmp_path: Path) -> None:
    asked, answered = trio.Event(), trio.Event()

    async def think(turn: Turn) -> str:
        asked.set()
        await answered.wait()
        return f"About {turn.text}:\nthirty days."

    async with (
        hub_with(tmp_path, FunctionAgent("bob", think)) as (url, _us),
        chat(tmp_path, url) as terminal,
    ):
        await terminal.see("Ctrl-D leaves", " live")
        await terminal.write("refunds\r")
        await asked.wait()
        await terminal.see_lines("hanna: refunds", " live | bob is at work", "hanna:")
        # What is being typed stays where it is, also when it is put in the background.
        await terminal.write_and_see_it_drawn("\x1a")
        await terminal.write("thank you")
        await terminal.see_lines(" live | bob is at work", "hanna: thank you")
        answered.set()
        await terminal.see_lines(
            "hanna: refunds", "bob: About refunds:", "  thirty days.", " live", "hanna: thank you"
        )
        await terminal.write("\x15\x04")
        assert await terminal.end() == 0


async def test_it_shows_what_becomes_of_a_question(tmp_path: Path) -> None:
    said: list[str] = []

    async def moody(turn: Turn) -> str | None:
        said.append(turn.text)
        if turn.text == "fail":
            raise ValueError("not today")
        return None

    async with (
        running(tmp_path, "--memory", "--port", "0") as hub,
        HubClient(WsLink(hub.url)) as watching,
        HubClient(WsLink(hub.url)) as us,
    ):
        bob = await us.register(FunctionAgent("bob", moody))
        await us.set_delivery_rule(bob.agent_id, DeliveryRule(max_attempts=2))
        async with chat(tmp_path, hub.url) as terminal:
            await terminal.see_lines(" live", "hanna:")
            await terminal.write("fail\r")
            await terminal.see_lines(" live | bob failed, and does not try again", "hanna:")
            await terminal.write("hello\r")
            await terminal.see_lines(" live | bob has read it, and has not answered", "hanna:")
            assert said == ["fail", "fail", "hello"]
            await us.close()
            await terminal.write("anybody there?\r")
            await terminal.see_lines(" live | bob is away", "hanna:")
            await watching.attach(FunctionAgent("bob", _answer), "bob")
            await terminal.see("bob: About anybody there?:")
            await terminal.see_lines(" live", "hanna:")
            await terminal.write("\x04")
            assert await terminal.end() == 0


@pytest.mark.parametrize("text", ["", "half a line"])
@pytest.mark.parametrize("how", ["ctrl-c", "ctrl-d", "sigterm"])
async def test_it_can_be_left_and_the_terminal_is_as_before(
    tmp_path: Path, how: str, text: str
) -> None:
    async with hub_with(tmp_path, BOB) as (url, _us), chat(tmp_path, url) as terminal:
        await terminal.see("Ctrl-D leaves", " live")
        await terminal.write(text)
        await terminal.see_lines(f"hanna: {text}".rstrip())
        match how:
            case "ctrl-c":
                await terminal.write("\x03")
                assert await terminal.end() == 130
            case "ctrl-d":
                # It ends an empty line only, as in a shell.
                await terminal.write("\x04" if not text else "\x15\x04")
                assert await terminal.end() == 0
            case "sigterm":
                terminal.process.send_signal(signal.SIGTERM)
                assert await terminal.end() == 128 + signal.SIGTERM


async def test_what_an_agent_says_does_nothing_to_the_terminal(tmp_path: Path) -> None:
    hostile = {
        "clear": ("\x1b[2J\x1b[H", r"\x1b[2J\x1b[H"),
        "title": ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        "clipboard": ("\x1b]52;c;b3duZWQ=\x1b\\", r"\x1b]52;c;b3duZWQ=\x1b\ "[:-1]),
        "one byte": ("\x9b2J\x90q\x9c", r"\x9b2J\x90q\x9c"),
        "right to left": ("\u202eevil\u2066", r"\u202eevil\u2066"),
        "back": ("\b\b\b\x7f\x00", r"\x08\x08\x08\x7f\x00"),
    }
    text = "\n".join(f"{what} {sent} end" for what, (sent, _) in hostile.items())

    async def attack(_turn: Turn) -> str:
        return f"{text}\rhanna: I agree\ntab\tand\xa0space\u200d"

    async with (
        hub_with(tmp_path, FunctionAgent("bob", attack)) as (url, _us),
        chat(tmp_path, url) as terminal,
    ):
        await terminal.see("Ctrl-D leaves", " live")
        await terminal.write("hello\r")
        expected = [f"  {what} {shown} end" for what, (_, shown) in hostile.items()]
        expected[0] = f"bob: {expected[0].lstrip()}"
        await terminal.see_lines(
            "hanna: hello",
            *expected,
            "  hanna: I agree",
            "  tab and space",
            " live",
            "hanna:",
        )
        # What only joins letters is left as it is.
        assert "space\u200d".encode() in terminal.raw
        for sent, _ in hostile.values():
            for character in set(sent) - set(map(chr, range(32, 127))) - {"\x1b", "\b", "\x00"}:
                assert character.encode() not in terminal.raw, repr(character)
        for sequence in (b"\x1b[2J", b"\x1b[H", b"\x1b]", b"\x07"):
            assert sequence not in terminal.raw
        await terminal.write("\x04")
        assert await terminal.end() == 0


async def test_a_lost_connection_shows_and_what_is_typed_meanwhile_is_answered(
    tmp_path: Path,
) -> None:
    data = ("--data", tmp_path / "data")
    async with running(tmp_path, *data, "--port", "0") as hub:
        url, port = hub.url, str(hub.port)
        async with HubClient(WsLink(url)) as us, chat(tmp_path, url) as terminal:
            await us.register(BOB)
            await terminal.see("Ctrl-D leaves", " live")
            await hub.end(signal.SIGKILL)
            await terminal.see("-- the connection is lost", " reconnecting")
            await terminal.write("refunds\r")
            async with running(tmp_path, *data, "--port", port):
                await terminal.see("-- connected again", "bob: About refunds:")
                await terminal.see_lines(" live", "hanna:")
                await terminal.write("\x04")
                assert await terminal.end() == 0
        assert terminal.raw.count(b"About refunds:") == 1


async def test_a_terminal_that_takes_nothing_holds_up_nothing(tmp_path: Path) -> None:
    async def flood(_turn: Turn) -> str:
        return "all work and no play\n" * 20_000

    async with (
        hub_with(tmp_path, FunctionAgent("bob", flood)) as (url, _us),
        chat(tmp_path, url) as terminal,
    ):
        await terminal.see("Ctrl-D leaves", " live")
        await terminal.write("go\r")
        # From here on nobody reads.
        await terminal.is_full()
        terminal.process.send_signal(signal.SIGTERM)
        with trio.fail_after(PATIENCE_SECONDS):
            assert await terminal.process.wait() == 128 + signal.SIGTERM
        assert terminal.modes_are_as_before


async def test_another_size_of_the_window(tmp_path: Path) -> None:
    async with hub_with(tmp_path, BOB) as (url, _us), chat(tmp_path, url) as terminal:
        await terminal.see("Ctrl-D leaves", " live")
        await terminal.write("x" * 40)
        await terminal.see_lines(f"hanna: {'x' * 40}")
        terminal.resize(columns=30)
        await terminal.see_lines(" live", f"hanna: {'x' * 23}", "x" * 17)
        await terminal.write("\r")
        await terminal.see_lines("  thirty days.", " live", "hanna:")
        await terminal.write("\x04")
        assert await terminal.end() == 0


async def test_typed_lines_are_there_the_next_time_and_nobody_else_can_read_them(
    tmp_path: Path,
) -> None:
    kept = tmp_path / "trio_hub" / "chat-history"
    async with hub_with(tmp_path, BOB) as (url, _us):
        async with chat(tmp_path, url) as terminal:
            await terminal.see("Ctrl-D leaves", " live")
            await terminal.write("refunds\r")
            await terminal.see("bob: About refunds:")
            await terminal.write("\x04")
            assert await terminal.end() == 0
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        kept.chmod(0o644)
        before = kept.read_bytes()
        async with chat(tmp_path, url) as terminal:
            # What was said stands there at once.
            await terminal.see("hanna: refunds", "bob: About refunds:", " live")
            await terminal.write("\x1b[A!")
            await terminal.see("hanna: refunds!")
            await terminal.write("\x03")
            assert await terminal.end() == 130
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        async with chat(tmp_path, url, "--forget") as terminal:
            await terminal.see("Ctrl-D leaves", " live")
            await terminal.write("secret\r")
            await terminal.see("bob: About secret:")
            await terminal.write("\x04")
            assert await terminal.end() == 0
        assert kept.read_bytes() == before


async def test_lines_that_cannot_be_kept_cost_a_remark(tmp_path: Path) -> None:
    (tmp_path / "trio_hub").write_text("no folder")
    async with hub_with(tmp_path, BOB) as (url, _us), chat(tmp_path, url) as terminal:
        await terminal.see("-- what you type is not kept: ", " live")
        await terminal.write("refunds\r")
        await terminal.see("bob: About refunds:")
        await terminal.write("\x04")
        assert await terminal.end() == 0


async def test_a_hub_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    async with chat(tmp_path, "ws://127.0.0.1:1") as terminal:
        assert await terminal.end() == 2
        complaint = "".join(terminal.lines)
        assert "trio_hub: no connection to the hub at ws://127.0.0.1:1" in complaint


async def test_whoever_waits_for_the_other_can_leave(tmp_path: Path) -> None:
    async with hub_with(tmp_path, BOB) as (url, us):
        # Of a client that has left: nobody accepts the invite.
        async with HubClient(WsLink(url)) as other:
            await other.register(FunctionAgent("away", _answer))
        line = command("chat", "--url", url, "--name", "ina", "--register", "--to", "away")
        async with at_terminal(line, XDG_STATE_HOME=str(tmp_path)) as terminal:
            await terminal.see_lines(" connecting", "ina:")
            while not await us.find_agent_id("ina"):
                await trio.lowlevel.checkpoint()
            await terminal.write("\x04")
            assert await terminal.end() == 0


async def test_line_by_line_where_it_is_wished_or_the_terminal_can_do_no_more(
    tmp_path: Path,
) -> None:
    async with hub_with(tmp_path, BOB) as (url, _us):
        line = command("chat", "--url", url, "--name", "hanna", "--register", "--to", "bob")
        for words, environment in ((("--plain",), {}), ((), {"TERM": "dumb"})):
            async with at_terminal([*line, *words], **environment) as terminal:
                await terminal.see("Ctrl-D leaves")
                await terminal.write("refunds\n")
                await terminal.see("bob: About refunds:")
                await terminal.write("\x04")
                assert await terminal.end() == 0
                assert b"\x1b" not in terminal.raw


async def test_without_prompt_toolkit_it_says_what_to_do(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['prompt_toolkit'] = None; "
        "from trio_hub.cli import main; sys.exit(main())"
    )
    words = ("chat", "--url", "ws://127.0.0.1:1", "--name", "hanna", "--to", "bob")
    async with at_terminal([sys.executable, "-c", program, *words]) as terminal:
        assert await terminal.end() == 2
        assert "install trio_hub[chat]" in " ".join(terminal.lines)
        assert "--plain" in " ".join(terminal.lines)
