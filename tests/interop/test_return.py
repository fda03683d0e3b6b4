"""
Who was killed comes back under its name and gets what it had not acked.

`attach(name, since_envelope_id="")` on both sides; AG2 agents are killed with SIGKILL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .casts import pairs

if TYPE_CHECKING:
    from .conftest import Side, Stage

pytestmark = pytest.mark.interop


@pairs
async def test_who_is_killed_in_mid_turn_answers_once_after_it_came_back(
    stage: Stage, hub: Side, asker: Side, answerer: Side
) -> None:
    await stage.hub(hub)
    bob = await stage.party(answerer, "bob", behaviour="stuck")
    alice = await stage.party(asker, "alice", behaviour="listens")
    channel = await alice.open("conversation", bob)
    first = await alice.send(channel, "one")
    await bob.until_heard("one")
    await bob.kill()
    # Posted while nobody is there to take it.
    second = await alice.send(channel, "two")

    back = await stage.party(answerer, "bob", "answer", attach=True)
    assert back.agent_id == bob.agent_id
    replies = [await alice.wait_for(channel, sender=back) for _ in range(2)]
    assert {reply["causation_id"] for reply in replies} == {first, second}
    said = [text for _, text in await alice.texts(channel)]
    assert sorted(said) == ["answer", "answer", "one", "two"]


@pairs
async def test_what_was_acked_does_not_come_again(
    stage: Stage, hub: Side, asker: Side, answerer: Side
) -> None:
    await stage.hub(hub)
    bob = await stage.party(answerer, "bob", "answer")
    alice = await stage.party(asker, "alice", behaviour="listens")
    channel = await alice.open("conversation", bob)
    await alice.send(channel, "one")
    await alice.wait_for(channel, sender=bob)
    # The receipt for `one` follows bob's post on the same connection, and his next answer comes
    # behind it.
    await alice.send(channel, "two")
    await alice.wait_for(channel, sender=bob)
    await bob.kill()

    back = await stage.party(answerer, "bob", "other words", attach=True)
    await alice.send(channel, "three")
    assert (await alice.wait_for(channel, sender=back))["event_data"]["text"] == "other words"
    assert "one" not in " ".join(await back.call("heard"))
    assert [text for _, text in await alice.texts(channel)].count("answer") == 2


@pairs
async def test_since_null_replays_nothing_but_the_turn_is_still_pending(
    stage: Stage, hub: Side, asker: Side, answerer: Side
) -> None:
    await stage.hub(hub)
    bob = await stage.party(answerer, "bob", behaviour="stuck")
    alice = await stage.party(asker, "alice", behaviour="listens")
    channel = await alice.open("consulting", bob)
    question = await alice.send(channel, "still there?")
    await bob.until_heard("still there?")
    await bob.kill()

    back = await stage.party(answerer, "bob", "yes", attach=True, since=None)
    turns = await back.call("pending_turns")
    assert [turn["triggering_envelope_id"] for turn in turns] == [question]
    assert await back.call("heard") == []
    assert await back.call("resume_pending_turns") == 1
    assert (await alice.wait_for(channel, sender=back))["event_data"]["text"] == "yes"


@pytest.mark.parametrize("asker", ["ag2", "ours"])
async def test_our_hub_keeps_the_answer_of_a_closed_consult_for_its_asker(
    stage: Stage, asker: Side
) -> None:
    """AG2's hub replays nothing of a closed channel; ours owes what it accepted."""
    await stage.hub("ours")
    bob = await stage.party("ag2", "bob", behaviour="stuck")
    alice = await stage.party(asker, "alice", behaviour="listens")
    channel = await alice.open("consulting", bob)
    await alice.send(channel, "a question")
    await bob.until_heard("a question")
    await alice.kill()
    await bob.kill()
    witness = await stage.party("ag2", "bob", "the answer", attach=True)
    await witness.wait_for(channel, "ag2.channel.closed")

    back = await stage.party(asker, "alice", behaviour="listens", attach=True)
    assert (await back.wait_for(channel))["event_data"]["text"] == "the answer"


@pairs
async def test_a_conversation_goes_on_after_the_hub_was_killed(
    stage: Stage, hub: Side, asker: Side, answerer: Side
) -> None:
    await stage.hub(hub)
    bob = await stage.party(answerer, "bob", behaviour="stuck")
    alice = await stage.party(asker, "alice", behaviour="listens")
    channel = await alice.open("conversation", bob)
    question = await alice.send(channel, "before")
    await bob.until_heard("before")
    await stage.kill_hub()
    await alice.kill()
    await bob.kill()

    await stage.hub(hub)
    back = await stage.party(asker, "alice", behaviour="listens", attach=True)
    answering = await stage.party(answerer, "bob", "after", attach=True)
    assert (back.agent_id, answering.agent_id) == (alice.agent_id, bob.agent_id)
    reply = await back.wait_for(channel, sender=answering)
    assert reply["causation_id"] == question
    assert [text for _, text in await back.texts(channel)] == ["before", "after"]
