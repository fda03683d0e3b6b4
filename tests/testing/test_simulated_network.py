"""A simulated network behaves like one: in order, late, and never louder than a real one."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from trio_hub.errors import ConnectionLost
from trio_hub.links import LinkEndpoint, LinkLimits
from trio_hub.testing.simulated_network import SimulatedNetwork
from trio_hub.wire.frames import Dialect

LIMITS = LinkLimits(ping_interval_seconds=1.0, ping_timeout_seconds=1.0)


class Echo:
    """Answers every message with itself, and remembers how connections ended."""

    auth_schemes = ("none",)

    def __init__(self) -> None:
        self.ends: list[str] = []
        self.heard: list[str | bytes] = []

    async def serve(self, endpoint: LinkEndpoint) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.write_out)
            nursery.start_soon(endpoint.heartbeat)
            try:
                while True:
                    message = await endpoint.receive()
                    self.heard.append(message)
                    endpoint.push_nowait(str(message).encode())
            except ConnectionLost as error:
                self.ends.append(error.message)
            nursery.cancel_scope.cancel()


@pytest.fixture(params=[False, True], ids=["", "eager"])
def network(request: pytest.FixtureRequest) -> SimulatedNetwork:
    return SimulatedNetwork(
        random.Random(1), limits=LIMITS, dialect=Dialect.PLAIN, eager=request.param
    )


async def read_to_the_end(endpoint: LinkEndpoint) -> tuple[list[str | bytes], str]:
    got = []
    while True:
        try:
            got.append(await endpoint.stream.receive_message())
        except ConnectionLost as error:
            return got, error.message


async def test_messages_arrive_in_order_and_take_time(
    network: SimulatedNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    numbers = [b"%d" % number for number in range(100)]
    async with network.serving(Echo()), network.link("m").connect() as endpoint:
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.stream.send_messages, numbers)
            got = [await endpoint.stream.receive_message() for _ in numbers]
        assert [str(each).encode() for each in got] == numbers
        assert trio.current_time() > began


async def test_nobody_can_connect_without_a_hub_or_a_cable(
    network: SimulatedNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    with pytest.raises(ConnectionLost, match="m"):
        async with network.link("m").connect():
            pytest.fail("there is no hub")
    async with network.serving(Echo()):
        network.part("m")
        with pytest.raises(ConnectionLost, match="m"):
            async with network.link("m").connect():
                pytest.fail("there is no cable")
        network.join("m")
        async with network.link("m").connect():
            assert network.connections_of("m") == 1
        assert network.connections_of("other") == 0


@pytest.mark.parametrize("seed", range(10))
async def test_cut_ends_both_sides_and_loses_a_tail_only(
    autojump_clock: trio.testing.MockClock, seed: int
) -> None:
    network = SimulatedNetwork(random.Random(seed), limits=LIMITS, dialect=Dialect.PLAIN)
    echo = Echo()
    sent = [b"%d" % number for number in range(20)]
    async with network.serving(echo), network.link("m").connect() as endpoint:
        await endpoint.stream.send_messages(sent)
        await trio.sleep(0.01)
        assert network.cut("m")
        assert not network.cut("m")
        got, why = await read_to_the_end(endpoint)
        await trio.sleep(1)
    assert "broke" in why
    assert len(echo.ends) == 1
    words = [word.decode() for word in sent]
    assert echo.heard == words[: len(echo.heard)]
    assert "".join(words).startswith("".join(map(str, got)))


async def test_silent_cut_is_noticed_by_heartbeats_only(
    network: SimulatedNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    echo = Echo()
    async with network.serving(echo), network.link("m").connect() as endpoint:
        network.cut("m", silently=True)
        await trio.sleep(0.5)
        assert echo.ends == []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.write_out)
            nursery.start_soon(endpoint.heartbeat)
            with pytest.raises(ConnectionLost, match="silent peer"):
                await endpoint.receive()
            nursery.cancel_scope.cancel()
        await trio.sleep(3)
        assert "silent peer" in echo.ends[0]


async def test_what_is_sent_over_a_pulled_cable_arrives_when_it_is_back(
    network: SimulatedNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    echo = Echo()
    async with network.serving(echo), network.link("m").connect() as endpoint:
        network.part("m")
        await endpoint.stream.send_messages([b"held"])
        await trio.sleep(0.5)
        assert echo.heard == []
        network.join("m")
        assert await endpoint.stream.receive_message() == "held"


async def test_orderly_close_is_read_after_what_was_sent_before(
    network: SimulatedNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    echo = Echo()
    async with network.serving(echo):
        async with network.link("m").connect() as endpoint:
            await endpoint.stream.send_messages([b"last words"])
            await endpoint.aclose(1000, "done")
        await trio.sleep(1)
        assert echo.heard == ["last words"]
        assert echo.ends == ["closed by the peer: 1000 done"]


async def test_hub_that_is_gone_takes_its_connections_with_it(
    network: SimulatedNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        gone = trio.CancelScope()

        async def hub(task_status: trio.TaskStatus[None]) -> None:
            with gone:
                async with network.serving(Echo()):
                    task_status.started()
                    await trio.sleep_forever()

        await nursery.start(hub)
        async with network.link("m").connect() as endpoint:
            gone.cancel()
            _, why = await read_to_the_end(endpoint)
            assert "broke" in why


async def test_failure_of_a_hub_costs_one_connection_and_is_remembered(
    network: SimulatedNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    class Broken(Echo):
        async def serve(self, endpoint: LinkEndpoint) -> None:
            raise LookupError("a bug")

    async with network.serving(Broken()), network.link("m").connect() as endpoint:
        _, why = await read_to_the_end(endpoint)
        assert "closed by the peer" in why
    assert [str(error) for error in network.failures] == ["a bug"]


async def test_peer_that_does_not_read_makes_the_sender_wait(
    network: SimulatedNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    class Deaf(Echo):
        async def serve(self, endpoint: LinkEndpoint) -> None:
            await trio.sleep_forever()

    async with network.serving(Deaf()), network.link("m").connect() as endpoint:
        with trio.move_on_after(60) as scope:
            await endpoint.stream.send_messages([b"x"] * 1000)
        assert scope.cancelled_caught


async def test_nobody_hears_of_an_end_through_a_pulled_cable(
    network: SimulatedNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    async with network.serving(Echo()), network.link("m").connect() as endpoint:
        network.part("m")
        network.cut("m")
        await endpoint.stream.send_messages([b"into the dark"])
        with trio.move_on_after(60) as scope:
            await endpoint.stream.receive_message()
        assert scope.cancelled_caught
        network.join("m")
        _, why = await read_to_the_end(endpoint)
        assert "broke" in why


@pytest.mark.parametrize("eager", [False, True])
async def test_message_may_come_again_behind_a_later_one(
    eager: bool, autojump_clock: trio.testing.MockClock
) -> None:
    network = SimulatedNetwork(
        random.Random(1), limits=LIMITS, dialect=Dialect.PLAIN, eager=eager, duplicates=0.3
    )
    echo = Echo()
    sent = [str(number) for number in range(200)]
    async with network.serving(echo), network.link("m").connect() as endpoint:
        for text in sent:
            await endpoint.stream.send_messages([text.encode()])
        await trio.sleep(10)
    first_times = list(dict.fromkeys(echo.heard))
    assert first_times == sent
    again = len(echo.heard) - len(sent)
    assert 20 < again < 100
    assert max(map(echo.heard.count, sent)) == 2
