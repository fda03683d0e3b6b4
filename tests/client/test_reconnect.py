"""The client comes back by itself: nothing asked is lost, nothing is asked twice that must not be."""

from __future__ import annotations

import itertools

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hub.client import (
    AgentClient,
    ClientState,
    HubClient,
    IdentityChange,
    Reconnect,
    ScriptedAgent,
    StateChange,
)
from trio_hub.errors import (
    AccessDeniedError,
    AuthError,
    ConnectionLost,
    HubClosing,
    NotFoundError,
    ProtocolError,
    RateLimited,
    TakenOver,
)
from trio_hub.links import LocalLink
from trio_hub.protocol.backoff import Backoff
from trio_hub.records import AuthBlock, Envelope, Passport
from trio_hub.wire.frames import (
    Dialect,
    ErrorFrame,
    HelloFrame,
    ReceiptFrame,
    RequestFrame,
    WelcomeFrame,
)

from .conftest import Connect
from .scripted_hub import ScriptedHub, text_for

POST = Envelope(channel_id="c1", sender_id="id-bob", event_type="x", event_data={})


def key_of(request: RequestFrame) -> str:
    key: str = msgspec.json.decode(request.params)["envelope"]["idempotency_key"]
    return key


async def back(client: HubClient) -> None:
    """Wait until a client whose connection was just cut has another one."""
    await wait_all_tasks_blocked()
    await client.wait_state(ClientState.LIVE)


async def settle(envelope: Envelope, client: AgentClient, attempt: int) -> None:
    """Be content with everything."""


async def test_a_post_cut_between_request_and_answer_is_sent_again_under_the_same_key(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    posted: list[str] = []
    async with connect() as (client, peer), trio.open_nursery() as nursery:

        async def post() -> None:
            posted.append(await client.post_envelope(POST))

        nursery.start_soon(post)
        first = await peer.next_request("post_envelope")
        peer.cut()
        peer = await hub.accepted()
        second = await peer.next_request("post_envelope")
        assert key_of(first) == key_of(second)
        peer.answer(second, "e1")
    assert posted == ["e1"]


async def test_requests_made_while_away_are_sent_in_order_on_return(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer), trio.open_nursery() as nursery:
        peer.cut()
        await client.wait_state(ClientState.RECONNECTING)
        for name in "abcd":
            nursery.start_soon(client.find_agent_id, name)
            await wait_all_tasks_blocked()
        peer = await hub.accepted()
        names = []
        for _ in "abcd":
            request = await peer.next_request("find_agent_id")
            names.append(msgspec.json.decode(request.params)["name"])
            peer.answer(request, None)
        assert "".join(names) == "abcd"


async def test_opening_a_channel_is_asked_for_again_under_the_same_key(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer), trio.open_nursery() as nursery:
        refusals: list[NotFoundError] = []

        async def create() -> None:
            with pytest.raises(NotFoundError, match="no b") as caught:
                await client.create_channel(
                    creator_id="a", manifest_type="consulting", participants=["b"]
                )
            refusals.append(caught.value)

        nursery.start_soon(create)
        first = await peer.next_request("create_channel")
        peer.cut()
        peer = await hub.accepted()
        second = await peer.next_request("create_channel")
        assert first.params == second.params
        assert msgspec.json.decode(first.params)["idempotency_key"]
        peer.refuse(second, NotFoundError("no b"))
    assert len(refusals) == 1


async def test_opening_a_channel_at_a_hub_that_knows_no_keys_is_not_repeated_and_says_so(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    async with connect(Dialect.PLAIN) as (client, peer), trio.open_nursery() as nursery:

        async def cut() -> None:
            await peer.next_request("create_channel")
            peer.cut()

        nursery.start_soon(cut)
        with pytest.raises(ConnectionLost, match=r"is unknown; list_channels shows"):
            await client.create_channel(
                creator_id="a", manifest_type="consulting", participants=["b"]
            )
        second = await hub.accepted()
        await client.wait_state(ClientState.LIVE)
        assert second.nothing_came()


async def test_opening_a_channel_that_was_never_sent_is_sent_on_return(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer), trio.open_nursery() as nursery:
        peer.cut()
        await client.wait_state(ClientState.RECONNECTING)

        async def refuse() -> None:
            peer = await hub.accepted()
            peer.refuse(await peer.next_request("create_channel"), NotFoundError("no b"))

        nursery.start_soon(refuse)
        with pytest.raises(NotFoundError, match="no b"):
            await client.create_channel(
                creator_id="a", manifest_type="consulting", participants=["b"]
            )


async def test_a_registration_whose_answer_was_lost_ends_in_the_same_identity(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    stamp = hub.answers.pop("register")
    async with connect() as (client, peer), trio.open_nursery() as nursery:

        async def lose_the_answer() -> None:
            request = await peer.next_request("register")
            stamped = stamp(msgspec.json.decode(request.params))
            peer.cut()
            second = await hub.accepted()
            again = await second.next_request("register")
            hub.answers["get_agent"] = lambda _params: stamped
            second.refuse(again, ProtocolError("the name is taken"))

        nursery.start_soon(lose_the_answer)
        passport = Passport(name="bob", auth=AuthBlock(scheme="api_key", claim={"token": "t"}))
        bob = await client.register(ScriptedAgent("bob", []), passport)
        assert bob.agent_id == "id-bob"
        assert [hello.auth_claim for hello in hub.hellos] == [{"token": "t"}]


async def test_a_name_that_is_taken_by_somebody_else_is_not_taken_over(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    del hub.answers["register"]
    hub.answers["get_agent"] = lambda _params: {
        "name": "bob",
        "owner": "somebody else",
        "agent_id": "1",
    }
    async with connect() as (client, peer), trio.open_nursery() as nursery:

        async def lose_the_answer() -> None:
            await peer.next_request("register")
            peer.cut()
            second = await hub.accepted()
            second.refuse(await second.next_request("register"), ProtocolError("taken"))

        nursery.start_soon(lose_the_answer)
        with pytest.raises(ProtocolError, match="taken"):
            await client.register(ScriptedAgent("bob", []))
        assert hub.hellos == []


@pytest.mark.parametrize("dialect", list(Dialect))
async def test_everybody_is_bound_again_with_their_own_credentials(
    connect: Connect, hub: ScriptedHub, dialect: Dialect, autojump_clock: MockClock
) -> None:
    async with connect(dialect) as (client, peer):
        for name in ("a", "b", "c"):
            await client.register(
                ScriptedAgent(name, []),
                Passport(name=name, auth=AuthBlock(scheme="api_key", claim={"token": f"{name}'s"})),
            )
        peer.cut()
        await hub.accepted()
        await back(client)
        hellos = sorted(hub.hellos, key=lambda hello: hello.name)
        assert [(one.name, one.auth_scheme, one.auth_claim) for one in hellos] == [
            (name, "api_key", {"token": f"{name}'s"}) for name in ("a", "b", "c")
        ]


async def test_hellos_say_which_connection_of_which_client_they_came_by(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer), connect() as (other, others_peer):
        for one in (client, other):
            await one.register(ScriptedAgent("a", []))
        for cut in (peer, others_peer):
            for _ in range(2):
                cut.cut()
                cut = await hub.accepted()
                await trio.testing.wait_all_tasks_blocked()
        names = [hello.client for hello in hub.hellos]
        numbers = [hello.connection for hello in hub.hellos]
        assert names[0] == names[1] != names[2] == names[3]
        assert numbers[0] < numbers[1]
        assert numbers[2] < numbers[3]
        assert names[0] not in repr(hub.hellos)


async def test_credentials_are_in_no_repr(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    async with connect() as (client, _peer):
        passport = Passport(name="a", auth=AuthBlock(scheme="api_key", claim={"token": "s3cret"}))
        agent = await client.register(ScriptedAgent("a", []), passport)
        for thing in (client, agent, agent.identity, agent.passport, passport):
            assert "s3cret" not in repr(thing)
        assert agent.passport.auth.claim == {}


async def test_a_hello_says_where_each_channel_stands_and_in_which_log(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []), handler=settle)
        for channel_id, number in (("c1", 1), ("c2", 2), ("c1", 3)):
            peer.send(text_for(bob.agent_id, channel_id=channel_id, envelope_id=f"{number:032x}"))
            await peer.next(ReceiptFrame)
        peer.cut()
        await hub.accepted()
        await back(client)
        assert hub.hellos[0].since_envelope_id == {"c1": f"{3:032x}", "c2": f"{2:032x}"}


async def test_a_position_does_not_pass_what_failed(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    failing = {f"{2:032x}"}

    async def handler(envelope: Envelope, client: AgentClient, attempt: int) -> None:
        if envelope.envelope_id in failing:
            raise ValueError

    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []), handler=handler)
        for number in (1, 2, 3):
            peer.send(text_for(bob.agent_id, envelope_id=f"{number:032x}"))
            await peer.next(ReceiptFrame)
        peer.cut()
        peer = await hub.accepted()
        await back(client)
        assert hub.hellos[0].since_envelope_id == {"c1": f"{1:032x}"}
        failing.clear()
        peer.send(text_for(bob.agent_id, envelope_id=f"{2:032x}", attempt=2))
        await peer.next(ReceiptFrame)
        peer.cut()
        await hub.accepted()
        await back(client)
        assert hub.hellos[1].since_envelope_id == {"c1": f"{3:032x}"}
        assert hub.hellos[1].epoch == "e1"


async def test_a_plain_hub_is_asked_for_everything_and_what_was_settled_is_not_handled_again(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    seen: list[str] = []

    async def handler(envelope: Envelope, client: AgentClient, attempt: int) -> None:
        seen.append(envelope.text)

    async with connect(Dialect.PLAIN) as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []), handler=handler)
        frame = text_for(bob.agent_id, "once")
        peer.send(frame)
        await peer.next(ReceiptFrame)
        peer.cut()
        peer = await hub.accepted()
        await back(client)
        peer.send(frame)
        assert (await peer.next(ReceiptFrame)).status == "ack"
        assert [hello.since_envelope_id for hello in hub.hellos] == [""]
    assert seen == ["once"]


async def test_a_handler_goes_on_while_the_connection_is_away_and_its_receipt_follows(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    done = trio.Event()
    calls: list[int] = []

    async def handler(envelope: Envelope, client: AgentClient, attempt: int) -> None:
        calls.append(attempt)
        await done.wait()

    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []), handler=handler)
        frame = text_for(bob.agent_id)
        peer.send(frame)
        await wait_all_tasks_blocked()
        peer.cut()
        peer = await hub.accepted()
        peer.send(text_for(bob.agent_id, envelope_id=frame.envelope.envelope_id, attempt=2))
        await wait_all_tasks_blocked()
        done.set()
        receipt = await peer.next(ReceiptFrame)
        assert (receipt.envelope_id, receipt.status) == (frame.envelope.envelope_id, "ack")
    assert calls == [1]


async def test_after_a_lost_position_everything_is_handled_as_it_comes(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    seen: list[str] = []
    changes: list[object] = []

    async def handler(envelope: Envelope, client: AgentClient, attempt: int) -> None:
        seen.append(envelope.text)

    def restored(hello: HelloFrame) -> WelcomeFrame:
        return WelcomeFrame(
            endpoint_id="e", hub_time="", name=hello.name, epoch="e2", position_lost=True
        )

    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []), handler=handler)
        frame = text_for(bob.agent_id, "twice")
        peer.send(frame)
        await peer.next(ReceiptFrame)
        hub.welcomes = restored
        with client.observed_by(changes.append):
            peer.cut()
            peer = await hub.accepted()
            await back(client)
            peer.send(frame)
            assert (await peer.next(ReceiptFrame)).status == "ack"
    assert seen == ["twice", "twice"]
    assert IdentityChange("bob", "position_lost") in changes


async def test_one_that_was_taken_over_stays_away_and_the_others_live(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    hub.answers["post_envelope"] = lambda _params: "e1"
    changes: list[object] = []
    async with connect() as (client, peer), trio.open_nursery() as nursery:
        alice = await client.register(ScriptedAgent("alice", []))
        bob = await client.register(ScriptedAgent("bob", []))

        async def wait() -> None:
            with pytest.raises(TakenOver, match="somebody else"):
                await bob.wait_for_channel_event(channel_id="c1", predicate=lambda _: True)

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        with client.observed_by(changes.append):
            peer.send(ErrorFrame(code="taken_over", message="somebody else has it", name="bob"))
            await wait_all_tasks_blocked()
        (change,) = changes
        assert isinstance(change, IdentityChange)
        assert (change.name, change.what) == ("bob", "detached")
        with pytest.raises(TakenOver):
            await bob.send_envelope(POST)
        with pytest.raises(TakenOver):
            await bob.wait_for_channel_event(channel_id="c1", predicate=lambda _: True)
        assert await alice.send_envelope(POST) == "e1"
        peer.cut()
        await hub.accepted()
        await back(client)
        assert [hello.name for hello in hub.hellos] == ["alice"]


async def test_one_that_was_taken_over_by_its_own_last_connection_takes_it_back_once(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    """A busy hub reads the hello of a connection that was cut after that of the next one."""
    hub.answers["post_envelope"] = lambda _params: "e1"
    taken = ErrorFrame(code="taken_over", message="another connection attached", name="bob")
    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []))
        hub.welcomes = lambda _hello: None
        peer.cut()
        second = await hub.accepted()
        await wait_all_tasks_blocked()
        hub.welcomes = hub.welcome
        second.cut()
        third = await hub.accepted()
        await back(client)
        assert len(hub.hellos) == 2
        third.send(taken)
        await wait_all_tasks_blocked()
        assert [hello.name for hello in hub.hellos] == ["bob"] * 3
        assert await bob.send_envelope(POST) == "e1"
        third.send(taken)
        await wait_all_tasks_blocked()
        with pytest.raises(TakenOver):
            await bob.send_envelope(POST)


async def test_one_that_was_taken_over_can_be_attached_again_on_purpose(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    hub.answers |= {
        "find_agent_id": lambda params: "id-" + params["name"],
        "get_agent": lambda params: {"name": params["name_or_id"][3:], "agent_id": "id-bob"},
        "get_resume": lambda _params: {"summary": "as the hub has it"},
        "get_rule": lambda _params: {},
        "post_envelope": lambda _params: "e1",
    }
    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []))
        peer.send(ErrorFrame(code="taken_over", message="gone", name="bob"))
        await wait_all_tasks_blocked()
        again = await client.attach(ScriptedAgent("bob", []), "bob", handler=settle)
        assert again.resume.summary == "as the hub has it"
        assert await again.send_envelope(POST) == "e1"
        with pytest.raises(TakenOver):
            await bob.send_envelope(POST)
        peer.send(text_for("id-bob"))
        assert (await peer.next(ReceiptFrame)).status == "ack"


async def test_one_that_the_hub_does_not_take_back_is_detached_and_the_others_live(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    def choose(hello: HelloFrame) -> WelcomeFrame | ErrorFrame:
        if hello.name == "bob":
            return ErrorFrame(code="auth_failed", message="expired", name="bob")
        return hub.welcome(hello)

    hub.welcomes = choose
    hub.answers["post_envelope"] = lambda _params: "e1"
    async with connect() as (client, peer):
        alice = await client.register(ScriptedAgent("alice", []))
        bob = await client.register(ScriptedAgent("bob", []))
        peer.cut()
        await hub.accepted()
        with pytest.raises(AuthError, match="expired"):
            await bob.wait_for_channel_event(channel_id="c1", predicate=lambda _: True)
        assert await alice.send_envelope(POST) == "e1"


async def test_a_hello_refused_for_the_moment_is_tried_again_after_the_hint(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    answers = iter([RateLimited("too fast", retry_after_seconds=100.0)])

    def later(hello: HelloFrame) -> WelcomeFrame | ErrorFrame:
        error = next(answers, None)
        if error is None:
            return hub.welcome(hello)
        return ErrorFrame(
            code=error.code,
            message=error.message,
            name=hello.name,
            retry_after_seconds=error.retry_after_seconds,
        )

    hub.welcomes = later
    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []))
        before = trio.current_time()
        peer.cut()
        await back(client)
        assert trio.current_time() - before >= 100
        assert bob.identity.detached is None


async def test_a_hub_that_is_closing_is_left_and_its_refusals_are_asked_again(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer), trio.open_nursery() as nursery:
        posted: list[str] = []

        async def post() -> None:
            posted.append(await client.post_envelope(POST))

        nursery.start_soon(post)
        request = await peer.next_request("post_envelope")
        before = trio.current_time()
        peer.send(ErrorFrame(code="hub_closing", message="come back", retry_after_seconds=7.0))
        peer.refuse(request, HubClosing("come back"))
        await client.wait_state(ClientState.RECONNECTING)
        peer.endpoint.close_soon()
        peer = await hub.accepted()
        assert trio.current_time() - before >= 7
        again = await peer.next_request("post_envelope")
        assert key_of(again) == key_of(request)
        peer.answer(again, "e1")
    assert posted == ["e1"]


async def test_what_a_closing_hub_still_delivers_is_still_settled(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []), handler=settle)
        peer.send(ErrorFrame(code="hub_closing", message="soon"), text_for(bob.agent_id))
        assert (await peer.next(ReceiptFrame)).status == "ack"


async def test_a_closing_hub_that_does_not_close_is_left_all_the_same(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer):
        peer.send(ErrorFrame(code="hub_closing", message="soon"))
        await hub.accepted()
        await client.wait_state(ClientState.LIVE)


async def test_without_reconnect_everything_that_waits_is_told(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    async with connect(reconnect=None) as (client, peer), trio.open_nursery() as nursery:
        bob = await client.register(ScriptedAgent("bob", []))

        async def ask() -> None:
            with pytest.raises(ConnectionLost, match=r"whether it was carried out is unknown"):
                await client.post_envelope(POST)

        async def wait() -> None:
            with pytest.raises(ConnectionLost):
                await bob.wait_for_channel_event(channel_id="c1", predicate=lambda _: True)

        nursery.start_soon(ask)
        nursery.start_soon(wait)
        await peer.next_request("post_envelope")
        peer.cut()
        assert await client.wait_state(ClientState.CLOSED) is ClientState.CLOSED
        with pytest.raises(ConnectionLost, match="the client is closed"):
            await client.find_agent_id("a")


async def test_the_error_names_the_key_to_find_out_with(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    async with connect(reconnect=None) as (client, peer), trio.open_nursery() as nursery:
        seen: list[str] = []

        async def cut() -> None:
            seen.append(key_of(await peer.next_request("post_envelope")))
            peer.cut()

        nursery.start_soon(cut)
        with pytest.raises(ConnectionLost) as caught:
            await client.post_envelope(POST)
        assert seen[0] in caught.value.message


async def test_it_gives_up_after_the_time_that_it_was_given(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    reconnect = Reconnect(give_up_after_seconds=60, backoff=Backoff(base=1, cap=5))
    async with connect(reconnect=reconnect, request_timeout=1000) as (client, peer):
        hub.accept = lambda: False
        before = trio.current_time()
        peer.cut()
        await client.wait_state(ClientState.RECONNECTING)
        with pytest.raises(ConnectionLost, match=r"never sent.*|.*gave up"):
            await client.find_agent_id("a")
        assert 50 <= trio.current_time() - before <= 60
        assert client.state is ClientState.CLOSED


async def test_waits_between_attempts_grow_up_to_the_cap(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    attempts: list[float] = []

    def refuse() -> bool:
        attempts.append(trio.current_time())
        return len(attempts) > 12

    async with connect(reconnect=Reconnect(backoff=Backoff(base=1, cap=8))) as (client, peer):
        hub.accept = refuse
        peer.cut()
        await client.wait_state(ClientState.RECONNECTING)
        await hub.accepted()
        await client.wait_state(ClientState.LIVE)
    waits = [after - before for before, after in itertools.pairwise(attempts)]
    # What is refused is not live, so the attempts count on; each wait has the doubled ceiling.
    assert all(wait <= min(8.0, 2.0 ** (n + 1)) for n, wait in enumerate(waits))


async def test_states_are_seen_in_order_with_their_reasons(
    hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    seen: list[StateChange] = []
    client = HubClient(LocalLink(hub))
    with client.observed_by(lambda change: seen.append(change)):  # type: ignore[arg-type]
        async with client:
            assert client.state is ClientState.LIVE
            (await hub.accepted()).cut()
            await hub.accepted()
            await client.wait_state(ClientState.RECONNECTING)
            await client.wait_state(ClientState.LIVE)
    assert [change.state for change in seen] == [
        ClientState.LIVE,
        ClientState.RECONNECTING,
        ClientState.LIVE,
        ClientState.CLOSED,
    ]
    assert isinstance(seen[1].reason, ConnectionLost)


async def test_closing_while_away_ends_at_once(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    async with connect(reconnect=Reconnect(backoff=Backoff(base=1e6, cap=1e6))) as (client, peer):
        peer.cut()
        await client.wait_state(ClientState.RECONNECTING)
        before = trio.current_time()
        await client.close()
        assert client.state is ClientState.CLOSED
    assert trio.current_time() == before


async def test_an_attach_that_is_cut_is_carried_on(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    hub.answers |= {
        "find_agent_id": lambda params: "id-" + params["name"],
        "get_agent": lambda params: {"name": params["name_or_id"][3:], "agent_id": "id-bob"},
        "get_resume": lambda _params: {},
        "get_rule": lambda _params: {},
    }
    silent = iter([None])

    def once_silent(hello: HelloFrame) -> WelcomeFrame | None:
        return next(silent, hub.welcome(hello))

    hub.welcomes = once_silent
    async with connect() as (client, peer), trio.open_nursery() as nursery:

        async def cut() -> None:
            await wait_all_tasks_blocked()
            assert len(hub.hellos) == 1
            peer.cut()

        nursery.start_soon(cut)
        bob = await client.attach(ScriptedAgent("bob", []), "bob", since_envelope_id="e9")
        assert bob.identity.connection is not None
        assert [hello.since_envelope_id for hello in hub.hellos] == ["e9", "e9"]


async def test_an_attach_that_is_refused_leaves_nothing_behind(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    hub.answers |= {
        "find_agent_id": lambda params: "id-" + params["name"],
        "get_agent": lambda params: {"name": params["name_or_id"][3:], "agent_id": "id-bob"},
        "get_resume": lambda _params: {},
        "get_rule": lambda _params: {},
    }
    hub.welcomes = lambda hello: ErrorFrame(code="auth_failed", message="no", name=hello.name)
    async with connect() as (client, peer):
        with pytest.raises(AuthError):
            await client.attach(ScriptedAgent("bob", []), "bob")
        peer.cut()
        await hub.accepted()
        await back(client)
        assert len(hub.hellos) == 1


async def test_attaching_an_unknown_name_registers_it_if_there_is_a_passport(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    hub.answers["find_agent_id"] = lambda _params: None
    async with connect() as (client, _peer):
        with pytest.raises(NotFoundError, match="passport"):
            await client.attach(ScriptedAgent("bob", []), "bob")
        bob = await client.attach(ScriptedAgent("bob", []), "bob", passport=Passport(name="bob"))
        assert bob.agent_id == "id-bob"


@pytest.mark.parametrize(
    ("dialect", "stated"),
    [(Dialect.BATCHED, {"c1": "e1", "c2": "e2"}), (Dialect.PLAIN, "")],
)
async def test_a_mapping_of_positions_is_said_to_those_who_know_it(
    connect: Connect,
    hub: ScriptedHub,
    dialect: Dialect,
    stated: object,
    autojump_clock: MockClock,
) -> None:
    hub.answers |= {
        "find_agent_id": lambda params: "id-" + params["name"],
        "get_agent": lambda params: {"name": params["name_or_id"][3:], "agent_id": "id-bob"},
        "get_resume": lambda _params: {},
        "get_rule": lambda _params: {},
    }
    async with connect(dialect) as (client, _peer):
        await client.attach(
            ScriptedAgent("bob", []), "bob", since_envelope_id={"c1": "e1", "c2": "e2"}
        )
        assert hub.hellos[0].since_envelope_id == stated


@pytest.mark.parametrize("again", [True, False])
async def test_an_agent_is_named_again_where_the_connection_that_named_it_was_cut(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock, again: bool
) -> None:
    # What a hub that wants credentials tells whoever asks about an id without having named it.
    denied = AccessDeniedError("get_agent is for agents that have authenticated")
    attached: list[str] = []
    async with connect() as (client, peer), trio.open_nursery() as nursery:

        async def attach() -> None:
            if again:
                await client.attach(ScriptedAgent("bob", []), "bob")
                attached.append("bob")
            else:
                with pytest.raises(AccessDeniedError, match="authenticated"):
                    await client.attach(ScriptedAgent("bob", []), "bob")

        nursery.start_soon(attach)
        peer.answer(await peer.next_request("find_agent_id"), "id-bob")
        await peer.next_request("get_agent")
        peer.cut()
        peer = await hub.accepted()
        by_id = await peer.next_request("get_agent")
        assert msgspec.json.decode(by_id.params) == {"name_or_id": "id-bob"}
        peer.refuse(by_id, denied)
        by_name = await peer.next_request("get_agent")
        assert msgspec.json.decode(by_name.params) == {"name_or_id": "bob"}
        if again:
            peer.answer(by_name, {"name": "bob", "agent_id": "id-bob"})
            peer.answer(await peer.next_request("get_resume"), {})
            peer.answer(await peer.next_request("get_rule"), {})
        else:
            # Nothing was cut since it was named: there is no use in asking again.
            peer.refuse(by_name, denied)
        await wait_all_tasks_blocked()
        assert peer.nothing_came()
    assert attached == (["bob"] if again else [])
