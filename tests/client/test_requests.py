"""What a request promises: an answer, an error, or its own deadline, and a client that lives."""

from __future__ import annotations

import msgspec
import pytest
import trio

from trio_hub.client import ClientState, HubClient, Reconnect
from trio_hub.errors import (
    AccessDeniedError,
    AuthError,
    ConnectionLost,
    InboxFull,
    NetworkError,
    NotFoundError,
    ProtocolError,
    RateLimited,
    StoreError,
    TooLarge,
)
from trio_hub.links import LinkLimits, LocalLink
from trio_hub.records import Envelope, TaskState
from trio_hub.wire.frames import Dialect, PingFrame, PongFrame, RequestFrame, ResponseFrame

from .conftest import Connect
from .scripted_hub import ScriptedHub


@pytest.mark.parametrize("dialect", list(Dialect))
async def test_answers_find_their_requests_in_whatever_order_they_come(
    connect: Connect, dialect: Dialect, autojump_clock: trio.testing.MockClock
) -> None:
    found: dict[str, str | None] = {}

    async def find(client: HubClient, name: str) -> None:
        found[name] = await client.find_agent_id(name)

    async with connect(dialect) as (client, peer), trio.open_nursery() as nursery:
        for name in ("a", "b", "c"):
            nursery.start_soon(find, client, name)
        requests = [await peer.next_request("find_agent_id") for _ in range(3)]
        for request in reversed(requests):
            peer.answer(request, "id of " + msgspec.json.decode(request.params)["name"])
    assert found == {name: f"id of {name}" for name in ("a", "b", "c")}


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("no"),
        AccessDeniedError("no"),
        AuthError("no"),
        ProtocolError("no"),
        InboxFull("no", retry_after_seconds=3.0),
        RateLimited("no", retry_after_seconds=1.5),
        StoreError("no"),
    ],
    ids=lambda error: error.code,
)
async def test_an_error_is_raised_as_its_class_with_what_to_do(
    connect: Connect, error: NetworkError, autojump_clock: trio.testing.MockClock
) -> None:
    async with connect() as (client, peer), trio.open_nursery() as nursery:

        async def refuse() -> None:
            peer.refuse(await peer.next_request("get_channel"), error)

        nursery.start_soon(refuse)
        with pytest.raises(type(error), match="no") as caught:
            await client.get_channel("c1")
        assert caught.value.retry_after_seconds == error.retry_after_seconds


async def test_an_unknown_code_reads_well(
    connect: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    async with connect() as (client, peer), trio.open_nursery() as nursery:

        async def refuse() -> None:
            request = await peer.next(RequestFrame)
            peer.send(
                ResponseFrame(
                    request_id=request.request_id,
                    ok=False,
                    error_code="out_of_tea",
                    error_message="none left",
                )
            )

        nursery.start_soon(refuse)
        with pytest.raises(NetworkError, match=r"none left \[out_of_tea\]"):
            await client.get_channel("c1")


async def test_an_answer_of_the_wrong_type_is_a_protocol_error(
    connect: Connect, hub: ScriptedHub, autojump_clock: trio.testing.MockClock
) -> None:
    hub.answers["list_agents"] = lambda _params: [{"name": 1}]
    async with connect() as (client, _peer):
        with pytest.raises(ProtocolError, match="answer to list_agents"):
            await client.list_agents()


async def test_no_answer_in_time_is_too_slow_and_a_late_one_harms_nobody(
    connect: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    async with connect(request_timeout=5) as (client, peer):
        before = trio.current_time()
        with pytest.raises(trio.TooSlowError, match="find_agent_id within 5 s"):
            await client.find_agent_id("a")
        assert trio.current_time() - before == pytest.approx(5)
        assert client.waiting_requests == 0
        late = await peer.next_request("find_agent_id")
        peer.answer(late, "too late")
        async with trio.open_nursery() as nursery:

            async def answer() -> None:
                peer.answer(await peer.next_request("find_agent_id"), "in time")

            nursery.start_soon(answer)
            assert await client.find_agent_id("a") == "in time"


async def test_opening_a_channel_may_take_longer_than_other_requests(
    connect: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    async with connect(request_timeout=5, open_timeout=50) as (client, _peer):
        before = trio.current_time()
        with pytest.raises(trio.TooSlowError):
            await client.create_channel(
                creator_id="a", manifest_type="consulting", participants=["b"]
            )
        assert trio.current_time() - before == pytest.approx(50)


async def test_cancelling_a_waiting_request_leaves_the_client_usable(
    connect: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    async with connect() as (client, peer):
        with trio.move_on_after(1) as scope:
            await client.find_agent_id("a")
        assert scope.cancelled_caught
        assert client.waiting_requests == 0
        peer.answer(await peer.next_request("find_agent_id"), "nobody waits")
        async with trio.open_nursery() as nursery:

            async def answer() -> None:
                peer.answer(await peer.next_request("find_agent_id"), None)

            nursery.start_soon(answer)
            assert await client.find_agent_id("b") is None


async def test_no_more_requests_are_unanswered_than_may_be(
    connect: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    async with connect(max_waiting_requests=3) as (client, peer), trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(client.find_agent_id, str(number))
        await trio.testing.wait_all_tasks_blocked()
        assert client.waiting_requests == 3
        for _ in range(10):
            assert client.waiting_requests <= 3
            peer.answer(await peer.next_request("find_agent_id"), None)
        assert peer.nothing_came()


async def test_a_request_that_waits_for_others_does_not_take_their_places(
    connect: Connect, hub: ScriptedHub, autojump_clock: trio.testing.MockClock
) -> None:
    hub.answers["find_agent_id"] = lambda _params: "found"
    async with connect(max_waiting_requests=1) as (client, peer), trio.open_nursery() as nursery:

        async def open_channel() -> None:
            await client.create_channel(
                creator_id="a", manifest_type="consulting", participants=["b"]
            )

        nursery.start_soon(open_channel)
        await peer.next_request("create_channel")
        assert await client.find_agent_id("a") == "found"
        nursery.cancel_scope.cancel()


async def test_a_request_over_the_limit_is_refused_before_it_is_sent(
    hub: ScriptedHub, autojump_clock: trio.testing.MockClock
) -> None:
    limits = LinkLimits(plain_message_bytes_max=1000)
    link = LocalLink(hub, dialect=Dialect.PLAIN, limits=limits)
    async with HubClient(link) as client:
        peer = await hub.accepted()
        with pytest.raises(TooLarge, match="1000 is the limit"):
            await client.post_envelope(
                Envelope(
                    channel_id="c", sender_id="a", event_type="x", event_data={"text": "x" * 2000}
                )
            )
        await trio.testing.wait_all_tasks_blocked()
        assert peer.nothing_came()
        assert client.state is ClientState.LIVE


async def test_a_post_is_given_an_idempotency_key_and_a_given_one_is_kept(
    connect: Connect, hub: ScriptedHub, autojump_clock: trio.testing.MockClock
) -> None:
    keys: list[str] = []

    def post(params: dict[str, dict[str, str]]) -> str:
        keys.append(params["envelope"]["idempotency_key"])
        return "e1"

    hub.answers["post_envelope"] = post
    bare = Envelope(channel_id="c", sender_id="a", event_type="x", event_data={})
    async with connect() as (client, _peer):
        await client.post_envelope(bare)
        await client.post_envelope(bare)
        await client.post_envelope(
            Envelope(
                channel_id="c",
                sender_id="a",
                event_type="x",
                event_data={},
                idempotency_key="mine",
            )
        )
    assert keys[0] != keys[1], "two posts are two posts"
    assert all(len(key) == 32 for key in keys[:2])
    assert keys[2] == "mine"


async def test_pings_are_answered(connect: Connect, autojump_clock: trio.testing.MockClock) -> None:
    async with connect() as (_client, peer):
        peer.send(PingFrame())
        await peer.next(PongFrame)


async def test_frames_that_are_none_harm_nobody(
    connect: Connect, hub: ScriptedHub, autojump_clock: trio.testing.MockClock
) -> None:
    hub.answers["find_agent_id"] = lambda _params: "found"
    async with connect() as (client, peer):
        for nonsense in (b"{", b"[]", b'{"kind":"nonsense"}', b'{"kind":"notify"}'):
            peer.endpoint.push_nowait(nonsense)
        peer.send(RequestFrame(request_id="1", op="get_agent"))
        peer.send(ResponseFrame(request_id="nobody's", ok=True))
        assert await client.find_agent_id("a") == "found"


async def test_an_unreachable_hub_is_told_on_entering(
    autojump_clock: trio.testing.MockClock,
) -> None:
    from trio_hub.links import WsLink

    with pytest.raises(ConnectionLost, match="cannot reach"):
        async with HubClient(WsLink("ws://127.0.0.1:1")):
            raise AssertionError("nobody is there")


async def test_what_the_block_raises_leaves_as_it_is(
    connect: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with connect() as (_client, _peer):
            raise ZeroDivisionError


async def test_outside_of_its_block_a_client_says_where_it_lives(
    hub: ScriptedHub, autojump_clock: trio.testing.MockClock
) -> None:
    client = HubClient(LocalLink(hub))
    with pytest.raises(RuntimeError, match="async with"):
        await client.open()
    with pytest.raises(RuntimeError, match="async with"):
        await client.find_agent_id("a")


async def test_open_and_close_inside_the_block_are_idempotent(
    connect: Connect, autojump_clock: trio.testing.MockClock
) -> None:
    async with connect() as (client, _peer):
        assert await client.open() is client
        await client.close()
        await client.close()
        assert client.state is ClientState.CLOSED
        with pytest.raises(ConnectionLost, match="closed"):
            await client.find_agent_id("a")
        with pytest.raises(ConnectionLost, match="closed"):
            await client.open()


async def test_requests_before_the_connection_wait_for_it(
    hub: ScriptedHub, autojump_clock: trio.testing.MockClock
) -> None:
    hub.answers["find_agent_id"] = lambda _params: "found"
    refused = iter([False, False])
    hub.accept = lambda: next(refused, True)
    async with HubClient(LocalLink(hub), reconnect=Reconnect(wait_for_hub=True)) as client:
        assert await client.find_agent_id("a") == "found"


@pytest.mark.parametrize(
    ("dialect", "task_id", "is_told_again"),
    [(Dialect.BATCHED, "t", True), (Dialect.BATCHED, None, False), (Dialect.PLAIN, "t", False)],
)
async def test_a_task_is_counted_again_over_the_next_connection_where_the_hub_can_tell(
    hub: ScriptedHub,
    connect: Connect,
    dialect: Dialect,
    task_id: str | None,
    is_told_again: bool,
    autojump_clock: trio.testing.MockClock,
) -> None:
    lost: list[ConnectionLost] = []

    async def count(client: HubClient) -> None:
        try:
            await client.record_observation(
                owner_id="a", capability="law", outcome=TaskState.COMPLETED, task_id=task_id
            )
        except ConnectionLost as error:
            lost.append(error)

    async with connect(dialect) as (client, peer), trio.open_nursery() as nursery:
        nursery.start_soon(count, client)
        await peer.next_request("record_observation")
        peer.cut()
        peer = await hub.accepted()
        if is_told_again:
            peer.answer(await peer.next_request("record_observation"), None)
        else:
            await trio.testing.wait_all_tasks_blocked()
            assert peer.nothing_came()
    assert bool(lost) is not is_told_again
