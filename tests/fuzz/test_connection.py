"""
Never another exception, never another connection harmed, whole or one byte at a time: a hub with
others in it, and one who sends what no client would.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st

from trio_hub import HubLimits, LinkLimits, serve_ws
from trio_hub.links import TransportName
from trio_hub.wire.frames import Dialect

from ..hub.peer import House, Peer, open_house
from ..links.test_ws import UPGRADE, frame
from .mutator import mutated

seeds = st.integers(0, 2**32)
# So that a fuzzer is not shown the door before it has begun.
PATIENT = HubLimits(malformed_frames_per_minute=1_000_000)
QUICK = LinkLimits(open_timeout_seconds=0.5, close_timeout_seconds=0.2)


@contextmanager
def nothing_fails() -> Iterator[None]:
    """What the hub calls an error in its log is a bug of its own."""
    records: list[logging.LogRecord] = []

    class Collects(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler, logger = Collects(logging.ERROR), logging.getLogger("trio_hub")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    assert [(record.getMessage(), record.exc_info) for record in records] == []


@asynccontextmanager
async def two_others(house: House) -> AsyncIterator[None]:
    """Two who were there before, and can still talk afterwards."""
    alice, bob = await house.join("alice"), await house.join("bob")
    channel_id = await alice.open("conversation", bob)
    yield
    for speaker, hearer in ((alice, bob), (bob, alice)):
        await speaker.say(channel_id, f"{len(speaker.history)}")
        await hearer.hears(f"{len(speaker.history) - 1}")
    assert alice.lost_because is bob.lost_because is None


def _can_travel(message: str) -> str:
    # What is no UTF-8 never gets as far as the hub.
    return message.encode(errors="replace").decode()


@pytest.mark.parametrize("dialect", list(Dialect), ids=str)
@given(seed=seeds)
@settings(max_examples=15)
def test_spoilt_messages_of_one_who_is_registered(dialect: Dialect, seed: int) -> None:
    rng = random.Random(seed)

    async def main() -> None:
        async with open_house(limits=PATIENT, dialect=dialect) as house, two_others(house):
            rude = await house.join("rude")
            for _ in range(60):
                rude.send_text(_can_travel(mutated(rng)))
            await rude.quiet()
            assert rude.lost_because is None

    with nothing_fails():
        trio.run(main)


@pytest.mark.parametrize("transport", ["trio-websocket", "websockets"])
@pytest.mark.parametrize("pace", ["whole", "byte by byte"])
@given(seed=seeds)
@settings(max_examples=8)
def test_bytes_of_one_who_has_shaken_hands(transport: TransportName, pace: str, seed: int) -> None:
    rng = random.Random(seed)

    async def main() -> None:
        async with open_house(limits=PATIENT) as house:
            server = await house.enter(
                serve_ws(house.hub, "127.0.0.1", 0, transport=transport, limits=QUICK)
            )
            async with two_others(house):
                for _ in range(3):
                    await _send(server.port, UPGRADE + _websocket_bytes(rng), pace)
                await _nobody_left(house)

    with nothing_fails():
        trio.run(main)


@pytest.mark.parametrize("transport", ["trio-websocket", "websockets"])
@given(seed=seeds)
@settings(max_examples=8)
def test_bytes_of_one_who_has_not(transport: TransportName, seed: int) -> None:
    rng = random.Random(seed)

    async def main() -> None:
        async with open_house() as house:
            server = await house.enter(
                serve_ws(house.hub, "127.0.0.1", 0, transport=transport, limits=QUICK)
            )
            async with two_others(house):
                for _ in range(5):
                    await _send(server.port, _spoilt(rng, UPGRADE), rng.choice(PACES))
                await _nobody_left(house)

    with nothing_fails():
        trio.run(main)


PACES = ("whole", "byte by byte")


def _websocket_bytes(rng: random.Random) -> bytes:
    """Write frames: good, with the wrong opcode, in fragments, spoilt, or no frames at all."""
    sent = b""
    for _ in range(rng.randrange(1, 6)):
        payload = mutated(rng).encode(errors=rng.choice(("replace", "surrogatepass")))[:2_000]
        opcode = rng.choice((1, 1, 1, 1, 0, 2, 3, 8, 9, 10, 15))
        one = frame(opcode, payload, final=rng.random() < 0.8)
        sent += _spoilt(rng, one) if rng.random() < 0.3 else one
    return sent


def _spoilt(rng: random.Random, data: bytes) -> bytes:
    spoilt = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        place = rng.randrange(len(spoilt))
        match rng.randrange(3):
            case 0:
                spoilt[place] = rng.randrange(256)
            case 1:
                spoilt[place:place] = rng.randbytes(rng.randrange(20))
            case _:
                del spoilt[place + 1 : place + rng.randrange(20)]
    return bytes(spoilt)


async def _send(port: int, data: bytes, pace: str) -> None:
    """Send, then read until the server has hung up or has nothing more to say, and leave."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        try:
            for piece in [data] if pace == "whole" else [bytes([byte]) for byte in data]:
                await stream.send_all(piece)
            await stream.send_eof()
            with trio.fail_after(20):
                async for _ in stream:
                    pass
        except trio.BrokenResourceError:
            return


async def _nobody_left(house: House) -> None:
    """Wait until only the two others are connected."""
    with trio.fail_after(20):
        while house.hub.health().connections > 2:
            await trio.testing.wait_all_tasks_blocked(0.005)


async def test_a_message_of_a_million_frames_lets_others_in_between() -> None:
    """The read loop gives way; so a request that comes meanwhile is answered before the end."""
    async with open_house(limits=PATIENT) as house:
        rude, other = await house.join("rude"), await house.join("other")
        many = 20_000
        rude.send_text("x\n" * many)
        asked = other.ask("list_agents")
        await other.answer(asked)
        errors = [it for it in rude.history if it["kind"] == "error"]
        assert len(errors) < many
        await _hears_errors(rude, many)


async def _hears_errors(peer: Peer, count: int) -> None:
    with trio.fail_after(60):
        while sum(1 for it in peer.history if it["kind"] == "error") < count:
            await peer.quiet()
