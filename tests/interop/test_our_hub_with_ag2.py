"""What our hub does for unmodified AG2 clients that AG2's own hub does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trio_hub.records import Expectation

if TYPE_CHECKING:
    from .conftest import Stage

pytestmark = pytest.mark.interop


async def test_two_agents_on_one_connection_consult_each_other(stage: Stage) -> None:
    """AG2's hub handles a connection's requests one by one, so this waits out its invite."""
    await stage.hub("ours")
    alice = await stage.party("ag2", "alice", behaviour="listens")
    bob_id = await alice.call("second", name="bob", script=["from next door"])
    channel = (await alice.call("open", type="consulting", target=["bob"]))["channel_id"]
    await alice.send(channel, "are you there?")
    reply = await alice.wait_for(channel)
    assert (reply["sender_id"], reply["event_data"]["text"]) == (bob_id, "from next door")


async def test_an_answer_over_the_limit_of_ag2_is_an_error_and_not_the_end(stage: Stage) -> None:
    """AG2's client refuses messages over 1 MiB and then dies; it must never be sent one."""
    await stage.hub("ours")
    bob = await stage.party("ag2", "bob")
    alice = await stage.party("ag2", "alice", behaviour="listens")
    channel = await alice.open("conversation", bob)
    for _ in range(3):
        await alice.call(
            "post", channel_id=channel, event_type="app.bulk", event_data={"bulk": "x" * 600_000}
        )
    assert await alice.refusal("read_wal", channel_id=channel) == "NetworkError"
    log = await alice.call("read_wal", channel_id=channel, since=3, until=4)
    assert len(log[0]["event_data"]["bulk"]) == 600_000
    assert sorted(await bob.call("list_agents")) == ["alice", "bob"]


async def test_a_notification_over_the_limit_of_ag2_is_settled_and_not_sent(stage: Stage) -> None:
    """
    Its connection lives on, and what is small still comes. (AG2's default handler reads the
    whole log before each turn, so in such a channel it reports a failed turn instead of a reply.)
    """
    await stage.hub("ours")
    bob = await stage.party("ag2", "bob")
    alice = await stage.party("ours", "alice", behaviour="listens")
    channel = await alice.open("conversation", bob)
    await alice.call(
        "post", channel_id=channel, event_type="app.bulk", event_data={"bulk": "x" * 2_000_000}
    )
    await alice.send(channel, "and something small")
    assert (await bob.wait_for(channel))["event_data"]["text"] == "and something small"
    assert sorted(await bob.call("list_agents")) == ["alice", "bob"]

    await bob.kill()
    back = await stage.party("ag2", "bob", behaviour="listens", attach=True)
    elsewhere = await alice.open("conversation", await stage.party("ag2", "carol", "here"))
    await alice.send(elsewhere, "carol?")
    await alice.wait_for(elsewhere)
    assert sorted(await back.call("list_agents")) == ["alice", "bob", "carol"]


async def test_ag2_clients_hear_of_expectations_that_were_not_met(stage: Stage) -> None:
    """They know the notice, read the channel's metadata, and pass over what they do not know."""
    await stage.hub("ours")
    bob = await stage.party("ag2", "bob", behaviour="stuck")
    carol = await stage.party("ag2", "carol", "never asked")
    alice = await stage.party("ours", "alice", behaviour="listens")
    expected = [
        Expectation(name="turn_within", on_violation=follows, params={"seconds": 1})
        for follows in ("notify_channel", "remove")
    ]
    channel = (
        await alice.call("open", type="discussion", target=["bob", "carol"], expectations=expected)
    )["channel_id"]
    await alice.send(channel, "bob?")
    notice = await carol.wait_for(channel, "ag2.expectation.violated")
    assert notice["event_data"]["expectation"] == "turn_within"
    assert notice["event_data"]["violators"] == [bob.agent_id]
    removed = await carol.wait_for(channel, "ag2.channel.participant_removed")
    assert removed["event_data"]["participants"] == [bob.agent_id]
    # It is carol's turn now, whose client knows the channel without bob.
    await carol.send(channel, "then I")
    assert await bob.refusal("send", channel_id=channel, text="I?") == "AccessDeniedError"
    assert (await alice.wait_for(channel))["event_data"]["text"] == "then I"
