"""A person's client: pulling, pushing, and taking one's time."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hub import (
    AgentTarget,
    Finish,
    FromSpeaker,
    Hub,
    LocalLink,
    MemoryKnowledgeStore,
    Transition,
    TransitionGraph,
)
from trio_hub.client import (
    AgentClient,
    FunctionAgent,
    HubClient,
    HumanClient,
    ScriptedAgent,
    Turn,
    accept_invite,
)
from trio_hub.errors import NotFoundError
from trio_hub.records import EV_CHANNEL_CLOSED, EV_CHANNEL_INVITE, EV_TEXT, Envelope, Passport
from trio_hub.wire.frames import ReceiptFrame

from .conftest import Connect
from .scripted_hub import ScriptedHub, text_for
from .test_handlers import ack

Posted = list[dict[str, Any]]


@pytest.fixture
def posted(hub: ScriptedHub) -> Posted:
    """What was posted to the hub."""
    posts: Posted = []

    def post(params: dict[str, Any]) -> str:
        posts.append(params["envelope"])
        return "e1"

    hub.answers["post_envelope"] = post
    return posts


async def register_human(client: HubClient) -> HumanClient:
    return await client.register_human(Passport(name="hanna"))


async def test_a_human_is_registered_as_one_and_accepts_invites(
    connect: Connect, posted: Posted, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer):
        hanna = await register_human(client)
        assert hanna.passport.kind == "human"
        await ack(peer, text_for(hanna.agent_id, event_type=EV_CHANNEL_INVITE))
        assert posted[0]["event_type"] == "ag2.channel.invite.ack"
        with pytest.raises(ValueError, match="human"):
            await client.register_human(Passport(name="robot", kind="agent"))


async def test_an_envelope_is_settled_when_the_human_has_taken_it(
    connect: Connect, posted: Posted, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer):
        hanna = await register_human(client)
        peer.send(text_for(hanna.agent_id, "a"), text_for(hanna.agent_id, "b"))
        await wait_all_tasks_blocked()
        assert peer.nothing_came()
        assert (await hanna.next_envelope()).text == "a"
        assert (await peer.next(ReceiptFrame)).status == "ack"
        async for envelope in hanna:
            assert envelope.text == "b"
            break
        assert (await peer.next(ReceiptFrame)).status == "ack"
        with pytest.raises(trio.TooSlowError):
            await hanna.next_envelope(timeout=5)
        await hanna.send("c1", "hello")
        assert posted[0]["sender_id"] == hanna.agent_id


async def test_envelopes_are_pushed_to_callbacks(
    connect: Connect, posted: Posted, autojump_clock: MockClock
) -> None:
    seen: list[str] = []

    async def callback(envelope: Envelope) -> None:
        seen.append(envelope.text)

    async with connect() as (client, peer):
        hanna = await register_human(client)
        hanna.on_envelope(callback)
        await ack(peer, text_for(hanna.agent_id, "pushed"))
    assert seen == ["pushed"]


async def test_a_human_that_is_gone_waits_for_nothing(
    connect: Connect, hub: ScriptedHub, posted: Posted, autojump_clock: MockClock
) -> None:
    hub.answers["unregister"] = lambda _params: None
    async with connect() as (client, _peer), trio.open_nursery() as nursery:
        hanna = await register_human(client)

        async def wait() -> None:
            with pytest.raises(NotFoundError, match="unregistered"):
                await hanna.next_envelope()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        await client.unregister(hanna.agent_id)


async def test_what_waits_to_be_taken_is_pushed_once_there_is_a_callback(
    connect: Connect, posted: Posted, autojump_clock: MockClock
) -> None:
    seen: list[str] = []

    async def callback(envelope: Envelope) -> None:
        seen.append(envelope.text)

    async with connect() as (client, peer):
        hanna = await register_human(client)
        frames = [text_for(hanna.agent_id, text) for text in ("a", "b", "c")]
        peer.send(*frames, text_for(hanna.agent_id, "elsewhere", channel_id="c2"))
        await wait_all_tasks_blocked()
        assert (await hanna.next_envelope(timeout=1)).text in ("a", "elsewhere")
        hanna.on_envelope(callback)
        await wait_all_tasks_blocked()
        for _ in range(4):
            assert (await peer.next(ReceiptFrame)).status == "ack"
    assert len(seen) == 3
    assert sorted(set(seen) - {"elsewhere"}) == [it for it in seen if it != "elsewhere"]


async def test_who_gives_up_waiting_has_taken_nothing(
    connect: Connect, posted: Posted, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer):
        hanna = await register_human(client)
        with trio.move_on_after(5):
            await hanna.next_envelope()
        with pytest.raises(trio.TooSlowError, match="within 5 s"):
            await hanna.next_envelope(timeout=5)
        peer.send(text_for(hanna.agent_id, "late"))
        assert (await hanna.next_envelope(timeout=5)).text == "late"


async def test_a_person_may_take_days_and_nobody_waits_for_it(
    connect: Connect, posted: Posted, autojump_clock: MockClock
) -> None:
    async with connect(progress_interval_seconds=3600, handler_patience_seconds=7200) as (
        client,
        peer,
    ):
        hanna = await register_human(client)
        bob = await client.register(ScriptedAgent("bob", []))
        bob.handle_with(_settle)
        slow = text_for(hanna.agent_id, "when you are back")
        peer.send(slow)
        await trio.sleep(3 * 86_400 + 60)
        told = 0
        while not peer.nothing_came():
            receipt = await peer.next(ReceiptFrame)
            assert (receipt.envelope_id, receipt.status) == (
                slow.envelope.envelope_id,
                "progress",
            )
            told += 1
        assert told == 3 * 24, "so it does not become a dead letter"
        await ack(peer, text_for(bob.agent_id, "hello"))
        assert (await hanna.next_envelope()).text == "when you are back"
        assert (await peer.next(ReceiptFrame)).status == "ack"


async def test_without_a_callback_envelopes_wait_to_be_pulled_again(
    connect: Connect, posted: Posted, autojump_clock: MockClock
) -> None:
    async def callback(_envelope: Envelope) -> None:
        raise AssertionError("it was taken back")

    async with connect() as (client, peer):
        hanna = await register_human(client)
        hanna.on_envelope(callback)
        hanna.remove_envelope_callback(callback)
        hanna.remove_envelope_callback(callback)
        peer.send(text_for(hanna.agent_id, "pulled"))
        assert (await hanna.next_envelope()).text == "pulled"


async def test_a_slow_person_gets_everything_once_and_in_order() -> None:
    texts = [str(number) for number in range(600)]
    async with (
        Hub.open(MemoryKnowledgeStore()) as hub,
        HubClient(LocalLink(hub)) as agents,
        # Far less than the hub sends at once.
        HubClient(LocalLink(hub), max_in_flight=4) as people,
    ):
        bob = await agents.register(ScriptedAgent("bob", []), handler=_settle)
        hanna = await people.register_human(Passport(name="hanna"))
        carol = await people.register_human(Passport(name="carol"))
        to_hanna = await bob.open(type="conversation", target="hanna")
        to_carol = await bob.open(type="conversation", target="carol")
        for text in texts:
            await to_hanna.send(text)
        await to_carol.send("hello")
        with trio.fail_after(30):
            # Nobody waits for the other, also on the same connection.
            while (envelope := await carol.next_envelope()).text != "hello":
                pass
            assert envelope.channel_id == to_carol.channel_id
            heard: list[str] = []
            async for envelope in hanna:
                heard += [envelope.text] if envelope.event_type == EV_TEXT else []
                if envelope.text == texts[-1]:
                    break
    assert heard == texts


async def test_a_person_begins_a_workflow() -> None:
    async def done(_turn: Turn) -> Finish:
        return Finish("40 euros", "paid")

    graph = TransitionGraph(
        initial_speaker="hanna",
        transitions=[Transition(FromSpeaker("hanna"), AgentTarget("bob"))],
    )
    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        await client.register(FunctionAgent("bob", done))
        hanna = await client.register_human(Passport(name="hanna"))
        channel = await hanna.open(
            type="workflow", target="bob", knobs={"graph": graph}, labels={"for": "order 7"}
        )
        await channel.send("I want my money back")
        end = await hanna.next_envelope(
            predicate=lambda it: it.event_type == EV_CHANNEL_CLOSED, timeout=30
        )
    assert channel.metadata.labels == {"for": "order 7"}
    assert end.event_data["reason"] == "paid"


async def _settle(envelope: Envelope, client: AgentClient, _attempt: int) -> None:
    if envelope.event_type == EV_CHANNEL_INVITE:
        await accept_invite(envelope, client)
