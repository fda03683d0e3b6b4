"""The three channel types that part one knows, with every mix of parties on both hubs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .casts import pairs

if TYPE_CHECKING:
    from .conftest import Side, Stage

pytestmark = pytest.mark.interop


@pairs
async def test_a_consult_is_asked_answered_once_and_closed(
    stage: Stage, hub: Side, asker: Side, answerer: Side
) -> None:
    await stage.hub(hub)
    bob = await stage.party(answerer, "bob", "thirty days")
    alice = await stage.party(asker, "alice", behaviour="listens")
    channel = await alice.open("consulting", bob)
    question = await alice.send(channel, "What is the policy on refunds?")

    reply = await alice.wait_for(channel, sender=bob)
    assert reply["event_data"] == {"text": "thirty days"}
    assert reply["causation_id"] == question
    assert reply["envelope_id"] > question

    closed = await alice.wait_for(channel, "ag2.channel.closed")
    assert closed["event_data"]["reason"] == "consulting_complete"
    metadata = await alice.call("info", channel_id=channel)
    assert (metadata["state"], metadata["close_reason"]) == ("closed", "consulting_complete")
    assert [(p["agent_id"], p["role"], p["order"]) for p in metadata["participants"]] == [
        (alice.agent_id, "initiator", 0),
        (bob.agent_id, "respondent", 1),
    ]
    assert [text for _, text in await alice.texts(channel)] == [
        "What is the policy on refunds?",
        "thirty days",
    ]
    assert any("What is the policy on refunds?" in prompt for prompt in await bob.call("heard"))


@pairs
async def test_a_conversation_goes_on_until_it_is_closed(
    stage: Stage, hub: Side, asker: Side, answerer: Side
) -> None:
    await stage.hub(hub)
    bob = await stage.party(answerer, "bob", "I see")
    alice = await stage.party(asker, "alice", behaviour="listens")
    channel = await alice.open("conversation", bob)
    for number in range(3):
        said = await alice.send(channel, f"remark {number}")
        assert (await alice.wait_for(channel, sender=bob))["causation_id"] == said
    assert (await alice.call("info", channel_id=channel))["state"] == "active"
    assert [text for _, text in await alice.texts(channel)] == [
        line for number in range(3) for line in (f"remark {number}", "I see")
    ]

    await alice.call("close_channel", channel_id=channel, reason="enough")
    closed = await alice.wait_for(channel, "ag2.channel.closed")
    assert closed["event_data"]["reason"] == "enough"


@pytest.mark.parametrize(
    ("hub", "first", "second", "third"),
    [
        pytest.param("ag2", "ag2", "ag2", "ag2", id="ag2_hub-all_ag2"),
        pytest.param("ours", "ag2", "ag2", "ag2", id="our_hub-all_ag2"),
        pytest.param("ours", "ag2", "ours", "ag2", id="our_hub-ours_in_the_middle"),
        pytest.param("ours", "ours", "ag2", "ours", id="our_hub-ag2_in_the_middle"),
        pytest.param("ag2", "ours", "ours", "ours", id="ag2_hub-all_ours"),
        pytest.param("ag2", "ours", "ag2", "ours", id="ag2_hub-ag2_in_the_middle"),
    ],
)
async def test_a_discussion_goes_round_and_refuses_who_is_out_of_turn(
    stage: Stage, hub: Side, first: Side, second: Side, third: Side
) -> None:
    await stage.hub(hub)
    alice = await stage.party(first, "alice", behaviour="listens")
    bob = await stage.party(second, "bob", "second")
    carol = await stage.party(third, "carol", "third")
    channel = await alice.open("discussion", bob, carol)
    assert await alice.call("can_send", channel_id=channel)
    assert not await carol.call("can_send", channel_id=channel)
    refused = await carol.refusal("send", channel_id=channel, text="me first")
    assert refused == "ProtocolError"

    for _ in range(2):
        await alice.send(channel, "first")
        assert (await alice.wait_for(channel, sender=bob))["event_data"]["text"] == "second"
        assert (await alice.wait_for(channel, sender=carol))["event_data"]["text"] == "third"
    assert await alice.texts(channel) == 2 * [
        (alice.agent_id, "first"),
        (bob.agent_id, "second"),
        (carol.agent_id, "third"),
    ]
    turns = await alice.call("pending_turns")
    assert [turn["channel_id"] for turn in turns] == [channel]
    assert turns[0]["triggering_envelope_id"]


@pairs
async def test_an_event_type_of_an_application_is_carried_as_it_is(
    stage: Stage, hub: Side, asker: Side, answerer: Side
) -> None:
    await stage.hub(hub)
    bob = await stage.party(answerer, "bob")
    alice = await stage.party(asker, "alice", behaviour="listens")
    channel = await alice.open("conversation", bob)
    data = {"n": 1, "nested": {"list": [1, 2.5, None, True, "é✓"]}, "text": "no text"}
    await alice.call("post", channel_id=channel, event_type="app.note", event_data=data)
    note = await bob.wait_for(channel, "app.note")
    assert note["event_data"] == data
    assert note["audience"] is None
