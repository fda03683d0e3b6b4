"""What is pushed while the cork is in goes out when it is pulled, and never gets stuck."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hub.errors import ConnectionLost
from trio_hub.links import Cork, LinkEndpoint, Side

from .test_endpoint import LIMITS, ScriptedStream


class EagerScriptedStream(ScriptedStream):
    """Takes `room` messages at once, and keeps the others until somebody sends in earnest."""

    def __init__(self) -> None:
        super().__init__()
        self.room = 100
        self.calls: list[list[bytes]] = []
        self._kept: list[bytes] = []

    def send_nowait(self, messages: Sequence[bytes]) -> bool:
        if self.broken:
            raise ConnectionLost(self.broken)
        self.calls.append(list(messages))
        self._kept += messages
        now, self._kept = self._kept[: self.room], self._kept[self.room :]
        self.sent += now
        self.room -= len(now)
        return not self._kept

    async def send_messages(self, messages: Sequence[bytes]) -> None:
        assert not messages, "they were taken before"
        kept, self._kept = self._kept, []
        await super().send_messages(kept)


@asynccontextmanager
async def corked() -> AsyncIterator[tuple[EagerScriptedStream, LinkEndpoint, Cork]]:
    """An endpoint with a cork, its writer at work."""
    stream, cork = EagerScriptedStream(), Cork()
    endpoint = LinkEndpoint(stream, side=Side.HUB, limits=LIMITS)
    endpoint.use_cork(cork)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(endpoint.write_out)
        await wait_all_tasks_blocked()
        yield stream, endpoint, cork
        nursery.cancel_scope.cancel()


async def test_all_that_was_pushed_is_written_in_one_go_when_the_cork_is_pulled() -> None:
    async with corked() as (stream, endpoint, cork):
        cork.put_in()
        endpoint.push_nowait(b"a")
        endpoint.push_nowait(b"b")
        assert stream.sent == []
        assert len(cork) == 1
        cork.pull()
        # At once, without a task.
        assert stream.calls == [[b"a\nb"]]
        assert endpoint.outbox.bytes_waiting == 0
        await wait_all_tasks_blocked()
        assert stream.sent == [b"a\nb"]


async def test_what_is_pushed_after_a_cork_that_stays_in_waits_for_the_next_time() -> None:
    async with corked() as (stream, endpoint, cork):
        cork.put_in()
        endpoint.push_nowait(b"a")
        cork.write_out()
        endpoint.push_nowait(b"b")
        assert stream.sent == [b"a"]
        cork.pull()
        assert stream.sent == [b"a", b"b"]


async def test_without_the_cork_the_writer_writes() -> None:
    async with corked() as (stream, endpoint, cork):
        endpoint.push_nowait(b"a")
        assert stream.sent == []
        # The writer has been woken for the first; the second goes along with it.
        cork.put_in()
        endpoint.push_nowait(b"b")
        cork.pull()
        await wait_all_tasks_blocked()
        assert stream.sent == [b"a\nb"]


async def test_what_a_peer_does_not_take_at_once_is_left_to_the_writer_in_order() -> None:
    async with corked() as (stream, endpoint, cork):
        stream.room = 0
        stream.reading = trio.Event()
        cork.put_in()
        endpoint.push_nowait(b"a")
        cork.pull()
        await wait_all_tasks_blocked()
        cork.put_in()
        endpoint.push_nowait(b"b")
        cork.pull()
        assert stream.sent == []
        assert endpoint.outbox.bytes_waiting == 2
        stream.room = 100
        stream.reading.set()
        await wait_all_tasks_blocked()
        assert stream.sent == [b"a", b"b"]
        assert endpoint.outbox.bytes_waiting == 0


async def test_room_that_comes_back_as_the_cork_is_pulled_is_told_of() -> None:
    async with corked() as (stream, endpoint, cork):
        drained: list[bool] = []
        endpoint.outbox.on_drained = lambda: drained.append(endpoint.outbox.has_room)
        cork.put_in()
        endpoint.push_nowait(b"x" * 4500)
        assert not endpoint.outbox.has_room
        cork.pull()
        assert drained == [True]
        assert len(stream.sent) == 1


async def test_peer_that_is_gone_harms_nobody_else() -> None:
    async with corked() as (stream, endpoint, cork), corked() as (other_stream, other, _):
        other.use_cork(cork)
        stream.broken = "hung up"
        cork.put_in()
        endpoint.push_nowait(b"a")
        other.push_nowait(b"b")
        cork.pull()
        assert other_stream.sent == [b"b"]
        assert endpoint.closed
        assert not endpoint.push_nowait(b"c")
        stream.feed.close()
        await wait_all_tasks_blocked()
        # It may still be read from: nobody has closed it.
        assert stream.closes == []
        with pytest.raises(ConnectionLost, match="hung up"):
            await endpoint.receive()


async def test_stream_that_needs_a_task_is_left_to_its_writer() -> None:
    stream, cork = ScriptedStream(), Cork()
    endpoint = LinkEndpoint(stream, side=Side.HUB, limits=LIMITS)
    endpoint.use_cork(cork)
    cork.put_in()
    endpoint.push_nowait(b"a")
    assert len(cork) == 0
    cork.pull()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(endpoint.write_out)
        await wait_all_tasks_blocked()
        assert stream.sent == [b"a"]
        nursery.cancel_scope.cancel()
