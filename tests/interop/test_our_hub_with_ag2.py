"""What our hub does for unmodified AG2 clients that AG2's own hub does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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
