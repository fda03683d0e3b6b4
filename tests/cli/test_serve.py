"""`python -m trio_hub`, run as a process and spoken to over its socket."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
from pathlib import Path

import httpx
import pytest
import trio
import trustme

from trio_hub.client import ClientState, HubClient, Turn
from trio_hub.errors import AuthError
from trio_hub.links import WsLink
from trio_hub.records import EV_TEXT, AuthBlock, Envelope, Passport

from .program import PATIENCE_SECONDS, run, running

FREE = ("--port", "0")
SECRET = "s3cr3t-of-alice"
QUESTION = "what-nobody-else-may-read?"


async def answer(turn: Turn) -> str:
    return turn.text.upper()


async def silence(_turn: Turn) -> None:
    return None


def is_text(envelope: Envelope) -> bool:
    return envelope.event_type == EV_TEXT


def passport(name: str, key: str | None = None) -> Passport:
    if key is None:
        return Passport(name=name)
    return Passport(name=name, auth=AuthBlock(scheme="api_key", claim={"token": key}))


async def consult(hub_client: HubClient, key: str | None = None) -> str:
    """Let alice ask bob, and return the id of their channel once she has the answer."""
    await hub_client.register(answer, passport("bob", key))
    alice = await hub_client.register(silence, passport("alice", key))
    channel = await alice.open(type="consulting", target="bob")
    await channel.send(QUESTION)
    await alice.wait_for_channel_event(
        channel_id=channel.channel_id, predicate=is_text, timeout=PATIENCE_SECONDS
    )
    return channel.channel_id


# Starting


@pytest.mark.parametrize("words", [(), ("serve",)], ids=["bare", "serve"])
async def test_first_line_is_exact_and_the_only_one(tmp_path: Path, words: tuple[str, ...]) -> None:
    async with running(tmp_path, *words, *FREE, "--data", tmp_path / "data") as hub:
        assert re.fullmatch(r"trio_hub listening on ws://127\.0\.0\.1:[1-9]\d*", hub.first_line)
        async with HubClient(WsLink(hub.url)) as hub_client:
            await hub_client.register(answer, Passport(name="bob"))
        ended = await hub.end()
    assert ended.stdout == hub.first_line + "\n"
    assert ended.status == 0
    assert "serving" in ended.stderr


async def test_an_ipv6_address_stands_in_brackets(tmp_path: Path) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with running(tmp_path, *FREE, "--memory", "--host", "::1") as hub:
        assert re.fullmatch(r"ws://\[::1\]:\d+", hub.url)
        async with HubClient(WsLink(hub.url)) as hub_client:
            assert await hub_client.list_agents() == []


async def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = await run("--memory", "--port", str(port))
    assert f"127.0.0.1 port {port}" in ended.complaint
    assert "in use" in ended.complaint


async def test_a_data_directory_in_use_is_one_line(tmp_path: Path) -> None:
    async with running(tmp_path, *FREE, "--data", tmp_path / "data") as hub:
        ended = await run(*FREE, "--data", tmp_path / "data")
        assert str(tmp_path / "data") in ended.complaint
        assert str(hub.process.pid) in ended.complaint


async def test_a_data_directory_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no directory")
    assert str(tmp_path / "data") in (await run(*FREE, "--data", tmp_path / "data")).complaint


async def test_beyond_loopback_needs_keys_or_a_flag(tmp_path: Path) -> None:
    everywhere = (*FREE, "--memory", "--host", "0.0.0.0")  # noqa: S104
    assert "--allow-unauthenticated" in (await run(*everywhere)).complaint
    async with running(tmp_path, *everywhere, "--allow-unauthenticated") as hub:
        assert re.fullmatch(r"ws://0\.0\.0\.0:\d+", hub.url)
        assert "without authentication" in hub.log


async def test_metrics_and_health_are_served_on_a_port_of_their_own(tmp_path: Path) -> None:
    async with (
        running(tmp_path, *FREE, "--memory", "--metrics-port", "0") as hub,
        HubClient(WsLink(hub.url)) as hub_client,
    ):
        await consult(hub_client)
        [url] = re.findall(r"http://127\.0\.0\.1:\d+", hub.log)
        async with httpx.AsyncClient(base_url=url) as scraper:
            assert (await scraper.get("/readyz")).json()["ok"] is True
            page = (await scraper.get("/metrics")).text
    assert 'trio_hub_posts_total{channel_type="consulting"}' in page
    assert QUESTION not in page


async def test_a_taken_metrics_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = await run(*FREE, "--memory", "--metrics-port", str(port))
    assert f"metrics on 127.0.0.1 port {port}" in ended.stderr
    assert ended.status == 2


# Ending


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
async def test_a_signal_ends_it_with_status_0_while_a_client_is_connected(
    tmp_path: Path, number: int
) -> None:
    async with (
        running(tmp_path, *FREE, "--data", tmp_path / "data") as hub,
        HubClient(WsLink(hub.url)) as hub_client,
    ):
        await consult(hub_client)
        ended = await hub.end(number)
        assert (ended.status, "Traceback" in ended.stderr) == (0, False)
        with trio.fail_after(PATIENCE_SECONDS):
            await hub_client.wait_state(ClientState.RECONNECTING)


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, *FREE, "--memory") as hub:
        async with await trio.open_tcp_stream("127.0.0.1", hub.port) as peer:
            # A peer that never answers the goodbye, for which a hub waits some seconds.
            await peer.send_all(
                b"GET / HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            assert b"101" in await peer.receive_some()
            hub.process.send_signal(signal.SIGTERM)
            with trio.fail_after(PATIENCE_SECONDS):
                # The goodbye shows that the first signal has been taken.
                await peer.receive_some()
            ended = await hub.end(signal.SIGTERM)
        assert ended.status == -signal.SIGTERM


# Keeping


async def test_what_was_said_is_there_after_kill_9_and_restart(tmp_path: Path) -> None:
    words = (*FREE, "--data", tmp_path / "data")
    async with running(tmp_path, *words) as hub:
        async with HubClient(WsLink(hub.url)) as hub_client:
            channel_id = await consult(hub_client)
            before = await hub_client.read_wal(channel_id)
        await hub.end(signal.SIGKILL)
    async with running(tmp_path, *words) as hub, HubClient(WsLink(hub.url)) as hub_client:
        await hub_client.attach(silence, "alice")
        assert await hub_client.read_wal(channel_id) == before
        assert [each.text for each in before if is_text(each)] == [QUESTION, QUESTION.upper()]


async def test_memory_keeps_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        async with running(tmp_path, *FREE, "--memory") as hub:
            async with HubClient(WsLink(hub.url)) as hub_client:
                await hub_client.register(answer, Passport(name="bob"))
            await hub.end()


# Keys and TLS


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    path.write_text(f'alice = "{SECRET}"\n"bob" = "{SECRET}"\n')
    return path


async def test_keys_let_in_who_has_one_and_nobody_else(tmp_path: Path, keys: Path) -> None:
    async with (
        running(tmp_path, *FREE, "--memory", "--keys", keys) as hub,
        HubClient(WsLink(hub.url)) as hub_client,
    ):
        await consult(hub_client, SECRET)
        for refused in (passport("alice"), passport("alice", "guess"), passport("eve", SECRET)):
            with pytest.raises(AuthError):
                await hub_client.register(silence, refused)


async def test_keys_suffice_beyond_loopback(tmp_path: Path, keys: Path) -> None:
    async with running(
        tmp_path,
        *FREE,
        "--memory",
        "--keys",
        keys,
        "--host",
        "0.0.0.0",  # noqa: S104
    ) as hub:
        assert (await hub.end()).status == 0


async def test_tls_is_spoken_with_the_certificate_given(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    tls = ("--tls-cert", tmp_path / "cert.pem", "--tls-key", tmp_path / "key.pem")
    async with running(tmp_path, *FREE, "--memory", *tls) as hub:
        assert re.fullmatch(r"trio_hub listening on wss://127\.0\.0\.1:\d+", hub.first_line)
        async with HubClient(WsLink(hub.url, ssl_context=trusting)) as hub_client:
            await consult(hub_client)


# Files and flags


async def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "hub.toml"
    config.write_text('port = 1\ndata = "kept"\nlog-format = "json"\nlog-level = "debug"\n')
    async with running(tmp_path, "--config", config, *FREE) as hub:
        assert hub.port != 1
        await hub.end()
    # Relative to the file, wherever the program was started.
    assert (tmp_path / "kept").is_dir()
    assert json.loads(hub.log.splitlines()[0])


@pytest.mark.parametrize("transport", ["trio-websocket", "websockets"])
async def test_it_says_what_speaks_websocket(tmp_path: Path, transport: str) -> None:
    async with running(tmp_path, *FREE, "--memory", "--transport", transport) as hub:
        async with HubClient(WsLink(hub.url)) as hub_client:
            await consult(hub_client)
        ended = await hub.end()
    assert f"transport={transport}" in ended.stderr


# Logs


@pytest.mark.parametrize("format", ["json", "text"])
async def test_logs_hold_no_key_and_no_text(tmp_path: Path, keys: Path, format: str) -> None:
    async with running(
        tmp_path,
        *(*FREE, "--data", tmp_path / "data", "--keys", keys),
        *("--log-level", "debug", "--log-format", format),
    ) as hub:
        async with HubClient(WsLink(hub.url)) as hub_client:
            await consult(hub_client, SECRET)
            with pytest.raises(AuthError):
                await hub_client.register(silence, passport("eve", SECRET))
        ended = await hub.end()
    assert "hub opened" in ended.stderr
    assert SECRET not in ended.stderr
    assert QUESTION.lower() not in ended.stderr.lower()
    if format == "json":
        lines = [json.loads(line) for line in ended.stderr.splitlines()]
        assert all({"event", "level", "logger", "timestamp"} <= line.keys() for line in lines)
        [opened] = [line for line in lines if line["event"] == "hub opened"]
        assert opened["agents"] == 0
