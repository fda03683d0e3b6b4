"""A byte stream over a real socket: what is read belongs to who reads it."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from trio_hub.links._tcp import TcpStream
from trio_hub.links._tls import receiver_of


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[TcpStream, TcpStream]]:
    """Two ends of one connection."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    near = await trio.open_tcp_stream(*listener.socket.getsockname())
    async with listener, TcpStream(near) as ours, TcpStream(await listener.accept()) as theirs:
        yield ours, theirs


async def test_connections_do_not_read_each_others_bytes() -> None:
    async with pair() as (a, far_a), pair() as (b, far_b):
        received: dict[str, bytes] = {}

        async def read(name: str, stream: TcpStream) -> None:
            while len(received.get(name, b"")) < 300_000:
                received[name] = received.get(name, b"") + await stream.receive_some()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, "a", a)
            nursery.start_soon(read, "b", b)
            nursery.start_soon(far_a.send_all, b"a" * 300_000)
            nursery.start_soon(far_b.send_all, b"b" * 300_000)
        assert received == {"a": b"a" * 300_000, "b": b"b" * 300_000}


async def test_threads_do_not_read_each_others_bytes() -> None:
    """Every thread may run a hub of its own."""

    async def echo_a_lot(letter: bytes) -> None:
        async with pair() as (ours, theirs):
            for _ in range(2_000):
                await theirs.send_all(letter * 2_000)
                got = b""
                while len(got) < 2_000:
                    got += await ours.receive_some()
                assert got == letter * 2_000

    async with trio.open_nursery() as nursery:
        for letter in (b"a", b"b"):
            nursery.start_soon(trio.to_thread.run_sync, trio.run, echo_a_lot, letter)


async def test_no_more_is_read_than_was_asked_for() -> None:
    async with pair() as (ours, theirs):
        await theirs.send_all(b"abcdef")
        assert await ours.receive_some(2) == b"ab"
        assert await ours.receive_some(10**9) == b"cdef"
        with pytest.raises(ValueError, match="max_bytes"):
            await ours.receive_some(0)
        await theirs.send_eof()
        assert await ours.receive_some() == b""
        assert ours.first_bytes == b"ab"


async def test_a_small_message_takes_little_memory() -> None:
    async with pair() as (ours, theirs):
        await theirs.send_all(b"x")
        await ours.receive_some()
        await theirs.send_all(b"x" * 200)
        tracemalloc.start()
        try:
            data = await ours.receive_some()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert len(data) == 200
    assert peak < 16_384


async def test_what_comes_over_tls_is_copied_out_of_what_was_taken_for_more() -> None:
    large = b"x" * 3_000
    asked: list[int | None] = []

    class Tls(trio.abc.ReceiveStream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            asked.append(max_bytes)
            await trio.lowlevel.checkpoint()
            return large

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    raw = trio.StapledStream(trio.testing.MemorySendStream(), Tls())
    data = await receiver_of(raw)(65_536)
    assert data == large
    assert data is not large
    assert asked == [16_384]
    async with pair() as (ours, _):
        assert receiver_of(ours) == ours.receive_some
