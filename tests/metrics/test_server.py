"""The port for those who watch: true about health, and not to be worn down."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from trio_hub import (
    DiskKnowledgeStore,
    HttpLimits,
    Hub,
    MemoryKnowledgeStore,
    MetricsServer,
    serve_metrics,
)
from trio_hub.metrics.http import Request
from trio_hub.testing import FaultyStore

from ..hub.peer import open_house
from .pages import get, watch

PATIENCE_SECONDS = 20


@asynccontextmanager
async def watched(limits: HttpLimits | None = None) -> AsyncIterator[MetricsServer]:
    async with (
        Hub.open(MemoryKnowledgeStore()) as hub,
        serve_metrics(hub, "127.0.0.1", 0, limits=limits) as server,
    ):
        yield server


async def say(server: MetricsServer, data: bytes) -> bytes:
    """Send bytes, and return all that comes until the server hangs up."""
    with trio.fail_after(PATIENCE_SECONDS):
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            try:
                await stream.send_all(data)
                return await rest(stream)
            except trio.BrokenResourceError:
                return b""


async def rest(stream: trio.SocketStream) -> bytes:
    said = b""
    try:
        async for chunk in stream:
            said += chunk
    except trio.BrokenResourceError:
        pass
    return said


# Health


async def test_a_hub_that_works_is_healthy_and_ready() -> None:
    async with watched() as server:
        for path in ("/healthz", "/readyz"):
            answer = await get(server.url, path)
            assert answer.status_code == 200
            assert answer.json()["ok"] is True
            assert answer.json()["wrong"] == []


async def test_a_hub_that_drains_is_healthy_and_not_ready() -> None:
    async with open_house() as house:
        server = await watch(house)
        await house.hub.drain()
        assert (await get(server.url, "/healthz")).status_code == 200
        answer = await get(server.url, "/readyz")
        assert answer.status_code == 503
        assert answer.json()["wrong"] == ["the hub is closing"]


async def test_a_store_that_keeps_nothing_is_neither_and_says_why(tmp_path: Path) -> None:
    store = FaultyStore(DiskKnowledgeStore(tmp_path / "store"))
    async with open_house(store) as house:
        server = await watch(house)
        store.fail_commits("no space left on device")
        for path in ("/healthz", "/readyz"):
            answer = await get(server.url, path)
            assert answer.status_code == 503
            [wrong] = answer.json()["wrong"]
            assert "no space left on device" in wrong
        store.heal()
        # Nobody posts to a hub that is not ready, so it finds out by itself.
        assert (await get(server.url, "/readyz")).status_code == 200


async def test_a_failed_commit_is_old_news_once_the_disk_takes_something(tmp_path: Path) -> None:
    inner = DiskKnowledgeStore(tmp_path / "store")
    async with open_house(inner) as house:
        server = await watch(house)
        inner._ok = False  # As after a commit that failed, when nobody has posted since.
        assert not house.hub.health().ok
        assert (await get(server.url, "/readyz")).status_code == 200
        assert house.hub.health().ok


async def test_a_disk_that_hangs_is_not_ready(autojump_clock: trio.testing.MockClock) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with open_house(store) as house:
        server = await watch(house)
        alice = await house.join("alice")
        with store.hold_commits():
            alice.ask("set_skill", agent_id=alice.id, skill_md="x")
            await trio.testing.wait_all_tasks_blocked()
            # Over no socket: on a virtual clock, a timeout of a client would come at once.
            answer = await server.answer(Request("/readyz"))
            assert answer.status == 503
            assert b"a commit takes more than" in answer.body
        assert (await server.answer(Request("/readyz"))).status == 200


# HTTP


async def test_what_is_not_there_is_said_with_what_is() -> None:
    async with watched() as server:
        answer = await get(server.url, "/metric")
        assert answer.status_code == 404
        assert "/metrics" in answer.json()["error"]


async def test_a_query_is_no_part_of_the_path() -> None:
    async with watched() as server:
        assert (await get(server.url, "/healthz?verbose=1")).status_code == 200


async def test_only_get_and_head_are_answered() -> None:
    async with watched() as server:
        head = await say(server, b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert head.endswith(b"\r\n\r\n")
        post = await say(server, b"POST /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert post.startswith(b"HTTP/1.1 405")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",  # no Host
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ],
    ids=["TLS", "no host", "words", "length"],
)
async def test_what_is_no_request_is_a_400_and_nobody_else_is_harmed(data: bytes) -> None:
    async with watched() as server:
        assert (await say(server, data)).startswith(b"HTTP/1.1 400")
        assert (await get(server.url, "/healthz")).status_code == 200


async def test_a_head_without_an_end_is_cut_at_its_limit() -> None:
    async with watched(HttpLimits(request_bytes_max=2_000)) as server:
        endless = b"GET / HTTP/1.1\r\n" + b"X-Filler: y\r\n" * 1_000
        assert (await say(server, endless))[:12] in (b"HTTP/1.1 431", b"")
        assert (await get(server.url, "/healthz")).status_code == 200


async def test_one_who_says_nothing_is_cut_off_in_time() -> None:
    async with watched(HttpLimits(exchange_seconds=0.05)) as server:
        assert await say(server, b"GET /healthz HT") == b""
        assert (await get(server.url, "/healthz")).status_code == 200


async def test_those_who_say_nothing_keep_nobody_from_asking() -> None:
    async with watched(HttpLimits(connections_max=3)) as server:
        silent = [await trio.open_tcp_stream("127.0.0.1", server.port) for _ in range(20)]
        for _ in range(3):
            assert (await get(server.url, "/healthz")).status_code == 200
        # The oldest were thrown out.
        with trio.fail_after(PATIENCE_SECONDS):
            assert await rest(silent[0]) == b""
        for stream in silent:
            await stream.aclose()


async def test_one_who_does_not_read_the_answer_is_cut_off() -> None:
    async with watched(HttpLimits(exchange_seconds=0.05)) as server:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            deaf.connect(("127.0.0.1", server.port))
            deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await get(server.url, "/healthz")).status_code == 200


async def test_a_scrape_that_fails_is_a_500_and_the_next_one_works() -> None:
    class Broken:
        def collect(self) -> list[object]:
            raise ZeroDivisionError("secret detail")

    async with watched() as server:
        broken = Broken()
        server.registry._collector_to_names[broken] = []  # type: ignore[index]
        answer = await get(server.url, "/metrics")
        assert answer.status_code == 500
        assert "secret" not in answer.text
        del server.registry._collector_to_names[broken]  # type: ignore[arg-type]
        assert (await get(server.url, "/metrics")).status_code == 200


async def test_the_port_is_free_again_afterwards() -> None:
    async with watched() as server:
        port = server.port
        assert server.url == f"http://127.0.0.1:{port}"
    async with Hub.open(MemoryKnowledgeStore()) as hub, serve_metrics(hub, port=port) as server:
        assert (await get(server.url, "/healthz")).status_code == 200
