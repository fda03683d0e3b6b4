"""
Connections that are over leave nothing for Python's collector.

Circles of references would: a hub runs the collector rarely, and what thousands of lost connections
were made of would pile up until then.
"""

from __future__ import annotations

import gc
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
import trio
import trio.testing

from tests.certificates import Authority
from trio_hub import (
    ApiKeyAuth,
    AuthRegistry,
    Hub,
    HubLimits,
    MemoryKnowledgeStore,
    WsLink,
    serve_ws,
)
from trio_hub.links import LinkLimits, WsServer
from trio_hub.links.transport import TransportName

from . import test_handshakes as handshakes
from .echo import running
from .test_handshakes import NEVER, SOON, client_hello
from .test_ws import UPGRADE, all_gone, frame, raw_connection, read_to_end, upgraded

QUICK = LinkLimits(ping_interval_seconds=0.05, ping_timeout_seconds=0.05, close_timeout_seconds=0.2)
# The parsers of wsproto are circles in themselves: a kilobyte, and theirs.
LIBRARIES = {"trio_hub", "trio_websocket", "websockets"}
REGISTER = b'{"kind":"request","request_id":"1","op":"register","params":{"passport":{"name":"ann"},"resume":{},"rule":{}}}'


def living() -> Counter[str]:
    """Count what there is of ours and of the libraries, by class."""
    kinds = (type(it) for it in gc.get_objects())
    # A metaclass may make something else of `__module__` than the name of one.
    return Counter(repr(it) for it in kinds if str(it.__module__).partition(".")[0] in LIBRARIES)


@contextmanager
def left_over() -> Iterator[Counter[str]]:
    """Yield what is there at the end and was not before, while the collector rests."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        before = living()
        yield found
        found += living() - before
    finally:
        gc.enable()


async def hangs_up_at_once(server: WsServer) -> None:
    await (await raw_connection(server)).aclose()


async def hangs_up_in_the_handshake(server: WsServer) -> None:
    async with await raw_connection(server) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: hub\r\n")


async def speaks_something_else(server: WsServer) -> None:
    async with await raw_connection(server) as stream:
        await stream.send_all(b"EHLO hub\r\n\r\n")
        await read_to_end(stream)


async def asks_for_no_websocket(server: WsServer) -> None:
    async with await raw_connection(server) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
        await read_to_end(stream)


async def closes_in_good_order(server: WsServer) -> None:
    async with WsLink(server.url).connect() as endpoint, running(endpoint):
        pass


async def is_reset(server: WsServer) -> None:
    stream = await upgraded(server)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()


async def breaks_the_frames(server: WsServer) -> None:
    async with await upgraded(server) as stream:
        await stream.send_all(b"\xff" * 100)
        await read_to_end(stream)


async def falls_silent(server: WsServer) -> None:
    async with await upgraded(server) as stream:
        await read_to_end(stream)


async def is_shown_out_for_garbage(server: WsServer) -> None:
    garbage = (
        b"nonsense",
        b"[]",
        b'{"kind":5}',
        b'{"kind":"hello"}',
        b'{"kind":"request","request_id":"1","op":"register","params":{"passport":{}}}',
        b'{"kind":"request","request_id":"1","op":"names_for","params":{"agent_ids":[1,2]}}',
    )
    async with await upgraded(server) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(read_to_end, stream)
        try:
            for number in range(400):
                await stream.send_all(frame(1, garbage[number % len(garbage)]))
        except trio.BrokenResourceError:
            pass  # The hub has had enough.


async def registers_and_is_reset(server: WsServer) -> None:
    stream = await upgraded(server)
    await stream.send_all(frame(1, REGISTER))
    assert await stream.receive_some()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()


@pytest.mark.parametrize("transport", ["trio-websocket", "websockets"])
@pytest.mark.parametrize(
    "peer",
    [
        hangs_up_at_once,
        hangs_up_in_the_handshake,
        speaks_something_else,
        asks_for_no_websocket,
        closes_in_good_order,
        is_reset,
        breaks_the_frames,
        falls_silent,
        is_shown_out_for_garbage,
        registers_and_is_reset,
    ],
)
async def test_a_connection_is_gone_when_it_is_over(
    peer: Callable[[WsServer], Awaitable[None]],
    transport: TransportName,
    request: pytest.FixtureRequest,
) -> None:
    if peer is speaks_something_else and transport == "trio-websocket":
        # h11 raises an error from a frame that keeps it, and nobody hands that on to us.
        request.applymarker(pytest.mark.xfail(strict=True))
    async with (
        Hub.open(MemoryKnowledgeStore()) as hub,
        serve_ws(hub, "127.0.0.1", 0, transport=transport, limits=QUICK) as server,
    ):
        await peer(server)
        await all_gone(server)
        with left_over() as found:
            for _ in range(3):
                await peer(server)
                await all_gone(server)
            await trio.testing.wait_all_tasks_blocked()
        assert found == Counter()


# TLS, whether or not its handshake fails

UNTRUSTING = ssl.create_default_context()
UNTRUSTING.check_hostname = False
UNTRUSTING.verify_mode = ssl.CERT_NONE


async def silent(stream: trio.SocketStream) -> None:
    await read_to_end(stream)


async def silent_after_half_a_hello(stream: trio.SocketStream) -> None:
    await stream.send_all(client_hello()[:100])
    await read_to_end(stream)


async def silent_after_a_hello(stream: trio.SocketStream) -> None:
    await stream.send_all(client_hello())
    await read_to_end(stream)


async def hangs_up_after_it(stream: trio.SocketStream) -> None:
    tls = trio.SSLStream(stream, UNTRUSTING, server_hostname="hub")
    await tls.do_handshake()
    await stream.aclose()


async def talks_and_closes_in_good_order(stream: trio.SocketStream) -> None:
    tls = trio.SSLStream(stream, UNTRUSTING, server_hostname="hub", https_compatible=True)
    await tls.send_all(UPGRADE)
    assert (await tls.receive_some()).startswith(b"HTTP/1.1 101")
    await tls.send_all(frame(8, b"\x03\xe8"))
    await read_to_end(tls)
    await tls.aclose()


async def talks_and_is_reset(stream: trio.SocketStream) -> None:
    tls = trio.SSLStream(stream, UNTRUSTING, server_hostname="hub", https_compatible=True)
    await tls.send_all(UPGRADE)
    assert (await tls.receive_some()).startswith(b"HTTP/1.1 101")
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()


async def crowded_out(stream: trio.SocketStream) -> None:
    host, port = stream.socket.getpeername()
    async with await trio.open_tcp_stream(host, port) as newer:
        await read_to_end(stream)
        await newer.aclose()


@pytest.mark.parametrize("transport", ["trio-websocket", "websockets"])
@pytest.mark.parametrize(
    "ending",
    [
        silent,
        silent_after_half_a_hello,
        silent_after_a_hello,
        hangs_up_after_it,
        talks_and_closes_in_good_order,
        talks_and_is_reset,
        crowded_out,
        handshakes.speaks_http,
        handshakes.speaks_websocket,
        handshakes.sends_noise,
        handshakes.asks_for_a_broken_record,
        handshakes.does_not_trust_the_hub,
        handshakes.hangs_up_at_once,
        handshakes.hangs_up_in_the_hello,
        handshakes.hangs_up_in_the_middle,
        handshakes.is_reset_in_the_middle,
    ],
)
async def test_a_connection_over_tls_is_gone_when_it_is_over(
    ending: handshakes.Ending, transport: TransportName
) -> None:
    given_up = ending in (silent, silent_after_half_a_hello, silent_after_a_hello)
    limits = HubLimits(unauthenticated_connections_max=1 if ending is crowded_out else 10)
    auth = AuthRegistry([ApiKeyAuth(keys={"alice": "key"})])
    async with (
        Hub.open(MemoryKnowledgeStore(), auth=auth, limits=limits) as hub,
        serve_ws(
            hub,
            "127.0.0.1",
            0,
            ssl_context=Authority().serving(ssl.CERT_NONE),
            transport=transport,
            limits=SOON if given_up else NEVER,
        ) as server,
    ):

        async def once() -> None:
            async with await raw_connection(server) as stream:
                await ending(stream)
            await all_gone(server)

        await once()
        with left_over() as found:
            for _ in range(3):
                await once()
            await trio.testing.wait_all_tasks_blocked()
        talked = ending in (talks_and_closes_in_good_order, talks_and_is_reset)
        assert (sum(hub.figures().handshakes_failed.values()) >= 4) is not talked
        assert found == Counter()
