"""WebSockets among peers that are wrong, slow, silent or gone: each costs only itself."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
import trio
import trio.testing
import trio_websocket
import trustme

from trio_hub.errors import AuthError, ConnectionLost
from trio_hub.links import (
    LinkEndpoint,
    LinkLimits,
    Side,
    WsLink,
    WsServer,
    choose_transport,
    serve_ws,
    transport as transports,
)
from trio_hub.wire.frames import BATCHED_SUBPROTOCOL, Dialect

from .echo import CallbackHub, EchoHub, receive_until_lost, running

QUICK = LinkLimits(
    ping_interval_seconds=0.05,
    ping_timeout_seconds=0.05,
    send_timeout_seconds=0.2,
    send_bytes_per_second_min=1e9,
    close_timeout_seconds=0.2,
)


@pytest.fixture(params=["trio-websocket", "websockets"], autouse=True)
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What speaks WebSocket on our side, in every test below."""
    name: str = request.param
    monkeypatch.setattr(transports, "AUTO_ORDER", (name,))
    return name


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def raw_connection(server: WsServer) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", server.port)


async def upgraded(server: WsServer) -> trio.SocketStream:
    """A peer that has shaken hands and from now on does only what the test makes it do."""
    stream = await raw_connection(server)
    await stream.send_all(UPGRADE)
    answer = b""
    while b"\r\n\r\n" not in answer:
        chunk = await stream.receive_some()
        assert chunk
        answer += chunk
    assert answer.startswith(b"HTTP/1.1 101")
    return stream


def frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """A masked WebSocket frame (RFC 6455, 5.2)."""
    mask = b"\x37\xfa\x21\x3d"
    head = bytes([opcode | (0x80 if final else 0)])
    if len(payload) < 126:
        head += bytes([0x80 | len(payload)])
    else:
        head += bytes([0x80 | 127]) + struct.pack("!Q", len(payload))
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


async def read_to_end(stream: trio.abc.ReceiveStream) -> bytes:
    data = b""
    try:
        while chunk := await stream.receive_some():
            data += chunk
    except trio.BrokenResourceError:
        pass  # A reset is an end too.
    return data


async def all_gone(server: WsServer) -> None:
    while server.connection_count:  # noqa: ASYNC110 - looks from outside, on purpose
        await trio.sleep(0.001)


async def assert_echo_works(server: WsServer) -> None:
    async with WsLink(server.url).connect() as endpoint, running(endpoint):
        endpoint.push_nowait(b"hello")
        assert await endpoint.receive() == "hello"


@asynccontextmanager
async def tcp_server(
    handler: Callable[[trio.SocketStream], Awaitable[object]],
) -> AsyncIterator[str]:
    """A server that is no hub."""
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handler, [listener])
        yield f"ws://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


# The handshake, seen from the server.


@pytest.mark.parametrize(
    ("offered", "picked", "dialect"),
    [
        ([], None, Dialect.PLAIN),
        (["graphql-ws"], None, Dialect.PLAIN),
        ([BATCHED_SUBPROTOCOL], BATCHED_SUBPROTOCOL, Dialect.BATCHED),
        (["graphql-ws", BATCHED_SUBPROTOCOL], BATCHED_SUBPROTOCOL, Dialect.BATCHED),
    ],
)
async def test_only_a_client_that_offers_the_batched_dialect_gets_it(
    offered: list[str], picked: str | None, dialect: Dialect
) -> None:
    hub = EchoHub()
    async with serve_ws(hub, "127.0.0.1", 0) as server:
        async with trio_websocket.open_websocket_url(server.url, subprotocols=offered) as peer:
            await peer.send_message("hello")
            assert await peer.get_message() == "hello"
            assert peer.subprotocol == picked
        await all_gone(server)
    assert [endpoint.dialect for endpoint in hub.endpoints] == [dialect]


async def test_the_port_can_be_read_the_way_ag2_users_do() -> None:
    async with serve_ws(EchoHub(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert server.port == port > 0
        assert server.url == f"ws://127.0.0.1:{port}"


async def test_serving_no_auth_beyond_loopback_needs_an_explicit_flag() -> None:
    with pytest.raises(ValueError, match="allow_unauthenticated"):
        async with serve_ws(EchoHub(), "0.0.0.0", 0):  # noqa: S104
            pass
    async with serve_ws(EchoHub(("api_key",)), "0.0.0.0", 0) as server:  # noqa: S104
        assert server.url == f"ws://127.0.0.1:{server.port}"
    async with serve_ws(EchoHub(), "0.0.0.0", 0, allow_unauthenticated=True):  # noqa: S104
        pass


async def test_a_port_that_is_taken_is_an_os_error() -> None:
    async with serve_ws(EchoHub(), "127.0.0.1", 0) as server:
        with pytest.raises(OSError, match="in use"):
            async with serve_ws(EchoHub(), "127.0.0.1", server.port):
                pass


@pytest.mark.parametrize(
    "first_bytes",
    [
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50,
        b"\xff" * 1000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
        UPGRADE.replace(b"Host: hub", b"Host: \xff\xfe"),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"x" * 300_000,
    ],
    ids=["nothing", "tls", "noise", "post", "bad-host", "plain-get", "endless-header"],
)
async def test_garbage_instead_of_a_handshake_ends_that_connection_at_once(
    first_bytes: bytes,
) -> None:
    hub = EchoHub()
    async with serve_ws(hub, "127.0.0.1", 0) as server:
        peer = await raw_connection(server)
        async with peer:
            if first_bytes:
                with suppress(trio.BrokenResourceError):  # It may not hear us out.
                    await peer.send_all(first_bytes)
                await read_to_end(peer)
        with trio.fail_after(5):  # Far below the time that a handshake may take.
            await all_gone(server)
            await assert_echo_works(server)
    assert len(hub.endpoints) == 1


async def test_a_handshake_that_is_never_finished_is_given_up() -> None:
    limits = LinkLimits(open_timeout_seconds=0.1)
    async with serve_ws(EchoHub(), "127.0.0.1", 0, limits=limits) as server:
        async with await raw_connection(server) as peer:
            await peer.send_all(UPGRADE[:50])
            assert await read_to_end(peer) == b""
        await all_gone(server)


async def test_connections_above_the_limit_are_closed_and_later_ones_welcome() -> None:
    async with serve_ws(EchoHub(), "127.0.0.1", 0, max_connections=1) as server:
        async with WsLink(server.url).connect() as endpoint, running(endpoint):
            with pytest.raises(ConnectionLost):
                async with WsLink(server.url).connect():
                    pass
            endpoint.push_nowait(b"unharmed")
            assert await endpoint.receive() == "unharmed"
        assert server.refused_count == 1
        await all_gone(server)
        await assert_echo_works(server)


async def test_one_address_gets_no_more_than_its_share() -> None:
    async with serve_ws(EchoHub(), "127.0.0.1", 0, max_connections_per_address=2) as server:
        async with AsyncExitStack() as stack:
            for _ in range(2):
                endpoint = await stack.enter_async_context(WsLink(server.url).connect())
                await stack.enter_async_context(running(endpoint))
            with pytest.raises(ConnectionLost):
                async with WsLink(server.url).connect():
                    pass
            # Somebody who comes from another address is let in.
            raw = trio.socket.socket()
            await raw.bind(("127.0.0.2", 0))
            await raw.connect(("127.0.0.1", server.port))
            async with trio.SocketStream(raw) as other:
                await other.send_all(UPGRADE)
                assert (await other.receive_some()).startswith(b"HTTP/1.1 101 ")
        assert server.refused_count == 1
        await all_gone(server)
        await assert_echo_works(server)


# Messages that are wrong.


@pytest.mark.parametrize(
    "message",
    [
        frame(1, b"\xff\xfe"),
        frame(3, b"unknown opcode"),
        frame(0, b"continues nothing"),
        frame(9, b"x" * 200),
        b"\xff" * 100,
        frame(8, b"\x00"),
    ],
    ids=["invalid-utf8", "opcode", "continuation", "long-ping", "noise", "bad-close"],
)
async def test_frames_that_break_the_websocket_end_that_connection_only(message: bytes) -> None:
    hub = EchoHub()
    async with (
        serve_ws(hub, "127.0.0.1", 0) as server,
        WsLink(server.url).connect() as other,
        running(other),
    ):
        async with await upgraded(server) as peer:
            await peer.send_all(message)
            await read_to_end(peer)
        other.push_nowait(b"unharmed")
        assert await other.receive() == "unharmed"
    assert hub.serving == 0


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        (frame(1, b"\xff\xfe"), 1007, b"not valid UTF-8"),
        (frame(3, b"unknown opcode"), 1002, b"not valid as WebSocket frames"),
    ],
    ids=["invalid-utf8", "opcode"],
)
async def test_a_peer_that_breaks_the_websocket_is_told_how(
    message: bytes, code: int, words: bytes
) -> None:
    async with serve_ws(EchoHub(), "127.0.0.1", 0) as server, await upgraded(server) as peer:
        await peer.send_all(message)
        answer = await read_to_end(peer)
    assert b'"kind":"error","code":"protocol_error"' in answer
    assert words in answer
    assert struct.pack("!H", code) + words in answer


async def test_a_peer_that_closes_with_such_a_code_itself_is_only_answered() -> None:
    async with serve_ws(EchoHub(), "127.0.0.1", 0) as server, await upgraded(server) as peer:
        await peer.send_all(frame(8, struct.pack("!H", 1007)))
        assert await read_to_end(peer) == b"\x88\x02" + struct.pack("!H", 1007)


async def test_a_binary_message_is_handed_on_as_bytes() -> None:
    async with (
        serve_ws(EchoHub(), "127.0.0.1", 0) as server,
        trio_websocket.open_websocket_url(server.url) as peer,
    ):
        await peer.send_message(b"\xff\x00")
        assert await peer.get_message() == "binary"


async def test_a_message_in_fragments_is_one_message() -> None:
    async with serve_ws(EchoHub(), "127.0.0.1", 0) as server, await upgraded(server) as peer:
        whole = "é".encode()
        await peer.send_all(frame(1, whole[:1], final=False) + frame(0, whole[1:]))
        assert await peer.receive_some() == b"\x81\x02" + whole


async def test_a_ping_between_fragments_is_answered_and_the_message_is_whole() -> None:
    async with serve_ws(EchoHub(), "127.0.0.1", 0) as server, await upgraded(server) as peer:
        await peer.send_all(
            frame(2, b"ab", final=False)
            + frame(0, b"", final=False)
            + frame(9, b"there?")
            + frame(0, b"c")
            + frame(1, "é".encode())
        )
        answer = b""
        while len(answer) < 8 + 8 + 4:
            answer += await peer.receive_some()
    assert b"\x8a\x06there?" in answer
    assert answer.replace(b"\x8a\x06there?", b"") == b"\x81\x06binary\x81\x02" + "é".encode()


async def test_fragments_far_over_the_limit_together_end_that_connection_only() -> None:
    limits = LinkLimits(message_bytes_max=1000, plain_message_bytes_max=1000)
    async with serve_ws(EchoHub(), "127.0.0.1", 0, limits=limits) as server:
        async with await upgraded(server) as peer:
            with suppress(trio.BrokenResourceError):
                await peer.send_all(frame(1, b"x" * 100, final=False))
                for _ in range(100):
                    await peer.send_all(frame(0, b"x" * 100, final=False) * 10)
            assert struct.pack("!H", 1009) in await read_to_end(peer)
        await all_gone(server)
        await assert_echo_works(server)


async def test_a_peer_that_pings_and_does_not_read_the_answers_waits_for_itself() -> None:
    async with serve_ws(EchoHub(), "127.0.0.1", 0) as server, await upgraded(server) as peer:
        pings = frame(9, b"x" * 125) * 500
        sent = 0
        # Its own writes stop at last: the kernel's buffers are full in both directions.
        with trio.move_on_after(2):
            while sent < 200_000_000:
                await peer.send_all(pings)
                sent += len(pings)
        assert sent < 200_000_000
        await assert_echo_works(server)


async def test_a_flood_of_small_messages_does_not_keep_others_from_their_turn() -> None:
    turns = 0
    turns_seen: list[int] = []

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async def note_turns(endpoint: LinkEndpoint) -> None:
        async with running(endpoint):
            with suppress(ConnectionLost):
                while True:
                    await endpoint.receive()
                    turns_seen.append(turns)

    async with (
        trio.open_nursery() as nursery,
        serve_ws(CallbackHub(note_turns), "127.0.0.1", 0) as server,
    ):
        nursery.start_soon(count_turns)
        async with await upgraded(server) as peer:
            await peer.send_all(frame(1, b"x") * 1000 + frame(8, b""))
            await read_to_end(peer)
        nursery.cancel_scope.cancel()
    assert len(turns_seen) == 1000
    assert max(turns_seen.count(turn) for turn in set(turns_seen)) < 100


async def test_a_message_far_over_the_limit_ends_that_connection_only() -> None:
    limits = LinkLimits(message_bytes_max=1000, plain_message_bytes_max=1000)
    hub = EchoHub()
    async with serve_ws(hub, "127.0.0.1", 0, limits=limits) as server:
        async with await upgraded(server) as peer:
            await peer.send_all(frame(1, b"x" * 200_000))
            assert b"\x88" in await read_to_end(peer)
        await all_gone(server)
        await assert_echo_works(server)


# Peers that leave or fall silent.


async def test_a_peer_that_resets_is_lost_once_and_with_a_reason() -> None:
    hub = EchoHub()
    async with serve_ws(hub, "127.0.0.1", 0) as server:
        peer = await upgraded(server)
        await peer.send_all(frame(1, b"a message in full") + frame(1, b"half of one")[:-4])
        await peer.receive_some()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await peer.aclose()
        await all_gone(server)
    assert hub.lost == ["the connection broke: it ended without a closing handshake"]


async def test_a_peer_that_never_pongs_is_cut_off() -> None:
    hub = EchoHub()
    async with serve_ws(hub, "127.0.0.1", 0, limits=QUICK) as server:
        async with await upgraded(server) as peer:
            await read_to_end(peer)
        await all_gone(server)
    [reason] = hub.lost
    assert "silent peer" in reason


async def test_a_client_notices_a_hub_that_went_silent() -> None:
    async def shake_hands_only(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            await request.accept()
            nursery.cancel_scope.cancel()
        await trio.sleep_forever()

    async with (
        tcp_server(shake_hands_only) as url,
        WsLink(url, limits=QUICK).connect() as endpoint,
        running(endpoint),
    ):
        assert "silent peer" in await receive_until_lost(endpoint)


async def test_a_peer_in_the_middle_of_a_long_message_counts_as_alive(
    transport: str,
    autojump_clock: trio.testing.MockClock,
) -> None:
    # Its pong stands in line behind the message, and that takes ten minutes.
    hub_end, peer = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        await peer.send_all(UPGRADE)
        stream = await choose_transport(transport).accept(
            hub_end, nursery, peer="memory", limits=LinkLimits()
        )
        endpoint = LinkEndpoint(stream, side=Side.HUB)

        async def send_slowly() -> None:
            for byte in frame(1, b"x" * 100):
                await trio.sleep(6)
                await peer.send_all(bytes([byte]))

        async with running(endpoint):
            nursery.start_soon(send_slowly)
            assert await endpoint.receive() == "x" * 100
            assert "silent peer" in await receive_until_lost(endpoint)
        nursery.cancel_scope.cancel()
    assert trio.current_time() > 600


async def test_a_peer_that_does_not_read_is_cut_off_and_others_do_not_wait_for_it() -> None:
    lost: list[str] = []

    async def flood(endpoint: LinkEndpoint) -> None:
        try:
            async with running(endpoint):
                if endpoint.dialect is Dialect.PLAIN:
                    while endpoint.outbox.has_room:
                        endpoint.push_nowait(b"x" * 500_000)
                        await trio.lowlevel.checkpoint()
                else:
                    endpoint.push_nowait(b"small")
                while True:
                    await endpoint.receive()
        except ConnectionLost as error:
            lost.append(error.message)

    limits = LinkLimits(send_timeout_seconds=0.2, send_bytes_per_second_min=1e9)
    async with serve_ws(CallbackHub(flood), "127.0.0.1", 0, limits=limits) as server:
        slow = await upgraded(server)
        async with WsLink(server.url).connect() as endpoint:
            assert await endpoint.receive() == "small"
        await all_gone(server)
        await slow.aclose()
    assert len(lost) == 2
    assert "slow peer" in lost[1]


# Leaving.


async def test_leaving_the_server_tells_every_client_that_it_goes_away() -> None:
    reasons: list[str] = []

    async def client(url: str, ready: trio.Event) -> None:
        async with WsLink(url).connect() as endpoint, running(endpoint):
            ready.set()
            reasons.append(await receive_until_lost(endpoint))

    hub = EchoHub()
    async with trio.open_nursery() as nursery:  # noqa: SIM117 - the server leaves first
        async with serve_ws(hub, "127.0.0.1", 0) as server:
            ready = [trio.Event() for _ in range(3)]
            for event in ready:
                nursery.start_soon(client, server.url, event)
            for event in ready:
                await event.wait()
            while len(hub.endpoints) < 3:
                await trio.lowlevel.checkpoint()
    assert reasons == ["closed by the peer: 1001 going away: going away"] * 3
    assert hub.serving == 0


async def test_leaving_the_server_does_not_wait_for_ever() -> None:
    stuck = trio.Event()

    async def never_ends(endpoint: LinkEndpoint) -> None:
        stuck.set()
        await trio.sleep_forever()

    async with serve_ws(CallbackHub(never_ends), "127.0.0.1", 0, limits=QUICK) as server:
        silent = await upgraded(server)
        await stuck.wait()
        half = await raw_connection(server)
    await read_to_end(silent)
    await read_to_end(half)
    await silent.aclose()
    await half.aclose()


async def test_a_ping_that_crosses_our_close_frame_harms_nobody() -> None:
    hub = EchoHub()
    async with serve_ws(hub, "127.0.0.1", 0) as server:
        peer = await upgraded(server)
        await peer.send_all(frame(1, b"hello"))
        await peer.receive_some()
        hub.endpoints[0].close_soon(1000, "bye")
        assert (await peer.receive_some())[0] == 0x88
        await peer.send_all(frame(9, b"are you there?") * 3 + frame(8, struct.pack("!H", 1000)))
        await read_to_end(peer)
        await peer.aclose()
        with trio.fail_after(3):  # Not only when the time for closing is over.
            await all_gone(server)
        await assert_echo_works(server)
    assert hub.serving == 0


async def test_fifty_connections_at_once_and_nothing_is_left() -> None:
    hub = EchoHub()
    answers: list[str | bytes] = []

    async def client(url: str, number: int) -> None:
        async with WsLink(url).connect() as endpoint, running(endpoint):
            endpoint.push_nowait(str(number).encode())
            answers.append(await endpoint.receive())

    async with serve_ws(hub, "127.0.0.1", 0) as server:
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(client, server.url, number)
        await all_gone(server)
    assert {int(answer) for answer in answers} == set(range(50))
    assert hub.serving == 0
    assert len(hub.lost) == 50


# The handshake, seen from the client.


async def test_nobody_listening_is_a_connection_lost_that_names_the_url() -> None:
    async with serve_ws(EchoHub(), "127.0.0.1", 0) as server:
        url = server.url
    with pytest.raises(ConnectionLost, match=url):
        async with WsLink(url).connect():
            pass


async def test_a_server_that_never_answers_is_given_up() -> None:
    async def wait(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with tcp_server(wait) as url:
        with pytest.raises(ConnectionLost, match="no answer within"):
            async with WsLink(url, open_timeout=0.1).connect():
                pass


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"", ConnectionLost, "hung up"),
        (b"220 mail.example ESMTP\r\n\r\n", ConnectionLost, "does not speak WebSocket"),
        (b"\x15\x03\x01\x00\x02\x02\x46", ConnectionLost, "does not speak WebSocket"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", ConnectionLost, "HTTP 200 hi"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", ConnectionLost, "HTTP 503"),
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", AuthError, "HTTP 401"),
        (b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\n\r\n", ConnectionLost, "does not speak"),
    ],
    ids=["hangs-up", "smtp", "tls-alert", "200", "503", "401", "false-101"],
)
async def test_a_server_that_is_no_hub_is_an_error_that_says_what_it_did(
    answer: bytes, error: type[Exception], words: str
) -> None:
    async def answer_once(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        await stream.aclose()

    async with tcp_server(answer_once) as url:
        with trio.fail_after(5), pytest.raises(error, match=words):
            async with WsLink(url).connect():
                pass


async def test_a_client_that_wants_only_the_batched_dialect_says_so() -> None:
    async def plain_only(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            peer = await request.accept()
            with pytest.raises(trio_websocket.ConnectionClosed):
                await peer.get_message()

    async with tcp_server(plain_only) as url:
        with pytest.raises(ConnectionLost, match="batched dialect"):
            async with WsLink(url, dialects=[Dialect.BATCHED]).connect():
                pass
        async with WsLink(url).connect() as endpoint:
            assert endpoint.dialect is Dialect.PLAIN


@pytest.mark.parametrize("url", ["http://host", "ws://", "host:80", "ws:host"])
def test_what_is_no_websocket_url_is_refused_where_it_is_written(url: str) -> None:
    with pytest.raises(ValueError, match="WebSocket URL"):
        WsLink(url)


def test_the_repr_of_a_link_shows_no_secret() -> None:
    link = WsLink("ws://user:pw@host/path?key=s3cret", extra_headers=[("X-Key", "s3cret")])
    assert "s3cret" not in repr(link)
    assert "pw" not in repr(link)


# TLS.


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def test_a_certificate_that_is_not_trusted_is_refused_with_the_reason(
    server_tls: ssl.SSLContext, authority: trustme.CA
) -> None:
    async with serve_ws(EchoHub(), "127.0.0.1", 0, ssl_context=server_tls) as server:
        assert server.url.startswith("wss://")
        with pytest.raises(ConnectionLost, match="certificate verify failed"):
            async with WsLink(server.url).connect():
                pass
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        async with (
            WsLink(server.url, ssl_context=trusting).connect() as endpoint,
            running(endpoint),
        ):
            endpoint.push_nowait(b"hello")
            assert await endpoint.receive() == "hello"


async def test_tls_to_a_plain_port_and_plain_to_a_tls_port_cost_only_themselves(
    server_tls: ssl.SSLContext,
) -> None:
    async with serve_ws(EchoHub(), "127.0.0.1", 0) as server:
        with trio.fail_after(5), pytest.raises(ConnectionLost, match="no TLS"):
            async with WsLink(server.url.replace("ws:", "wss:")).connect():
                pass
        await assert_echo_works(server)
    async with serve_ws(EchoHub(), "127.0.0.1", 0, ssl_context=server_tls) as server:
        with trio.fail_after(5), pytest.raises(ConnectionLost):
            async with WsLink(server.url.replace("wss:", "ws:")).connect():
                pass
        await all_gone(server)


async def test_a_torn_tls_connection_wakes_its_reader(server_tls: ssl.SSLContext) -> None:
    hub = EchoHub()
    async with serve_ws(hub, "127.0.0.1", 0, ssl_context=server_tls, limits=QUICK) as server:
        client_tls = ssl.create_default_context()
        client_tls.check_hostname = False
        client_tls.verify_mode = ssl.CERT_NONE
        tls = trio.SSLStream(await raw_connection(server), client_tls)
        await tls.send_all(UPGRADE)
        await tls.receive_some()
        await all_gone(server)
        await trio.aclose_forcefully(tls)
    [reason] = hub.lost
    assert "silent peer" in reason
