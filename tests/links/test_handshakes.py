"""A connection that ends before its WebSocket is open is counted by why, over either library."""

from __future__ import annotations

import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
import trio

from tests.certificates import Authority
from tests.hub.peer import connected
from trio_hub import (
    ApiKeyAuth,
    AuthRegistry,
    Hub,
    HubLimits,
    MemoryKnowledgeStore,
    WsLink,
    serve_ws,
)
from trio_hub.errors import AuthError, ConnectionLost, NetworkError
from trio_hub.links import LinkLimits, WsServer
from trio_hub.links.handshakes import HandshakeFailure, HungUp, why_failed
from trio_hub.links.transport import TransportName

from .test_ws import UPGRADE, all_gone, raw_connection, read_to_end

KEY = "s3cret-that-nobody-may-log"
#: A timeout that is reached; and one that is not, however busy the machine.
SOON, NEVER = LinkLimits(open_timeout_seconds=0.1), LinkLimits(open_timeout_seconds=300.0)


class Door:
    """A port of a hub that wants keys."""

    def __init__(self, hub: Hub, server: WsServer, client_tls: ssl.SSLContext) -> None:
        self.hub = hub
        self.server = server
        self.client_tls = client_tls

    def link(self) -> WsLink:
        """Return one that does everything right."""
        secure = self.server.url.startswith("wss")
        return WsLink(self.server.url, ssl_context=self.client_tls if secure else None)

    async def failures(self) -> Mapping[str, int]:
        """Return what was counted by the time that everybody is gone."""
        await all_gone(self.server)
        return self.hub.figures().handshakes_failed

    async def audited(self) -> list[Mapping[str, Any]]:
        """Return the summaries, once the hub has written what it has."""
        await self.hub.drain()
        page = await self.hub.audit.query(kind="handshakes_failed")
        return [record.details for record in page.records]


@asynccontextmanager
async def opened(
    transport: TransportName,
    authority: Authority,
    *,
    limits: LinkLimits = NEVER,
    tls: bool = True,
    hub_limits: HubLimits | None = None,
    **options: Any,
) -> AsyncIterator[Door]:
    async with (
        Hub.open(
            MemoryKnowledgeStore(),
            auth=AuthRegistry([ApiKeyAuth(keys={"alice": KEY})]),
            limits=hub_limits if hub_limits is not None else HubLimits(),
        ) as hub,
        serve_ws(
            hub,
            "127.0.0.1",
            0,
            ssl_context=authority.serving(ssl.CERT_NONE) if tls else None,
            limits=limits,
            transport=transport,
            **options,
        ) as server,
    ):
        yield Door(hub, server, authority.trusting())


class Shaker:
    """The client's half of a TLS handshake, as far as a test wants to go."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="127.0.0.1")

    def go_on(self) -> bytes:
        """Return what to send next; an alert too, which Trio's own client would not send."""
        with suppress(ssl.SSLError):
            self.tls.do_handshake()
        return self.outgoing.read()


def client_hello() -> bytes:
    hello = Shaker(ssl.create_default_context()).go_on()
    assert hello.startswith(b"\x16\x03")
    return hello


async def reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()


async def register(door: Door) -> None:
    block = {"scheme": "api_key", "claim": {"token": KEY}}
    async with connected(door.link()) as peer:
        await peer.request("register", passport={"name": "alice", "auth": block}, resume={})


# Peers that are heard out and told nothing


async def speaks_http(stream: trio.SocketStream) -> None:
    await stream.send_all(b"GET /?key=%s HTTP/1.1\r\nHost: hub\r\n\r\n" % KEY.encode())
    await read_to_end(stream)


async def speaks_websocket(stream: trio.SocketStream) -> None:
    await stream.send_all(UPGRADE)
    await read_to_end(stream)


async def sends_noise(stream: trio.SocketStream) -> None:
    await stream.send_all(b"\xff" * 1000)
    await read_to_end(stream)


async def asks_for_a_broken_record(stream: trio.SocketStream) -> None:
    # A header of TLS, and a "ClientHello" that is none.
    await stream.send_all(b"\x16\x03\x01\x00\x10" + b"\xee" * 16)
    await read_to_end(stream)


async def does_not_trust_the_hub(stream: trio.SocketStream) -> None:
    shaker = Shaker(ssl.create_default_context())
    while data := shaker.go_on():
        await stream.send_all(data)
        answer = await stream.receive_some()
        if not answer:
            break
        shaker.incoming.write(answer)
    await read_to_end(stream)


async def hangs_up_at_once(stream: trio.SocketStream) -> None:
    await stream.aclose()


async def hangs_up_in_the_hello(stream: trio.SocketStream) -> None:
    await stream.send_all(client_hello()[:100])
    await stream.aclose()


async def hangs_up_in_the_middle(stream: trio.SocketStream) -> None:
    await stream.send_all(client_hello())
    assert (await stream.receive_some()).startswith(b"\x16\x03")
    await stream.aclose()


async def is_reset_in_the_middle(stream: trio.SocketStream) -> None:
    await stream.send_all(client_hello())
    assert await stream.receive_some()
    await reset(stream)


async def speaks_tls(stream: trio.SocketStream) -> None:
    await stream.send_all(client_hello())
    await read_to_end(stream)


async def hangs_up_in_the_request(stream: trio.SocketStream) -> None:
    await stream.send_all(UPGRADE[:50])
    await stream.aclose()


Ending = Callable[[trio.SocketStream], Awaitable[None]]


@pytest.mark.parametrize(
    ("tls", "ending", "reason"),
    [
        (True, speaks_http, "no_tls"),
        (True, speaks_websocket, "no_tls"),
        (True, sends_noise, "no_tls"),
        (True, asks_for_a_broken_record, "tls_failed"),
        (True, does_not_trust_the_hub, "tls_failed"),
        (True, hangs_up_at_once, "said_nothing"),
        (True, reset, "said_nothing"),
        (True, hangs_up_in_the_hello, "broken_off"),
        (True, hangs_up_in_the_middle, "broken_off"),
        (True, is_reset_in_the_middle, "broken_off"),
        (False, speaks_tls, "unexpected_tls"),
        (False, hangs_up_at_once, "said_nothing"),
        (False, hangs_up_in_the_request, "broken_off"),
        (False, speaks_http, "no_websocket"),
    ],
)
async def test_it_is_counted_by_why(
    transport: TransportName,
    authority: Authority,
    tls: bool,
    ending: Ending,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="trio_hub")
    async with opened(transport, authority, tls=tls) as door:
        async with await raw_connection(door.server) as stream:
            await ending(stream)
        assert await door.failures() == {reason: 1}
        await register(door)
        audited = await door.audited()
        if reason == "said_nothing":
            assert audited == []
        else:
            (summary,) = audited
            assert summary["reasons"] == {reason: 1}
            assert summary["addresses"] == {"127.0.0.1": 1}
            assert "handshake failed peer='127.0.0.1:" in caplog.text
            assert f"reason='{reason}'" in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("first_bytes", "tls"),
    [
        (b"", True),
        (b"\x16", True),
        (client_hello()[:100], True),
        (client_hello(), True),
        (b"G", True),
        (b"", False),
        (UPGRADE[:50], False),
    ],
    ids=[
        "silent",
        "a byte",
        "half a hello",
        "a hello",
        "a letter",
        "plain silent",
        "half a request",
    ],
)
async def test_one_who_does_not_go_on_is_given_up_in_time(
    transport: TransportName, authority: Authority, first_bytes: bytes, tls: bool
) -> None:
    async with opened(transport, authority, limits=SOON, tls=tls) as door:
        async with await raw_connection(door.server) as stream:
            if first_bytes:
                await stream.send_all(first_bytes)
            await read_to_end(stream)
        assert await door.failures() == {"too_slow": 1}
        (summary,) = await door.audited()
        assert summary["reasons"] == {"too_slow": 1}


@pytest.mark.parametrize("request_bytes", [None, b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n"])
async def test_above_tls_it_is_the_same(
    transport: TransportName, authority: Authority, request_bytes: bytes | None
) -> None:
    async with opened(transport, authority) as door:
        tcp = await raw_connection(door.server)
        tls = trio.SSLStream(tcp, door.client_tls, server_hostname="127.0.0.1")
        await tls.do_handshake()
        if request_bytes is not None:
            await tls.send_all(request_bytes)
            await read_to_end(tls)
        await trio.aclose_forcefully(tls)
        reason = "broken_off" if request_bytes is None else "no_websocket"
        assert await door.failures() == {reason: 1}


async def test_a_token_that_is_refused_is_audited_by_itself(
    transport: TransportName, authority: Authority
) -> None:
    async with opened(transport, authority) as door:
        link = WsLink(door.server.url, ssl_context=door.client_tls, token="wrong")
        with pytest.raises(AuthError):
            async with link.connect():
                pass
        assert await door.failures() == {"credential": 1}
        assert await door.audited() == []
        assert len((await door.hub.audit.query(kind="auth_failed")).records) == 1


# Who holds a place


async def test_who_shakes_hands_slowly_holds_a_place_of_its_address(
    transport: TransportName, authority: Authority
) -> None:
    async with opened(transport, authority, max_connections_per_address=2) as door:
        async with AsyncExitStack() as stack:
            for data in (b"", client_hello()[:100]):
                slow = await stack.enter_async_context(await raw_connection(door.server))
                if data:
                    await slow.send_all(data)
            third = await stack.enter_async_context(await raw_connection(door.server))
            assert await read_to_end(third) == b""
            assert door.server.connection_count == 2
            assert door.hub.figures().handshakes_failed == {"no_place": 1}
        await all_gone(door.server)
        await register(door)


@pytest.mark.parametrize("tls", [True, False])
async def test_who_shakes_hands_slowly_makes_way_for_those_who_do_not(
    transport: TransportName, authority: Authority, tls: bool
) -> None:
    limits = HubLimits(unauthenticated_connections_max=2)
    async with opened(transport, authority, tls=tls, hub_limits=limits) as door:
        async with AsyncExitStack() as stack:
            slow = [
                await stack.enter_async_context(await raw_connection(door.server)) for _ in range(3)
            ]
            # The one who has waited longest goes.
            await read_to_end(slow[0])
            while door.server.connection_count != 2:
                await trio.lowlevel.checkpoint()
            assert door.hub.figures().handshakes_failed == {"too_slow": 1}
            await register(door)
            await read_to_end(slow[1])
            assert door.server.connection_count <= 2
        assert (await door.failures())["too_slow"] == 2


async def test_who_has_shaken_hands_holds_one_place_and_not_two(
    transport: TransportName, authority: Authority
) -> None:
    limits = HubLimits(unauthenticated_connections_max=1)
    async with opened(transport, authority, hub_limits=limits) as door:
        for _ in range(2):
            await register(door)
            await door.hub.unregister(door.hub.get_agent("alice").stamped_id)
        assert await door.failures() == {}


async def test_a_server_that_closes_blames_nobody(
    transport: TransportName, authority: Authority
) -> None:
    async with Hub.open(MemoryKnowledgeStore()) as hub:
        async with serve_ws(
            hub, "127.0.0.1", 0, ssl_context=authority.serving(ssl.CERT_NONE), transport=transport
        ) as server:
            stream = await raw_connection(server)
            while not server.connection_count:
                await trio.lowlevel.checkpoint()
        await read_to_end(stream)
        await stream.aclose()
        assert hub.figures().handshakes_failed == {}


# The table


@pytest.mark.parametrize(
    ("error", "expects_tls", "secured", "first_bytes", "failure"),
    [
        (None, True, False, b"GE", HandshakeFailure.TOO_SLOW),
        (AuthError("x"), True, False, b"\x16\x03", HandshakeFailure.CERTIFICATE),
        (AuthError("x"), True, True, b"\x16\x03", HandshakeFailure.CREDENTIAL),
        (AuthError("x"), False, False, b"GE", HandshakeFailure.CREDENTIAL),
        (HungUp("x"), True, False, b"", HandshakeFailure.SAID_NOTHING),
        (HungUp("x"), True, False, b"G", HandshakeFailure.NO_TLS),
        (HungUp("x"), True, False, b"\x16", HandshakeFailure.BROKEN_OFF),
        (ConnectionLost("x"), True, False, b"\x16\x03", HandshakeFailure.TLS_FAILED),
        (ConnectionLost("x"), True, False, b"\x16\x04", HandshakeFailure.NO_TLS),
        (HungUp("x"), True, True, b"\x16\x03", HandshakeFailure.BROKEN_OFF),
        (ConnectionLost("x"), True, True, b"\x16\x03", HandshakeFailure.NO_WEBSOCKET),
        (ConnectionLost("x"), False, False, b"\x16\x03", HandshakeFailure.UNEXPECTED_TLS),
        (HungUp("x"), False, False, b"GE", HandshakeFailure.BROKEN_OFF),
        (ConnectionLost("x"), False, False, b"PO", HandshakeFailure.NO_WEBSOCKET),
    ],
)
def test_why_is_told_by_what_came(
    error: NetworkError | None,
    expects_tls: bool,
    secured: bool,
    first_bytes: bytes,
    failure: HandshakeFailure,
) -> None:
    found = why_failed(error, expects_tls=expects_tls, secured=secured, first_bytes=first_bytes)
    assert found is failure
