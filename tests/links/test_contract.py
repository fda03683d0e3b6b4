"""What every link promises, over a socket, over TLS, and in memory."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio
import trustme

from trio_hub.errors import ConnectionLost, TooLarge
from trio_hub.links import LinkLimits, LocalLink, WsLink, serve_ws
from trio_hub.links.base import EndpointServer, Link
from trio_hub.wire.frames import Dialect

from .echo import CallbackHub, EchoHub, receive_until_lost, running

MakeLink = Callable[..., AbstractAsyncContextManager[Link]]


@pytest.fixture(scope="session")
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


@pytest.fixture(
    params=[
        "local",
        "ws trio-websocket",
        "wss trio-websocket",
        "ws websockets",
        "wss websockets",
    ]
)
def make_link(
    request: pytest.FixtureRequest, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> MakeLink:
    scheme, _, transport = request.param.partition(" ")

    @asynccontextmanager
    async def make(
        hub: EndpointServer,
        *,
        dialect: Dialect = Dialect.BATCHED,
        limits: LinkLimits | None = None,
    ) -> AsyncIterator[Link]:
        if scheme == "local":
            yield LocalLink(hub, dialect=dialect, limits=limits)
            return
        server_tls, client_tls = tls_contexts if scheme == "wss" else (None, None)
        async with serve_ws(
            hub, "127.0.0.1", 0, ssl_context=server_tls, limits=limits, transport=transport
        ) as server:
            yield WsLink(
                server.url,
                ssl_context=client_tls,
                limits=limits,
                dialects=[dialect],
                transport=transport,
            )

    return make


@pytest.fixture(params=list(Dialect))
def dialect(request: pytest.FixtureRequest) -> Dialect:
    chosen: Dialect = request.param
    return chosen


async def test_what_is_pushed_comes_back_in_order(make_link: MakeLink, dialect: Dialect) -> None:
    hub = EchoHub()
    async with make_link(hub, dialect=dialect) as link, link.connect() as endpoint:
        assert endpoint.dialect is dialect
        async with running(endpoint):
            for number in range(100):
                endpoint.push_nowait(f"frame {number} é".encode())
            frames: list[str] = []
            while len(frames) < 100:
                message = await endpoint.receive()
                assert isinstance(message, str)
                frames += [message] if dialect is Dialect.PLAIN else message.split("\n")
            assert frames == [f"frame {number} é" for number in range(100)]
    assert hub.serving == 0


async def test_frames_pushed_together_share_a_message_only_in_the_batched_dialect(
    make_link: MakeLink, dialect: Dialect
) -> None:
    async with make_link(EchoHub(), dialect=dialect) as link, link.connect() as endpoint:
        for _ in range(3):
            endpoint.push_nowait(b"{}")
        async with running(endpoint):
            first = await endpoint.receive()
    assert first == ("{}\n{}\n{}" if dialect is Dialect.BATCHED else "{}")


async def test_several_mebibytes_pass(make_link: MakeLink) -> None:
    frame = b"x" * (6 * 1024 * 1024)
    async with make_link(EchoHub()) as link, link.connect() as endpoint, running(endpoint):
        endpoint.push_nowait(frame)
        assert (await endpoint.receive()) == frame.decode()


async def test_a_message_at_the_limit_passes_and_one_over_it_is_refused_and_the_connection_lives(
    make_link: MakeLink,
) -> None:
    limits = LinkLimits(message_bytes_max=1000, plain_message_bytes_max=1000)
    async with (
        make_link(EchoHub(), limits=limits) as link,
        link.connect() as endpoint,
        running(endpoint),
    ):
        endpoint.push_nowait(b"x" * 1000)
        assert await endpoint.receive() == "x" * 1000
        endpoint.push_nowait("é".encode() * 501)
        answer = await endpoint.receive()
        assert isinstance(answer, str)
        assert answer.startswith("too large: a message of 1002 bytes is over the limit of 1000")
        endpoint.push_nowait(b"still there")
        assert await endpoint.receive() == "still there"


async def test_a_client_takes_what_the_hub_adds_to_the_largest_message(make_link: MakeLink) -> None:
    limits = LinkLimits(message_bytes_max=1000, overhead_bytes_max=50, plain_message_bytes_max=1000)

    async def send_two(endpoint: object) -> None:
        async with running(endpoint):  # type: ignore[arg-type]
            endpoint.push_nowait(b"x" * 1050)  # type: ignore[attr-defined]
            endpoint.push_nowait(b"x" * 1051)  # type: ignore[attr-defined]
            await receive_until_lost(endpoint)  # type: ignore[arg-type]

    async with (
        make_link(CallbackHub(send_two), limits=limits) as link,
        link.connect() as endpoint,
        running(endpoint),
    ):
        assert await endpoint.receive() == "x" * 1050
        with pytest.raises(TooLarge):
            await endpoint.receive()


async def test_the_client_is_told_with_which_words_the_hub_closed(make_link: MakeLink) -> None:
    async def say_goodbye(endpoint: object) -> None:
        async with running(endpoint):  # type: ignore[arg-type]
            endpoint.push_nowait(b"last words")  # type: ignore[attr-defined]
            endpoint.close_soon(4001, "taken over")  # type: ignore[attr-defined]
            assert not endpoint.push_nowait(b"too late")  # type: ignore[attr-defined]
            await receive_until_lost(endpoint)  # type: ignore[arg-type]

    async with make_link(CallbackHub(say_goodbye)) as link, link.connect() as endpoint:
        async with running(endpoint):
            assert await endpoint.receive() == "last words"
            reason = await receive_until_lost(endpoint)
        assert reason.startswith("closed by the peer: 4001")
        assert reason.endswith("taken over")
        assert endpoint.closed
        assert not endpoint.push_nowait(b"too late")


async def test_the_hub_hears_that_the_client_left(make_link: MakeLink) -> None:
    hub = EchoHub()
    async with make_link(hub) as link:
        async with link.connect() as endpoint, running(endpoint):
            endpoint.push_nowait(b"hello")
            await endpoint.receive()
        while hub.serving:
            await trio.lowlevel.checkpoint()
    assert len(hub.lost) == 1
    assert hub.lost[0].startswith("closed by the peer: 1000")


async def test_an_error_in_the_block_comes_out_as_it_is(make_link: MakeLink) -> None:
    hub = EchoHub()
    with pytest.raises(RuntimeError, match="mine"):
        async with make_link(hub) as link, link.connect():
            raise RuntimeError("mine")
    assert hub.serving == 0


async def test_a_hub_that_raises_ends_that_connection_only(make_link: MakeLink) -> None:
    calls = 0

    async def fail_first(endpoint: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("a bug")
        async with running(endpoint):  # type: ignore[arg-type]
            endpoint.push_nowait(b"fine")  # type: ignore[attr-defined]
            await receive_until_lost(endpoint)  # type: ignore[arg-type]

    async with make_link(CallbackHub(fail_first)) as link:
        async with link.connect() as endpoint, running(endpoint):
            reason = await receive_until_lost(endpoint)
            assert "1011" in reason
        async with link.connect() as endpoint, running(endpoint):
            assert await endpoint.receive() == "fine"


async def test_a_cancelled_receive_loses_no_message(make_link: MakeLink) -> None:
    async def cancel_soon(scope: trio.CancelScope) -> None:
        await trio.lowlevel.checkpoint()
        scope.cancel()

    async with make_link(EchoHub()) as link, link.connect() as endpoint, running(endpoint):
        received: list[str] = []
        async with trio.open_nursery() as nursery:
            for number in range(20):
                endpoint.push_nowait(str(number).encode())
                with trio.CancelScope() as scope:
                    nursery.start_soon(cancel_soon, scope)
                    message = await endpoint.receive()
                    assert isinstance(message, str)
                    received += message.split("\n")
        while len(received) < 20:
            message = await endpoint.receive()
            assert isinstance(message, str)
            received += message.split("\n")
        assert received == [str(number) for number in range(20)]


async def test_cancelling_the_owner_ends_everything(make_link: MakeLink) -> None:
    hub = EchoHub()
    async with make_link(hub) as link:
        with trio.CancelScope() as scope:
            async with link.connect() as endpoint, running(endpoint):
                endpoint.push_nowait(b"hello")
                await endpoint.receive()
                scope.cancel()
                await trio.sleep_forever()
        while hub.serving:
            await trio.lowlevel.checkpoint()
    with pytest.raises(ConnectionLost):
        await endpoint.receive()
