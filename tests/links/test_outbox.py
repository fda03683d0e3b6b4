"""The outbox: in order, counted, bounded, and never making anybody wait who pushes."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hub.links import Outbox


def make_outbox() -> Outbox:
    return Outbox(low_bytes=10, high_bytes=20, hard_bytes=40)


async def test_frames_come_out_in_order_and_all_at_once() -> None:
    outbox = make_outbox()
    for frame in (b"a", b"b", b"c"):
        assert outbox.push_nowait(frame)
    assert await outbox.take_all() == [b"a", b"b", b"c"]


async def test_a_bounded_take_leaves_the_rest_but_always_takes_one() -> None:
    outbox = make_outbox()
    for frame in (b"long frame", b"b", b"c", b"d"):
        outbox.push_nowait(frame)
    assert await outbox.take_all(2) == [b"long frame"]
    assert await outbox.take_all(2) == [b"b", b"c"]
    assert await outbox.take_all(2) == [b"d"]


async def test_the_writer_sleeps_until_there_is_something(nursery: trio.Nursery) -> None:
    outbox = make_outbox()
    taken: list[list[bytes]] = []

    async def writer() -> None:
        while frames := await outbox.take_all():
            taken.append(frames)

    nursery.start_soon(writer)
    await wait_all_tasks_blocked()
    outbox.push_nowait(b"a")
    outbox.push_nowait(b"b")
    await wait_all_tasks_blocked()
    outbox.push_nowait(b"c")
    await wait_all_tasks_blocked()
    assert taken == [[b"a", b"b"], [b"c"]]
    outbox.close()


async def test_bytes_count_until_they_were_written() -> None:
    outbox = make_outbox()
    outbox.push_nowait(b"12345")
    await outbox.take_all()
    assert outbox.bytes_waiting == 5
    outbox.written(5)
    assert outbox.bytes_waiting == 0


async def test_room_ends_at_the_high_mark_and_comes_back_below_the_low_one() -> None:
    outbox = make_outbox()
    drained: list[int] = []
    outbox.on_drained = lambda: drained.append(outbox.bytes_waiting)
    outbox.push_nowait(b"x" * 19)
    assert outbox.has_room
    outbox.push_nowait(b"x")
    assert not outbox.has_room
    await outbox.take_all()
    outbox.written(10)
    assert not outbox.has_room
    assert drained == []
    outbox.written(1)
    assert outbox.has_room
    assert drained == [9]
    outbox.written(9)
    assert drained == [9]


async def test_waiting_for_room_ends_when_there_is_room(nursery: trio.Nursery) -> None:
    outbox = make_outbox()
    await outbox.wait_for_room()
    outbox.push_nowait(b"x" * 20)
    done = trio.Event()

    async def wait() -> None:
        await outbox.wait_for_room()
        done.set()

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    assert not done.is_set()
    await outbox.take_all()
    outbox.written(20)
    await done.wait()


async def test_waiting_for_room_ends_when_the_outbox_closes(nursery: trio.Nursery) -> None:
    outbox = make_outbox()
    outbox.push_nowait(b"x" * 20)
    nursery.start_soon(outbox.wait_for_room)
    await wait_all_tasks_blocked()
    outbox.close()
    assert not outbox.has_room
    assert not outbox.push_nowait(b"y")


@pytest.mark.parametrize(("size", "taken"), [(20, True), (21, False)])
async def test_the_hard_limit_is_reached_and_not_passed(size: int, taken: bool) -> None:
    outbox = make_outbox()
    outbox.push_nowait(b"x" * 20)
    assert outbox.push_nowait(b"y" * size) is taken


async def test_after_close_what_waits_is_taken_and_then_nothing() -> None:
    outbox = make_outbox()
    outbox.push_nowait(b"a")
    outbox.close()
    assert await outbox.take_all() == [b"a"]
    assert await outbox.take_all() == []
    assert await outbox.take_all() == []


async def test_discard_frees_what_waits() -> None:
    outbox = make_outbox()
    outbox.push_nowait(b"abc")
    outbox.discard()
    assert outbox.bytes_waiting == 0
    assert await outbox.take_all() == []


async def test_a_cancelled_take_takes_nothing(nursery: trio.Nursery) -> None:
    outbox = make_outbox()

    async def cancel_and_push(scope: trio.CancelScope) -> None:
        await wait_all_tasks_blocked()
        scope.cancel()
        outbox.push_nowait(b"a")

    with trio.CancelScope() as scope:
        nursery.start_soon(cancel_and_push, scope)
        await outbox.take_all()
    assert scope.cancelled_caught
    assert await outbox.take_all() == [b"a"]
