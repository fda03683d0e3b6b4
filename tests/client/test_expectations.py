"""Expectations as clients see them: opened with a channel, and turns that somebody else missed."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_hub import (
    EV_CHANNEL_INVITE,
    EV_CHANNEL_PARTICIPANT_HIDDEN,
    EV_CHANNEL_PARTICIPANT_REMOVED,
    EV_TEXT,
    AgentClient,
    Envelope,
    Expectation,
    FullTranscript,
    Hub,
    HubClient,
    LocalLink,
    MemoryKnowledgeStore,
    ProtocolError,
    ScriptedAgent,
    default_handler,
    handler_with,
)
from trio_hub.client.handlers import accept_invite, take_over_turn

from .conftest import Connect
from .scripted_hub import ScriptedHub


def clock() -> float:
    return 1_800_000_000.0 + trio.current_time()


def turn_within(seconds: float, handler: str) -> Expectation:
    return Expectation(name="turn_within", on_violation=handler, params={"seconds": seconds})


async def listen(envelope: Envelope, client: AgentClient, attempt: int) -> None:
    """Accept invites and say nothing."""
    if envelope.event_type == EV_CHANNEL_INVITE:
        await accept_invite(envelope, client)


@pytest.mark.parametrize("handler", [default_handler, handler_with(FullTranscript())])
@pytest.mark.parametrize(
    ("follows", "event_type"),
    [("hide", EV_CHANNEL_PARTICIPANT_HIDDEN), ("remove", EV_CHANNEL_PARTICIPANT_REMOVED)],
)
async def test_the_next_one_takes_the_turn_of_one_who_was_passed_over(
    autojump_clock: MockClock, follows: str, event_type: str, handler: Any
) -> None:
    carol_agent = ScriptedAgent("carol", ["then I will", None])
    async with (
        Hub.open(MemoryKnowledgeStore(), clock=clock) as hub,
        HubClient(LocalLink(hub)) as client,
    ):
        await client.register(ScriptedAgent("bob", []), handler=listen)
        carol = await client.register(carol_agent, handler=handler)
        alice = await client.register(ScriptedAgent("alice", []), handler=listen)
        channel = await alice.open(
            type="discussion",
            target=["bob", "carol"],
            expectations=[turn_within(60, follows)],
        )
        said = await channel.send("who begins?")
        reply = await alice.wait_for_channel_event(
            channel_id=channel.channel_id,
            predicate=lambda it: it.event_type == EV_TEXT and it.sender_id == carol.agent_id,
            timeout=100,
        )
        assert (reply.text, reply.causation_id) == ("then I will", said)
        assert [turn.text for turn in carol_agent.turns] == ["who begins?"]
        # Coming again, it is answered already.
        (left,) = [
            it for it in await hub.read_wal(channel.channel_id) if it.event_type == event_type
        ]
        assert await take_over_turn(left, carol) is None
        assert await take_over_turn(left, alice) is None


async def test_nobody_takes_a_turn_over_before_anything_was_said(
    autojump_clock: MockClock,
) -> None:
    bob_agent = ScriptedAgent("bob", [])
    async with (
        Hub.open(MemoryKnowledgeStore(), clock=clock) as hub,
        HubClient(LocalLink(hub)) as client,
    ):
        await client.register(bob_agent)
        await client.register(ScriptedAgent("carol", []), handler=listen)
        alice = await client.register(ScriptedAgent("alice", []), handler=listen)
        channel = await alice.open(
            type="discussion", target=["bob", "carol"], expectations=[turn_within(60, "hide")]
        )
        await alice.wait_for_channel_event(
            channel_id=channel.channel_id,
            predicate=lambda it: it.event_type == EV_CHANNEL_PARTICIPANT_HIDDEN,
            timeout=100,
        )
        assert bob_agent.turns == []


async def test_a_hub_that_takes_no_expectations_is_noticed(
    hub: ScriptedHub, connect: Connect
) -> None:
    of_the_type = {"name": "turn_within", "on_violation": "audit", "params": {"seconds": 600}}
    hub.answers["create_channel"] = lambda params: {
        "channel_id": "c",
        "manifest": {"type": params["manifest_type"], "expectations": [of_the_type]},
        "creator_id": params["creator_id"],
        "participants": [],
        "state": "active",
        "created_at": "",
    }
    async with connect() as (client, _):
        with pytest.raises(ProtocolError, match="takes no expectations with a channel: c is open"):
            await client.create_channel(
                creator_id="a",
                manifest_type="conversation",
                participants=["b"],
                expectations=[turn_within(5, "audit")],
            )
        for expected in ([turn_within(600, "audit")], None):
            metadata = await client.create_channel(
                creator_id="a",
                manifest_type="conversation",
                participants=["b"],
                expectations=expected,
            )
            assert metadata.channel_id == "c"
