"""Registering, being found, changing, leaving; API keys; and how refusals are caught."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .casts import members
from .parties import Refused

if TYPE_CHECKING:
    from .conftest import Side, Stage

pytestmark = pytest.mark.interop

KEYS = {"alice": "key-of-alice", "bob": "key-of-bob"}


@members
async def test_an_agent_is_found_with_all_that_it_registered(
    stage: Stage, hub: Side, side: Side
) -> None:
    await stage.hub(hub)
    alice = await stage.party(side, "alice", max_pending=7)
    bob = await stage.party(side, "bob")
    seen = await bob.call("look_up", name="alice")
    assert seen["passport"]["agent_id"] == alice.agent_id
    assert seen["passport"]["auth"]["claim"] == {}
    assert seen["passport"]["created_at"]
    assert list(seen["resume"]["claimed_capabilities"]) == ["interop"]
    assert seen["rule"]["limits"]["inbox"]["max_pending"] == 7
    assert seen["rule"]["limits"]["channel_ttl_default"] == "2h"
    assert seen["skill"] == "# alice"
    assert sorted(await bob.call("list_agents", capability="interop")) == ["alice", "bob"]
    assert await bob.call("list_agents", query="alice") == ["alice"]


@members
async def test_an_agent_changes_what_is_said_of_it_and_leaves(
    stage: Stage, hub: Side, side: Side
) -> None:
    await stage.hub(hub)
    alice = await stage.party(side, "alice")
    bob = await stage.party(side, "bob")
    changed = await alice.call("update_myself", summary="all new", skill_md="# new")
    assert (changed["resume"]["summary"], changed["skill"]) == ("all new", "# new")
    assert changed["resume"]["version"] == 2
    assert await bob.call("list_agents", capability="changed") == ["alice"]
    await alice.call("unregister")
    assert await bob.call("list_agents") == ["bob"]
    assert await bob.refusal("look_up", name="alice") == "NotFoundError"


@members
async def test_only_the_right_key_opens_the_door(stage: Stage, hub: Side, side: Side) -> None:
    await stage.hub(hub, keys=KEYS)
    for claim in ({"token": "key-of-bob"}, {"token": ""}, {}):
        with pytest.raises(Refused) as caught:
            await stage.party(side, "alice", scheme="api_key", claim=claim)
        assert caught.value.class_name == "AuthError"
        assert "key-of" not in caught.value.message
    with pytest.raises(Refused) as caught:
        await stage.party(side, "alice", scheme="none")
    assert caught.value.class_name == "AuthError"

    alice = await stage.party(side, "alice", scheme="api_key", claim={"token": "key-of-alice"})
    seen = await alice.call("look_up", name="alice")
    assert seen["passport"]["auth"]["scheme"] == "api_key"
    assert seen["passport"]["auth"]["claim"] == {}


@members
async def test_coming_back_takes_the_key_again(stage: Stage, hub: Side, side: Side) -> None:
    await stage.hub(hub, keys=KEYS)
    right = {"scheme": "api_key", "claim": {"token": "key-of-alice"}}
    alice = await stage.party(side, "alice", **right)
    await alice.kill()
    for wrong in (
        {"scheme": "api_key", "claim": {"token": "key-of-bob"}},
        {"scheme": "api_key", "claim": {}},
        {"scheme": "none"},
    ):
        with pytest.raises(Refused) as caught:
            await stage.party(side, "alice", attach=True, **wrong)
        assert caught.value.class_name == "AuthError"
    assert (await stage.party(side, "alice", attach=True, **right)).agent_id == alice.agent_id


@members
async def test_each_refusal_is_caught_as_the_class_that_its_side_names(
    stage: Stage, hub: Side, side: Side
) -> None:
    await stage.hub(hub)
    bob = await stage.party(side, "bob", "answer")
    alice = await stage.party(side, "alice", behaviour="listens")
    eve = await stage.party(side, "eve")

    assert await alice.refusal("open", type="consulting", target=["nobody"]) == "NotFoundError"
    assert await alice.refusal("open", type="no_such_type", target=["bob"]) == "NotFoundError"
    assert await alice.refusal("open", type="consulting", target=["bob", "eve"]) == "ProtocolError"
    with pytest.raises(Refused) as caught:
        await stage.party(side, "alice")
    assert caught.value.class_name == "ProtocolError"

    channel = await alice.open("consulting", bob)
    for do in ("info", "read_wal"):
        assert await eve.refusal(do, channel_id=channel) == "AccessDeniedError"
    assert await eve.refusal("close_channel", channel_id=channel, reason="") == "AccessDeniedError"
    await alice.send(channel, "question")
    await alice.wait_for(channel, "ag2.channel.closed")
    assert await alice.refusal("send", channel_id=channel, text="more") == "ProtocolError"
    assert (
        await alice.refusal(
            "post", channel_id=channel, event_type="ag2.channel.closed", event_data={}
        )
        == "ProtocolError"
    )


@pytest.mark.parametrize("hub", ["ag2", "ours"])
async def test_a_full_inbox_is_a_network_error_to_ag2(stage: Stage, hub: Side) -> None:
    """AG2 1.2.1 has no code for it on the wire; a code of ours must read well all the same."""
    await stage.hub(hub)
    bob = await stage.party("ag2", "bob", behaviour="stuck", max_pending=2)
    alice = await stage.party("ag2", "alice", behaviour="listens")
    channel = await alice.open("conversation", bob)
    await alice.send(channel, "one")
    await alice.send(channel, "two")
    assert await alice.refusal("send", channel_id=channel, text="three") == "NetworkError"


@pytest.mark.parametrize("hub", ["ag2", "ours"])
@pytest.mark.parametrize("answerer", ["ag2", "ours"])
async def test_an_ag2_model_delegates_with_its_network_tool(
    stage: Stage, hub: Side, answerer: Side
) -> None:
    """The tool looks up the peer, opens a consult, waits for the reply and uses it."""
    await stage.hub(hub)
    await stage.party(answerer, "bob", "thirty days")
    alice = await stage.party(
        "ag2",
        "alice",
        {"tool": "delegate", "arguments": {"target": "bob", "prompt": "refunds?"}},
        "Bob was asked.",
    )
    assert await alice.call("ask", prompt="How long for refunds?") == "Bob was asked."
    assert "thirty days" in (await alice.call("heard"))[-1]
