"""The client against the real hub, in memory and over a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from trio_hub.auth import ApiKeyAuth, AuthRegistry, NoAuth
from trio_hub.client import (
    AgentClient,
    Channel,
    ClientState,
    FunctionAgent,
    HubClient,
    ScriptedAgent,
    Turn,
    accept_invite,
    default_handler,
)
from trio_hub.errors import AuthError, NotFoundError, ProtocolError, TakenOver
from trio_hub.hub import Hub
from trio_hub.links import LocalLink, WsLink, serve_ws
from trio_hub.links.base import Link
from trio_hub.records import (
    EV_CHANNEL_CLOSED,
    EV_CHANNEL_INVITE,
    EV_TEXT,
    AuthBlock,
    ChannelState,
    Envelope,
    Passport,
    Resume,
)
from trio_hub.stores import DiskKnowledgeStore, MemoryKnowledgeStore
from trio_hub.wire.frames import Dialect


def is_text(envelope: Envelope) -> bool:
    return envelope.event_type == EV_TEXT


def is_closed(envelope: Envelope) -> bool:
    return envelope.event_type == EV_CHANNEL_CLOSED


async def listen(envelope: Envelope, client: AgentClient, attempt: int) -> None:
    """Accept invites and say nothing; what comes is waited for."""
    if envelope.event_type == EV_CHANNEL_INVITE:
        await accept_invite(envelope, client)


@asynccontextmanager
async def open_hub() -> AsyncIterator[Hub]:
    auth = AuthRegistry([NoAuth(), ApiKeyAuth(keys={"bob": "right"})])
    async with Hub.open(MemoryKnowledgeStore(), auth=auth) as hub:
        yield hub


@pytest.fixture(params=["local", "ws", "ws-plain"])
async def link(request: pytest.FixtureRequest) -> AsyncIterator[Link]:
    async with open_hub() as hub:
        if request.param == "local":
            yield LocalLink(hub)
            return
        dialects = [Dialect.PLAIN] if request.param == "ws-plain" else list(Dialect)
        async with serve_ws(hub, "127.0.0.1", 0) as server:
            yield WsLink(server.url, dialects=dialects)


async def test_a_consult_between_two_connections(link: Link) -> None:
    async with HubClient(link) as alices, HubClient(link) as bobs:
        bob = await bobs.register(ScriptedAgent("bob", ["Within 30 days."]))
        alice = await alices.register(ScriptedAgent("alice", []), handler=listen)
        channel = await alice.open(type="consulting", target="bob", intent="to learn")
        asked = await channel.send("What is the policy on refunds?")
        with trio.fail_after(10):
            reply = await alice.wait_for_channel_event(
                channel_id=channel.channel_id, predicate=is_text
            )
            assert (reply.text, reply.sender_id) == ("Within 30 days.", bob.agent_id)
            assert reply.causation_id == asked
            await alice.wait_for_channel_event(channel_id=channel.channel_id, predicate=is_closed)
        assert (await channel.info()).state is ChannelState.CLOSED
        with pytest.raises(ProtocolError):
            await channel.send("And one more thing")


async def test_a_consult_between_two_agents_of_one_connection(link: Link) -> None:
    async with HubClient(link) as client:
        await client.register(ScriptedAgent("bob", ["yes"]))
        alice = await client.register(ScriptedAgent("alice", []), handler=listen)
        channel = await alice.open(type="consulting", target="bob")
        await channel.send("really?")
        with trio.fail_after(10):
            reply = await alice.wait_for_channel_event(
                channel_id=channel.channel_id, predicate=is_text
            )
        assert reply.text == "yes"


async def test_an_agent_that_asks_another_one_in_its_turn(link: Link) -> None:
    async def pass_on(turn: Turn) -> str:
        channel = await turn.agent.open(type="consulting", target="carol")
        await channel.send(turn.text)
        reply = await turn.agent.wait_for_channel_event(
            channel_id=channel.channel_id, predicate=is_text, timeout=10
        )
        return f"{turn.sender_name}, carol says: {reply.text}"

    async def handle_asked(envelope: Envelope, client: AgentClient, attempt: int) -> None:
        # What answers bob's own question is waited for in his turn.
        if envelope.event_type != EV_TEXT or envelope.causation_id is None:
            await default_handler(envelope, client, attempt)

    async with HubClient(link) as client:
        await client.register(ScriptedAgent("carol", ["blue"]))
        await client.register(FunctionAgent("bob", pass_on), handler=handle_asked)
        alice = await client.register(ScriptedAgent("alice", []), handler=listen)
        channel = await alice.open(type="consulting", target="bob")
        await channel.send("which colour?")
        with trio.fail_after(10):
            reply = await alice.wait_for_channel_event(
                channel_id=channel.channel_id, predicate=is_text
            )
        assert reply.text == "alice, carol says: blue"


async def test_a_conversation_ends_when_one_has_nothing_to_say(link: Link) -> None:
    async with HubClient(link) as client:
        bob = ScriptedAgent("bob", ["b1", "b2", None])
        alice_agent = ScriptedAgent("alice", ["a2", "a3"])
        await client.register(bob)
        alice = await client.register(alice_agent)
        channel = await alice.open(type="conversation", target="bob")
        await channel.send("a1")
        with trio.fail_after(10):
            for text in ("b1", "b2"):
                reply = await alice.wait_for_channel_event(
                    channel_id=channel.channel_id, predicate=is_text
                )
                assert reply.text == text
            while len(bob.turns) < 3:
                await trio.testing.wait_all_tasks_blocked(0.01)
        said = [envelope.text for envelope in await channel.history()]
        assert said == ["a1", "b1", "a2", "b2", "a3"]


async def test_one_that_was_away_gets_what_was_said_and_answers_once(link: Link) -> None:
    async with HubClient(link) as alices:
        alice = await alices.register(ScriptedAgent("alice", []), handler=listen)
        async with HubClient(link) as bobs:
            await bobs.register(ScriptedAgent("bob", []), handler=listen)
            channel = await alice.open(type="consulting", target="bob")
        await channel.send("are you there?")
        bob = ScriptedAgent("bob", ["now I am"])
        async with HubClient(link) as bobs:
            await bobs.attach(bob, "bob")
            with trio.fail_after(10):
                reply = await alice.wait_for_channel_event(
                    channel_id=channel.channel_id, predicate=is_text
                )
        assert reply.text == "now I am"
        assert len(bob.turns) == 1


async def test_the_name_goes_to_the_last_who_attached(link: Link) -> None:
    async with HubClient(link) as alices, HubClient(link) as first, HubClient(link) as second:
        old = await first.register(ScriptedAgent("bob", []))
        alice = await alices.register(ScriptedAgent("alice", []), handler=listen)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:

                async def wait() -> None:
                    with pytest.raises(TakenOver):
                        await old.wait_for_channel_event(channel_id="any", predicate=lambda _: True)

                nursery.start_soon(wait)
                await second.attach(ScriptedAgent("bob", ["the new one"]), "bob")
            channel = await alice.open(type="consulting", target="bob")
            await channel.send("who are you?")
            reply = await alice.wait_for_channel_event(
                channel_id=channel.channel_id, predicate=is_text
            )
        assert reply.text == "the new one"
        assert first.state is ClientState.LIVE


async def test_a_restart_of_the_hub_costs_time_and_nothing_else(tmp_path: Path) -> None:
    async def echo(turn: Turn) -> str:
        return turn.text

    consults = 60
    store_path = tmp_path / "store"
    heard: list[str] = []
    restart = trio.Event()
    port = 0

    @asynccontextmanager
    async def serve() -> AsyncIterator[int]:
        auth = AuthRegistry([NoAuth()])
        async with (
            Hub.open(DiskKnowledgeStore(store_path), auth=auth) as hub,
            serve_ws(hub, "127.0.0.1", port) as server,
        ):
            yield server.port

    async def restart_hub(task_status: trio.TaskStatus[int]) -> None:
        nonlocal port
        async with serve() as port:
            task_status.started(port)
            await restart.wait()
        async with serve():
            await trio.sleep_forever()

    async def converse(alice: AgentClient, channel: Channel) -> None:
        for number in range(consults):
            await channel.send(str(number))
            reply = await alice.wait_for_channel_event(
                channel_id=channel.channel_id, predicate=is_text
            )
            heard.append(reply.text)
            if number == consults // 2:
                restart.set()

    async with trio.open_nursery() as nursery:
        link = WsLink(f"ws://127.0.0.1:{await nursery.start(restart_hub)}")
        async with HubClient(link) as alices, HubClient(link) as bobs:
            bob = await bobs.register(FunctionAgent("bob", echo))
            alice = await alices.register(ScriptedAgent("alice", []), handler=listen)
            channel = await alice.open(type="conversation", target="bob")
            states: list[object] = []
            with trio.fail_after(60), alices.observed_by(states.append):
                await converse(alice, channel)
            log = [one for one in await channel.history(limit=1000) if one.event_type == EV_TEXT]
        nursery.cancel_scope.cancel()
    assert heard == [str(number) for number in range(consults)]
    assert len(states) >= 2, "the restart was seen"
    for agent_id in (alice.agent_id, bob.agent_id):
        said = [one.text for one in log if one.sender_id == agent_id]
        assert said == [str(number) for number in range(consults)], "each once, in order"


async def test_credentials_are_asked_for_at_the_door(link: Link) -> None:
    def passport(token: str) -> Passport:
        return Passport(name="bob", auth=AuthBlock(scheme="api_key", claim={"token": token}))

    async with HubClient(link) as client:
        with pytest.raises(AuthError):
            await client.register(ScriptedAgent("bob", []), passport("wrong"))
        bob = await client.register(ScriptedAgent("bob", []), passport("right"))
        assert bob.passport.auth.claim == {}
    async with HubClient(link) as client:
        with pytest.raises(AuthError):
            await client.attach(ScriptedAgent("bob", []), "bob")
        with pytest.raises(AuthError):
            await client.attach(ScriptedAgent("bob", []), "bob", passport=passport("wrong"))
        back = await client.attach(ScriptedAgent("bob", []), "bob", passport=passport("right"))
        assert back.agent_id == bob.agent_id


async def test_what_a_hub_knows_of_its_agents(link: Link) -> None:
    async with HubClient(link) as client:
        alice = await client.register(
            ScriptedAgent("alice", []),
            Passport(name="alice", owner="us"),
            Resume(claimed_capabilities=("refunds",)),
            skill_md="# alice",
        )
        hanna = await client.register_human(Passport(name="hanna"))
        assert await client.find_agent_id("alice") == alice.agent_id
        assert (await client.get_agent(alice.agent_id)).owner == "us"
        assert [one.name for one in await client.list_agents(capability="refunds")] == ["alice"]
        assert [one.name for one in await client.list_agents(kind="human")] == ["hanna"]
        assert await client.names_for([alice.agent_id, hanna.agent_id]) == {
            alice.agent_id: "alice",
            hanna.agent_id: "hanna",
        }
        assert await client.get_skill(alice.agent_id) == "# alice"
        await alice.set_skill(None)
        assert await client.get_skill(alice.agent_id) is None
        await alice.set_resume(Resume(summary="new"))
        assert alice.resume.summary == "new"
        with pytest.raises(NotFoundError):
            await client.get_agent("nobody")
        await alice.unregister()
        assert await client.find_agent_id("alice") is None
        with pytest.raises(NotFoundError, match="unregistered"):
            await alice.open(type="consulting", target="hanna")


async def test_a_name_that_was_registered_anew_is_found_under_its_new_id(link: Link) -> None:
    async with HubClient(link) as alices, HubClient(link) as bobs:
        alice = await alices.register(ScriptedAgent("alice", []), handler=listen)
        first = await bobs.register(ScriptedAgent("bob", []))
        await alice.open(type="conversation", target="bob")
        await first.unregister()
        second = await bobs.register(ScriptedAgent("bob", []))
        channel = await alice.open(type="conversation", target="bob")
        assert second.agent_id in channel.metadata.participant_ids


async def test_a_human_comes_back_to_what_was_said_meanwhile(link: Link) -> None:
    async with HubClient(link) as agents:
        bob = await agents.register(ScriptedAgent("bob", []), handler=listen)
        async with HubClient(link) as first:
            with pytest.raises(NotFoundError, match="nobody is named"):
                await first.attach_human("hanna")
            hanna = await first.attach_human("hanna", passport=Passport(name="hanna"))
            assert hanna.passport.kind == "human"
            channel = await hanna.open(type="conversation", target="bob", intent="a talk")
            agent_id = hanna.agent_id
        said = await bob.channel(channel.channel_id)
        await said.send("While you were away.")

        heard, hear = trio.open_memory_channel[str](1)

        async def push(envelope: Envelope) -> None:
            if is_text(envelope):
                await heard.send(envelope.text)

        async with HubClient(link) as second:
            hanna = await second.attach_human("hanna", on_envelope=push)
            assert hanna.agent_id == agent_id
            with trio.fail_after(10):
                assert await hear.receive() == "While you were away."
            again = await hanna.channel(channel.channel_id)
            assert [one.text for one in await again.history()] == ["While you were away."]
            with pytest.raises(ProtocolError, match="'bob' is of the kind 'agent'"):
                await second.attach_human("bob")


async def test_a_human_is_pushed_what_comes_from_its_registration_on(link: Link) -> None:
    heard, hear = trio.open_memory_channel[str](1)

    async def push(envelope: Envelope) -> None:
        if is_text(envelope):
            await heard.send(envelope.text)

    async with HubClient(link) as client:
        bob = await client.register(ScriptedAgent("bob", []), handler=listen)
        await client.attach_human("hanna", passport=Passport(name="hanna"), on_envelope=push)
        channel = await bob.open(type="conversation", target="hanna")
        await channel.send("Hello.")
        with trio.fail_after(10):
            assert await hear.receive() == "Hello."


async def test_a_human_consults_an_agent(link: Link) -> None:
    async with HubClient(link) as client:
        bob = await client.register(ScriptedAgent("bob", []), handler=listen)
        hanna = await client.register_human(Passport(name="hanna"))
        channel = await bob.open(type="conversation", target="hanna")
        await channel.send("Shall I?")
        with trio.fail_after(10):
            asked = await hanna.next_envelope(predicate=is_text)
            await hanna.send(channel.channel_id, "Please do.", causation_id=asked.envelope_id)
            reply = await bob.wait_for_channel_event(
                channel_id=channel.channel_id, predicate=is_text
            )
        assert reply.text == "Please do."


async def test_many_channels_at_once(link: Link) -> None:
    async def echo(turn: Turn) -> str:
        return turn.text

    async def consult(alice: AgentClient, number: int) -> None:
        channel = await alice.open(type="consulting", target="bob")
        await channel.send(str(number))
        reply = await alice.wait_for_channel_event(channel_id=channel.channel_id, predicate=is_text)
        assert reply.text == str(number)

    async with HubClient(link) as client:
        await client.register(FunctionAgent("bob", echo))
        alice = await client.register(ScriptedAgent("alice", []), handler=listen)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(consult, alice, number)
