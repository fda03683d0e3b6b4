"""`mcp`, started by a real MCP client, beside a hub that is a process."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from mcp import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client

from trio_hub import FunctionAgent, HubClient, WsLink
from trio_hub.client import Turn

from .program import PATIENCE_SECONDS, run, running

pytestmark = pytest.mark.slow


async def answer(turn: Turn) -> str:
    return f"About {turn.text}: thirty days."


@asynccontextmanager
async def session(url: str, *words: str) -> AsyncIterator[ClientSession]:
    command = ["-m", "trio_hub", "mcp", "--url", url, "--name", "desk", "--register", *words]
    server = StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ))
    async with stdio_client(server) as (read, write), ClientSession(read, write) as one:
        await one.initialize()
        yield one


def text_of(result: object) -> str:
    [content] = result.content  # type: ignore[attr-defined]
    assert content.type == "text"
    return str(content.text)


async def test_agents_are_tools_of_a_real_client(tmp_path: Path) -> None:
    async with (
        running(tmp_path, "--memory", "--port", "0") as hub,
        HubClient(WsLink(hub.url)) as us,
    ):
        await us.register(FunctionAgent("bob", answer))
        with trio.fail_after(PATIENCE_SECONDS):
            async with session(hub.url) as client:
                [tool] = (await client.list_tools()).tools
                assert tool.name == "ask_bob"
                good = await client.call_tool("ask_bob", {"question": "refunds"})
                assert text_of(good) == "About refunds: thirty days."
                assert not good.is_error
                for name, arguments, words in (
                    ("ask_bob", {}, "ask_bob takes 'question', a text"),
                    ("ask_nobody", {"question": "?"}, "no agent stands behind"),
                ):
                    bad = await client.call_tool(name, arguments)
                    assert bad.is_error
                    assert words in text_of(bad)


async def test_hub_that_cannot_be_reached_is_one_line() -> None:
    ended = await run("mcp", "--url", "ws://127.0.0.1:1", "--name", "desk", "--register")
    assert ended.status == 2
    assert "no connection to the hub at ws://127.0.0.1:1" in ended.complaint


async def test_timeout_has_to_be_one() -> None:
    ended = await run("mcp", "--name", "desk", "--timeout", "0")
    assert "--timeout 0 is not a time" in ended.complaint
