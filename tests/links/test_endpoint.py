"""An endpoint over a stream that does what the test says, on a virtual clock."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hub.errors import ConnectionLost
from trio_hub.links import LinkEndpoint, LinkLimits, Side
from trio_hub.wire.frames import Dialect

from .echo import receive_until_lost, running

LIMITS = LinkLimits(
    message_bytes_max=1000,
    overhead_bytes_max=100,
    plain_message_bytes_max=500,
    outbox_low_bytes=1000,
    outbox_high_bytes=4000,
    outbox_hard_bytes=10_000,
)


class ScriptedStream:
    """Sends when `reading`, answers pings when `ponging`; receives what is put into `inbound`."""

    peer = "scripted"
    dialect = Dialect.BATCHED

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closes: list[tuple[int, str]] = []
        self.torn = False
        self.pings = 0
        self.reading = trio.Event()
        self.reading.set()
        self.ponging = True
        self.broken: str | None = None
        self.feed, self.inbound = trio.open_memory_channel[str](100)

    async def send_messages(self, messages: Sequence[bytes]) -> None:
        await self.reading.wait()
        if self.broken:
            raise ConnectionLost(self.broken)
        self.sent += messages

    async def receive_message(self) -> str | bytes:
        try:
            return await self.inbound.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise ConnectionLost(self.broken or "gone") from None

    async def ping(self) -> None:
        self.pings += 1
        if not self.ponging:
            await trio.sleep_forever()

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        self.closes.append((code, reason))
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            self.torn = True
            raise
        finally:
            self.inbound.close()


def make(side: Side = Side.HUB) -> tuple[ScriptedStream, LinkEndpoint]:
    stream = ScriptedStream()
    return stream, LinkEndpoint(stream, side=side, limits=LIMITS)


async def test_a_peer_that_never_pongs_is_cut_off_and_receive_says_so(
    autojump_clock: object,
) -> None:
    stream, endpoint = make()
    stream.ponging = False
    async with running(endpoint):
        reason = await receive_until_lost(endpoint)
    assert "silent peer" in reason
    assert stream.torn
    assert trio.current_time() == pytest.approx(40)


async def test_a_peer_that_pongs_stays(autojump_clock: object) -> None:
    stream, endpoint = make()
    async with running(endpoint):
        await trio.sleep(3600)
        assert not endpoint.closed
        assert stream.pings == pytest.approx(180, abs=1)


async def test_a_peer_is_not_blamed_while_we_do_not_listen(autojump_clock: object) -> None:
    stream, endpoint = make()
    stream.ponging = False
    async with running(endpoint):
        await trio.sleep(300)  # The owner is busy with an earlier message.
        assert not endpoint.closed
        assert "silent peer" in await receive_until_lost(endpoint)


async def test_a_peer_that_takes_nothing_is_cut_off(autojump_clock: object) -> None:
    stream, endpoint = make()
    stream.reading = trio.Event()
    async with running(endpoint):
        endpoint.push_nowait(b"hello")
        reason = await receive_until_lost(endpoint)
    assert "slow peer" in reason
    assert stream.torn
    assert trio.current_time() == pytest.approx(30, abs=1)


async def test_a_large_frame_gets_more_time(autojump_clock: object) -> None:
    stream = ScriptedStream()
    endpoint = LinkEndpoint(stream, side=Side.HUB)
    stream.reading = trio.Event()
    stream.ponging = False
    async with running(endpoint), trio.open_nursery() as nursery:
        endpoint.push_nowait(b"x" * (8 * 1024 * 1024))
        nursery.start_soon(receive_until_lost, endpoint)
        await trio.sleep(200)
        stream.reading.set()
        await wait_all_tasks_blocked()
        assert len(stream.sent) == 1
        assert not endpoint.closed
        nursery.cancel_scope.cancel()


async def test_a_slow_reader_takes_the_room_and_gives_it_back() -> None:
    stream, endpoint = make()
    stream.reading = trio.Event()
    drained: list[bool] = []
    endpoint.outbox.on_drained = lambda: drained.append(True)
    async with running(endpoint):
        for _ in range(4):
            assert endpoint.outbox.has_room
            endpoint.push_nowait(b"x" * 1000)
            await wait_all_tasks_blocked()
        assert not endpoint.outbox.has_room
        stream.reading.set()
        await wait_all_tasks_blocked()
        assert endpoint.outbox.has_room
        assert drained == [True]
        assert endpoint.outbox.bytes_waiting == 0


async def test_a_peer_that_lets_too_much_wait_is_cut_off_at_the_hard_limit() -> None:
    stream, endpoint = make()
    stream.reading = trio.Event()
    async with running(endpoint):
        for _ in range(10):
            assert endpoint.push_nowait(b"x" * 1000)
        assert not endpoint.push_nowait(b"x")
        assert endpoint.closed
        reason = await receive_until_lost(endpoint)
    assert "slow peer: 10000 bytes" in reason
    assert stream.torn


async def test_being_cut_before_the_writer_runs_is_seen_when_it_runs() -> None:
    stream, endpoint = make()
    endpoint.cut("no reason")
    async with running(endpoint):
        assert "no reason" in await receive_until_lost(endpoint)
    assert stream.torn


async def test_close_soon_writes_what_waits_and_then_says_why() -> None:
    stream, endpoint = make()
    endpoint.push_nowait(b"one")
    endpoint.close_soon(4001, "taken over")
    endpoint.close_soon(1000, "again")
    async with running(endpoint):
        assert "4001 taken over" in await receive_until_lost(endpoint)
    assert stream.sent == [b"one"]
    assert stream.closes[0] == (4001, "taken over")


async def test_close_soon_is_bounded_though_the_peer_takes_nothing(autojump_clock: object) -> None:
    stream, endpoint = make()
    stream.reading = trio.Event()
    async with running(endpoint):
        endpoint.push_nowait(b"one")
        await wait_all_tasks_blocked()
        endpoint.close_soon(1001, "going away")
        await receive_until_lost(endpoint)
    assert trio.current_time() <= LIMITS.close_timeout_seconds


async def test_what_the_peer_sent_before_it_left_is_still_received() -> None:
    stream, endpoint = make()
    stream.broken = "the wire is cut"
    async with running(endpoint):
        stream.feed.send_nowait("receipt")
        endpoint.push_nowait(b"x")
        await wait_all_tasks_blocked()
        assert endpoint.closed
        assert await endpoint.receive() == "receipt"
        stream.feed.close()
        assert await receive_until_lost(endpoint) == "the wire is cut"


async def test_an_end_that_only_the_writer_saw_reaches_the_reader_in_time(
    autojump_clock: object,
) -> None:
    stream, endpoint = make()
    stream.broken = "reset"
    async with running(endpoint):
        endpoint.push_nowait(b"{}")
        await stream.feed.send("said before it left")
        assert await endpoint.receive() == "said before it left"
        # Whoever is busy with what came may read on afterwards.
        await trio.sleep(10 * LIMITS.ping_timeout_seconds)
        await stream.feed.send("and this")
        assert await endpoint.receive() == "and this"
        started = trio.current_time()
        with pytest.raises(ConnectionLost, match="reset"):
            await endpoint.receive()
        assert trio.current_time() - started <= 2 * LIMITS.ping_timeout_seconds
    assert stream.torn


async def test_lost_connections_are_told_again_to_whoever_asks_again() -> None:
    stream, endpoint = make()
    stream.feed.close()
    for _ in range(2):
        with pytest.raises(ConnectionLost, match="gone"):
            await endpoint.receive()


@pytest.mark.parametrize(
    ("side", "dialect", "bytes_max"),
    [
        (Side.HUB, Dialect.BATCHED, 1100),
        (Side.HUB, Dialect.PLAIN, 500),
        (Side.CLIENT, Dialect.BATCHED, 1000),
        (Side.CLIENT, Dialect.PLAIN, 500),
    ],
)
def test_an_endpoint_knows_the_largest_frame_that_its_peer_takes(
    side: Side, dialect: Dialect, bytes_max: int
) -> None:
    stream = ScriptedStream()
    stream.dialect = dialect
    endpoint = LinkEndpoint(stream, side=side, limits=LIMITS)
    assert endpoint.frame_bytes_max == bytes_max


@pytest.mark.parametrize(
    "fields",
    [
        {"outbox_low_bytes": 5_000_000, "outbox_high_bytes": 4_000_000},
        {"outbox_hard_bytes": 8 * 1024 * 1024},
        {"plain_message_bytes_max": 9 * 1024 * 1024},
        {"ping_timeout_seconds": 0},
    ],
)
def test_limits_that_contradict_each_other_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        LinkLimits(**fields)  # type: ignore[arg-type]
