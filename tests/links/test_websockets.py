"""What the faster transport could do wrong: no task of its own reads, writes or answers."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from trio_hub.errors import ConnectionLost
from trio_hub.links import LinkLimits, choose_transport
from trio_hub.links.base import MessageStream

from .test_ws import UPGRADE, frame

Memory = trio.StapledStream[trio.abc.SendStream, trio.abc.ReceiveStream]


@asynccontextmanager
async def accepted(
    early: bytes = b"", lockstep: bool = False
) -> AsyncIterator[tuple[MessageStream, Memory]]:
    """
    The hub's end of a WebSocket, and the bytes of its peer, who has read the handshake.

    With `lockstep`, what the hub sends is not sent before the peer reads it.
    """
    to_us, from_peer = trio.testing.memory_stream_one_way_pair()
    make = (
        trio.testing.lockstep_stream_one_way_pair
        if lockstep
        else trio.testing.memory_stream_one_way_pair
    )
    to_peer, from_us = make()
    ours, theirs = trio.StapledStream(to_peer, from_peer), trio.StapledStream(to_us, from_us)
    streams: list[MessageStream] = []

    async def accept(nursery: trio.Nursery) -> None:
        streams.append(
            await choose_transport("websockets").accept(
                ours, nursery, peer="memory", limits=LinkLimits()
            )
        )

    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as opening:
            opening.start_soon(accept, nursery)
            await theirs.send_all(UPGRADE + early)
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += await theirs.receive_some(1)
        yield streams[0], theirs
        nursery.cancel_scope.cancel()


async def receive_exactly(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.receive_some(size - len(data))
    return data


async def test_what_comes_along_with_the_handshake_is_not_lost() -> None:
    early = frame(1, b"one") + frame(9, b"ping") + frame(1, b"two")
    async with accepted(early) as (stream, peer):
        assert await stream.receive_message() == "one"
        assert await stream.receive_message() == "two"
        # Not before the answer to the handshake, which has been read to its end.
        assert await receive_exactly(peer, 6) == b"\x8a\x04ping"


async def test_a_reader_that_is_cancelled_while_an_answer_is_sent_tears_nothing() -> None:
    async with accepted(lockstep=True) as (stream, peer):
        await peer.send_all(frame(9, b"ping")[:-1])
        with trio.move_on_after(0):
            await stream.receive_message()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.send_all, frame(9, b"ping")[-1:])
            with trio.CancelScope() as scope:
                nursery.start_soon(cancel_when_blocked, scope)
                await stream.receive_message()
        # Over these streams nothing has been sent before the peer reads.
        assert await receive_exactly(peer, 6) == b"\x8a\x04ping"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_messages, [b"hello"])
            assert await receive_exactly(peer, 7) == b"\x81\x05hello"


async def cancel_when_blocked(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


async def test_answers_and_messages_are_never_mixed_up() -> None:
    async with accepted(lockstep=True) as (stream, peer):
        big = b"x" * 1000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_messages, [big, big])
            nursery.start_soon(peer.send_all, frame(9, b"ping") + frame(1, b"go"))
            # Received although the writer has not got rid of its messages yet.
            assert await stream.receive_message() == "go"
            nursery.start_soon(stream.send_messages, [b"last"])
            whole = b"\x81\x7e" + struct.pack("!H", 1000) + big
            assert await receive_exactly(peer, 2 * len(whole)) == 2 * whole
            rest = await receive_exactly(peer, 6 + 6)
            assert rest in (b"\x8a\x04ping\x81\x04last", b"\x81\x04last\x8a\x04ping")


async def test_after_a_message_was_torn_nothing_follows_it() -> None:
    async with accepted(lockstep=True) as (stream, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_messages, [b"x" * 1000])
            assert await receive_exactly(peer, 10) == b"\x81\x7e\x03\xe8" + b"x" * 6
            nursery.cancel_scope.cancel()
        with pytest.raises(ConnectionLost):
            await stream.send_messages([b"more"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.aclose, 1000, "bye")
            seen = b""
            while chunk := await peer.receive_some():
                seen += chunk
        assert set(seen) <= set(b"x")


async def test_closing_takes_over_from_a_reader_that_leaves() -> None:
    async with accepted() as (stream, peer), trio.open_nursery() as nursery:
        with trio.CancelScope() as reader:
            nursery.start_soon(stream.aclose, 1000, "bye")
            nursery.start_soon(cancel_when_blocked, reader)
            await stream.receive_message()
        assert reader.cancelled_caught
        assert await receive_exactly(peer, 7) == b"\x88\x05\x03\xe8bye"
        await peer.send_all(frame(1, b"too late") + frame(8, b"\x03\xe8"))
        # Closed at once, and not when a time is over.
        assert await peer.receive_some() == b""
        with pytest.raises(ConnectionLost, match="closed by this side: 1000 bye"):
            await stream.receive_message()


async def test_a_long_reason_for_closing_is_cut_between_characters() -> None:
    async with accepted() as (stream, peer), trio.open_nursery() as nursery:
        nursery.start_soon(stream.aclose, 4000, "é" * 100)
        head = await receive_exactly(peer, 2)
        assert head == bytes([0x88, 2 + 122])
        assert (await receive_exactly(peer, 124))[2:].decode() == "é" * 61
        await peer.aclose()


async def test_what_was_read_before_the_end_is_received_before_the_end_is_told() -> None:
    async with accepted() as (stream, peer):
        await peer.send_all(frame(1, b"one") + frame(1, b"two") + frame(8, b"\x0f\xa1mine"))
        assert [await stream.receive_message() for _ in range(2)] == ["one", "two"]
        for _ in range(2):
            with pytest.raises(ConnectionLost, match="closed by the peer: 4001: mine"):
                await stream.receive_message()
        with pytest.raises(ConnectionLost, match="closed by the peer"):
            await stream.send_messages([b"nobody is there"])


async def test_a_byte_at_a_time_makes_no_difference() -> None:
    async with accepted() as (stream, peer), trio.open_nursery() as nursery:

        async def send_bytes() -> None:
            for byte in frame(1, "é".encode(), final=False) + frame(0, b"!") + frame(2, b"\xff"):
                await peer.send_all(bytes([byte]))
                await trio.testing.wait_all_tasks_blocked()

        nursery.start_soon(send_bytes)
        assert await stream.receive_message() == "é!"
        assert await stream.receive_message() == b"\xff"


@pytest.mark.parametrize(
    "requested",
    [
        UPGRADE.replace(b"Host: hub\r\n", b""),
        UPGRADE.replace(b"Host: hub", b"Host: a\r\nHost: b"),
        UPGRADE.replace(b"Version: 13", b"Version: 8"),
        UPGRADE.replace(b"websocket", b"h2c"),
    ],
    ids=["no-host", "two-hosts", "old-version", "no-websocket"],
)
async def test_a_handshake_that_is_wrong_opens_nothing(requested: bytes) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(requested)
    async with trio.open_nursery() as nursery:
        with pytest.raises(ConnectionLost, match="no WebSocket was opened"):
            await choose_transport("websockets").accept(
                ours, nursery, peer="memory", limits=LinkLimits()
            )
    assert (await theirs.receive_some()).startswith(b"HTTP/1.1 ")


async def test_what_is_broken_behind_a_handshake_ends_what_was_opened() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(UPGRADE + frame(1, b"one") + frame(8, b"\x00"))
    async with trio.open_nursery() as nursery:
        stream = await choose_transport("websockets").accept(
            ours, nursery, peer="memory", limits=LinkLimits()
        )
        assert await stream.receive_message() == "one"
        nursery.start_soon(theirs.send_eof)
        with pytest.raises(ConnectionLost, match="what the peer sent was"):
            await stream.receive_message()
    assert (await theirs.receive_some()).startswith(b"HTTP/1.1 101 ")


async def refused(request: bytes) -> bytes:
    """Have a handshake refused, and return the answer."""
    to_us, from_peer = trio.testing.memory_stream_one_way_pair()
    to_peer, from_us = trio.testing.memory_stream_one_way_pair()
    await to_us.send_all(request)
    async with trio.open_nursery() as nursery:
        with pytest.raises(ConnectionLost, match="no WebSocket was opened"):
            await choose_transport("websockets").accept(
                trio.StapledStream(to_peer, from_peer),
                nursery,
                peer="memory",
                limits=LinkLimits(),
            )
    return bytes(await from_us.receive_some())


@pytest.mark.parametrize("header", ["Upgrade", "Connection", "Sec-WebSocket-Key"])
async def test_a_header_that_is_not_ascii_is_a_bad_request(header: str) -> None:
    spoilt = UPGRADE.replace(f"{header}: ".encode(), f"{header}: ".encode() + b"\xe6")
    assert (await refused(spoilt)).startswith(b"HTTP/1.1 400 ")


async def test_a_refused_handshake_with_broken_frames_behind_it_is_answered() -> None:
    no_upgrade = UPGRADE.replace(b"websocket\r\n", b"something\r\n")
    reserved_opcode = frame(3, b"")
    assert (await refused(no_upgrade + reserved_opcode)).startswith(b"HTTP/1.1 4")
