"""A faulty link does exactly the faults that it is told to do."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hub.errors import ConnectionLost
from trio_hub.links import LinkEndpoint, LocalLink, WsLink, serve_ws
from trio_hub.testing.faulty_link import FaultyLink


class EchoHub:
    auth_schemes = ("none",)

    def __init__(self) -> None:
        self.received: list[str | bytes] = []
        self.lost: list[str] = []

    async def serve(self, endpoint: LinkEndpoint) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.write_out)
            try:
                while True:
                    message = await endpoint.receive()
                    self.received.append(message)
                    assert isinstance(message, str)
                    endpoint.push_nowait(message.encode())
            except ConnectionLost as error:
                self.lost.append(error.message)
            nursery.cancel_scope.cancel()


@pytest.fixture
def hub() -> EchoHub:
    return EchoHub()


@pytest.fixture
def link(hub: EchoHub) -> FaultyLink:
    return FaultyLink(LocalLink(hub))


async def ask(endpoint: LinkEndpoint, word: str) -> str | bytes:
    endpoint.push_nowait(word.encode())
    return await endpoint.receive()


async def test_without_faults_everything_passes(link: FaultyLink, nursery: trio.Nursery) -> None:
    async with link.connect() as endpoint:
        nursery.start_soon(endpoint.write_out)
        assert await ask(endpoint, "hello") == "hello"
    assert link.connect_count == 1


async def test_cut_ends_the_connection_on_both_sides_and_a_new_one_can_be_opened(
    link: FaultyLink, hub: EchoHub, nursery: trio.Nursery
) -> None:
    async with link.connect() as endpoint:
        nursery.start_soon(endpoint.write_out)
        await ask(endpoint, "hello")
        link.cut()
        with pytest.raises(ConnectionLost, match="cut"):
            await endpoint.receive()
        await wait_all_tasks_blocked()
        assert len(hub.lost) == 1
    async with link.connect() as endpoint:
        nursery.start_soon(endpoint.write_out)
        assert await ask(endpoint, "again") == "again"


async def test_cut_ends_a_socket_without_a_goodbye(hub: EchoHub) -> None:
    async with serve_ws(hub, "127.0.0.1", 0) as server:
        link = FaultyLink(WsLink(server.url))
        async with link.connect() as endpoint, trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.write_out)
            await ask(endpoint, "hello")
            link.cut()
            with pytest.raises(ConnectionLost, match="cut"):
                await endpoint.receive()
    assert hub.lost == ["the connection broke: it ended without a closing handshake"]


async def test_a_stalled_link_looks_open_until_the_heartbeat_gives_up(
    link: FaultyLink, nursery: trio.Nursery, autojump_clock: object
) -> None:
    async with link.connect() as endpoint:
        nursery.start_soon(endpoint.write_out)
        nursery.start_soon(endpoint.heartbeat)
        await ask(endpoint, "hello")
        link.stall()
        with pytest.raises(ConnectionLost, match="silent peer"):
            await endpoint.receive()
    assert trio.current_time() == pytest.approx(40)


async def test_what_a_stall_held_flows_in_order_afterwards(
    link: FaultyLink, hub: EchoHub, nursery: trio.Nursery
) -> None:
    async with link.connect() as endpoint:
        nursery.start_soon(endpoint.write_out)
        link.stall(receiving=False)
        endpoint.push_nowait(b"one")
        await wait_all_tasks_blocked()
        endpoint.push_nowait(b"two")
        await wait_all_tasks_blocked()
        assert hub.received == []
        link.resume()
        await wait_all_tasks_blocked()
        assert hub.received == ["one", "two"]


async def test_a_stall_of_one_direction_leaves_the_other_alone(
    link: FaultyLink, hub: EchoHub, nursery: trio.Nursery
) -> None:
    async with link.connect() as endpoint:
        nursery.start_soon(endpoint.write_out)
        link.stall(sending=False)
        endpoint.push_nowait(b"hello")
        await wait_all_tasks_blocked()
        assert hub.received == ["hello"]
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_when_blocked, scope)
            await endpoint.receive()
        assert scope.cancelled_caught
        link.resume()
        assert await endpoint.receive() == "hello"


async def cancel_when_blocked(scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()


async def test_a_cancelled_receive_loses_nothing_that_the_stall_held(
    link: FaultyLink, nursery: trio.Nursery
) -> None:
    async with link.connect() as endpoint:
        nursery.start_soon(endpoint.write_out)
        with trio.CancelScope() as scope:

            async def stall_under_it() -> None:
                await wait_all_tasks_blocked()
                link.stall(sending=False)
                endpoint.push_nowait(b"hello")
                await wait_all_tasks_blocked()
                scope.cancel()

            nursery.start_soon(stall_under_it)
            await endpoint.receive()
        assert scope.cancelled_caught
        link.resume()
        assert await endpoint.receive() == "hello"


async def test_dropped_messages_vanish_and_later_ones_arrive(
    link: FaultyLink, hub: EchoHub, nursery: trio.Nursery
) -> None:
    async with link.connect() as endpoint:
        nursery.start_soon(endpoint.write_out)
        link.drop_next_received(1)
        link.drop_next_sent(1)
        for word in (b"never sent", b"never received", b"here"):
            endpoint.push_nowait(word)
            await wait_all_tasks_blocked()
        assert await endpoint.receive() == "here"
        assert hub.received == ["never received", "here"]


async def test_a_refusing_link_cannot_be_connected(link: FaultyLink) -> None:
    link.refusing = True
    with pytest.raises(ConnectionLost, match="refusing"):
        async with link.connect():
            pass
    assert link.connect_count == 1
