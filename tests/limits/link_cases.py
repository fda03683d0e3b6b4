"""What one connection may cost, all of a port, and one over HTTP."""

from __future__ import annotations

import select
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hub import HttpLimits, LinkLimits, ServerLimits, WsLink, serve_ws
from trio_hub.errors import ConnectionLost, TooLarge
from trio_hub.links import LinkEndpoint, Side
from trio_hub.wire.frames import Dialect

from ..hub.peer import open_house
from ..links.echo import EchoHub, receive_until_lost, running
from ..links.test_endpoint import ScriptedStream
from ..metrics.test_server import rest, watched
from .registry import case, text

SMALL: dict[str, Any] = {
    "message_bytes_max": 1000,
    "overhead_bytes_max": 100,
    "plain_message_bytes_max": 500,
}


def endpoint_of(side: Side = Side.HUB, **limits: Any) -> tuple[ScriptedStream, LinkEndpoint]:
    stream = ScriptedStream()
    return stream, LinkEndpoint(stream, side=side, limits=LinkLimits(**limits))


async def receives(side: Side, size: int, limit: int) -> None:
    stream, endpoint = endpoint_of(side, **SMALL)
    stream.feed.send_nowait(text(size))
    if size <= limit:
        assert await endpoint.receive() == text(size)
    else:
        with pytest.raises(TooLarge, match=f"over the limit of {limit}"):
            await endpoint.receive()


@case(LinkLimits, "message_bytes_max")
async def message_bytes() -> None:
    for size in (1000, 1001):
        await receives(Side.HUB, size, 1000)


@case(LinkLimits, "overhead_bytes_max")
async def overhead_bytes() -> None:
    # A client takes so much more from a hub than a hub from a client.
    for size in (1100, 1101):
        await receives(Side.CLIENT, size, 1100)


@case(LinkLimits, "plain_message_bytes_max")
async def plain_message_bytes() -> None:
    size = 0
    for allowed, letters in ((2000, 0), (None, 0), (None, 1)):
        limits = LinkLimits(
            message_bytes_max=4000,
            overhead_bytes_max=1000,
            # First it is seen how large such a frame is; then that is the limit, and one less.
            plain_message_bytes_max=allowed if allowed is not None else size - letters,
        )
        async with open_house(dialect=Dialect.PLAIN, link_limits=limits) as house:
            alice, bob = await house.join("alice"), await house.join("bob")
            channel_id = await alice.open("conversation", bob)
            await bob.quiet()
            sizes = heard_sizes(bob.endpoint)
            bob.send("ping")
            await bob.expect("pong")
            await alice.say(channel_id, text(1000))
            await bob.quiet()
            assert len(bob.heard()) == 1 - letters
            assert house.hub.health().dead_letters == letters
            size = max(sizes)


def heard_sizes(endpoint: LinkEndpoint) -> list[int]:
    """Return the sizes of what an endpoint receives from its next call on."""
    sizes: list[int] = []
    receive = endpoint.receive

    async def noting() -> str | bytes:
        message = await receive()
        sizes.append(len(message))
        return message

    endpoint.receive = noting  # type: ignore[method-assign]
    return sizes


@case(LinkLimits, "batch_bytes_max")
async def batch_bytes() -> None:
    # Each counts with a line break.
    for size, messages in ((48, 1), (49, 2)):
        stream, endpoint = endpoint_of(batch_bytes_max=100)
        endpoint.push_nowait(text(50).encode())
        endpoint.push_nowait(text(size).encode())
        endpoint.close_soon()
        await endpoint.write_out()
        assert len(stream.sent) == messages


@case(LinkLimits, "ping_interval_seconds", virtual=True)
async def ping_interval() -> None:
    stream, endpoint = endpoint_of(ping_interval_seconds=10.0)
    async with running(endpoint):
        await trio.sleep(9.9)
        assert stream.pings == 0
        await trio.sleep(0.2)
        assert stream.pings == 1


@asynccontextmanager
async def listening(endpoint: LinkEndpoint) -> AsyncIterator[None]:
    async with running(endpoint), trio.open_nursery() as nursery:
        nursery.start_soon(receive_until_lost, endpoint)
        yield
        nursery.cancel_scope.cancel()


@case(LinkLimits, "ping_timeout_seconds", virtual=True)
async def ping_timeout() -> None:
    stream, endpoint = endpoint_of(ping_interval_seconds=10.0, ping_timeout_seconds=5.0)
    stream.ponging = False
    async with listening(endpoint):
        await trio.sleep(14.9)
        assert endpoint.lost_because is None
        await trio.sleep(0.2)
        assert "silent peer" in str(endpoint.lost_because)


async def takes_nothing(seconds: float, **limits: Any) -> None:
    """See a peer that takes nothing cut off after so long, and not before."""
    stream, endpoint = endpoint_of(**limits)
    stream.reading = trio.Event()
    async with listening(endpoint):
        endpoint.push_nowait(text(1000).encode())
        await trio.sleep(seconds * 0.999)
        assert endpoint.lost_because is None
        await trio.sleep(seconds * 0.002)
        assert "slow peer" in str(endpoint.lost_because)


@case(LinkLimits, "send_timeout_seconds", virtual=True)
async def send_timeout() -> None:
    await takes_nothing(5.0, send_timeout_seconds=5.0, send_bytes_per_second_min=1e12)


@case(LinkLimits, "send_bytes_per_second_min", virtual=True)
async def send_bytes_per_second() -> None:
    await takes_nothing(10.0, send_timeout_seconds=1e-9, send_bytes_per_second_min=100.0)


@case(LinkLimits, "open_timeout_seconds", virtual=True)
async def open_timeout() -> None:
    limits = LinkLimits(open_timeout_seconds=5.0)
    async with (
        serve_ws(EchoHub(), "127.0.0.1", 0, limits=limits) as server,
        await trio.open_tcp_stream("127.0.0.1", server.sockets[0].getsockname()[1]) as peer,
    ):
        await peer.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n")
        await ends_after(5.0, peer)


async def ends_after(seconds: float, stream: trio.SocketStream) -> None:
    """See the other side hang up then, and not before."""
    with trio.move_on_after(seconds * 0.99) as waiting:
        await stream.receive_some()
    assert waiting.cancelled_caught
    with trio.fail_after(seconds * 0.02):
        assert await rest(stream) == b""


@case(LinkLimits, "close_timeout_seconds", virtual=True)
async def close_timeout() -> None:
    stream, endpoint = endpoint_of(close_timeout_seconds=5.0)
    stream.reading = trio.Event()
    async with listening(endpoint):
        endpoint.push_nowait(b"one")
        await wait_all_tasks_blocked()
        endpoint.close_soon(1001, "going away")
        await trio.sleep(4.9)
        assert not stream.torn
        await trio.sleep(0.2)
        assert stream.torn


@case(LinkLimits, "outbox_high_bytes")
async def outbox_high() -> None:
    _, endpoint = endpoint_of(outbox_low_bytes=10, outbox_high_bytes=100)
    endpoint.push_nowait(text(99).encode())
    assert endpoint.outbox.has_room
    endpoint.push_nowait(b"x")
    assert not endpoint.outbox.has_room


@case(LinkLimits, "outbox_low_bytes")
async def outbox_low() -> None:
    for left, room in ((10, False), (9, True)):
        _, endpoint = endpoint_of(outbox_low_bytes=10, outbox_high_bytes=100)
        outbox = endpoint.outbox
        outbox.push_nowait(text(100 - left).encode())
        outbox.push_nowait(text(left).encode())
        assert not outbox.has_room
        outbox.written(sum(map(len, outbox.take_nowait(1))))
        assert outbox.has_room == room


@case(LinkLimits, "outbox_hard_bytes")
async def outbox_hard() -> None:
    _, endpoint = endpoint_of(
        **SMALL, outbox_low_bytes=1, outbox_high_bytes=1, outbox_hard_bytes=5000
    )
    assert endpoint.push_nowait(text(5000).encode())
    assert not endpoint.closed
    assert not endpoint.push_nowait(b"x")
    assert "slow peer" in str(endpoint.lost_because)


# A port


async def refuses_the_third(limits: ServerLimits) -> None:
    """See two connections of one address served, and one more closed at once."""
    async with (
        serve_ws(EchoHub(), "127.0.0.1", 0, server_limits=limits) as server,
        AsyncExitStack() as stack,
    ):
        for _ in range(2):
            endpoint = await stack.enter_async_context(WsLink(server.url).connect())
            await stack.enter_async_context(running(endpoint))
        with pytest.raises(ConnectionLost):
            await stack.enter_async_context(WsLink(server.url).connect())
        assert (server.connection_count, server.refused_count) == (2, 1)


@case(ServerLimits, "connections_max")
async def server_connections() -> None:
    await refuses_the_third(ServerLimits(connections_max=2))


@case(ServerLimits, "connections_per_address_max")
async def server_connections_per_address() -> None:
    await refuses_the_third(ServerLimits(connections_per_address_max=2))


@case(ServerLimits, "backlog_max")
async def server_backlog() -> None:
    limits = ServerLimits(backlog_max=2)
    async with serve_ws(EchoHub(), "127.0.0.1", 0, server_limits=limits) as server:
        await wait_all_tasks_blocked()
        with ExitStack() as stack:
            # While this task does not give way, the hub takes none of them.
            for number in range(4):
                peer = stack.enter_context(socket.socket())
                peer.setblocking(False)
                peer.connect_ex(("127.0.0.1", server.port))
                # Linux takes one more than it was told.
                taken = number < 3
                _, arrived, _ = select.select([], [peer], [], 60.0 if taken else 0.0)
                assert bool(arrived) == taken


# HTTP


@case(HttpLimits, "connections_max")
async def http_connections() -> None:
    async with watched(HttpLimits(connections_max=2)) as server, trio.open_nursery() as nursery:
        ended: list[int] = []

        async def keep(number: int, *, task_status: trio.TaskStatus[None]) -> None:
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\n")
                task_status.started()
                await rest(stream)
                ended.append(number)

        for number in range(3):
            await nursery.start(keep, number)
            await wait_all_tasks_blocked(0.01)
            assert ended == ([] if number < 2 else [0])
        nursery.cancel_scope.cancel()


@case(HttpLimits, "request_bytes_max")
async def http_request_bytes() -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Filler: "
    for size, status in ((2000, b"200"), (2001, b"431")):
        async with (
            watched(HttpLimits(request_bytes_max=2000)) as server,
            await trio.open_tcp_stream("127.0.0.1", server.port) as stream,
        ):
            await stream.send_all(head.ljust(size, b"x"))
            # So that what follows does not arrive with it.
            await wait_all_tasks_blocked(0.01)
            try:
                await stream.send_all(b"\r\n\r\n")
            except trio.BrokenResourceError:
                assert status == b"431"
            answer = await rest(stream)
            assert answer[9:12] == status or (not answer and status == b"431")


@case(HttpLimits, "exchange_seconds", virtual=True)
async def http_exchange() -> None:
    async with (
        watched(HttpLimits(exchange_seconds=5.0)) as server,
        await trio.open_tcp_stream("127.0.0.1", server.port) as stream,
    ):
        await stream.send_all(b"GET /healthz HTTP/1.1\r\n")
        await ends_after(5.0, stream)
