"""Our agents look around at AG2's hub, among agents of both kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Stage

pytestmark = pytest.mark.interop


async def test_our_agent_finds_others_at_a_hub_that_cannot_look_for_it(stage: Stage) -> None:
    await stage.hub("ag2")
    bob = await stage.party("ag2", "bob")
    carol = await stage.party("ours", "carol")
    alice = await stage.party("ours", "alice")
    assert [it["name"] for it in await alice.call("find_peers")] == ["bob", "carol"]
    [found] = await alice.call("find_peers", capability="interop", text="BOB", kind="agent")
    assert (found["agent_id"], *found["capabilities"]) == (bob.agent_id, "interop")
    assert found["track_record"]["n"] == 0
    await carol.call("update_myself", summary="all new", skill_md="---\nname: carols\n---\n# new")
    assert [it["name"] for it in await alice.call("find_peers", text="all new")] == ["carol"]
    assert await alice.call("find_peers", domain="nowhere") == []
    profile = await alice.call("describe_peer", name="carol")
    assert profile["resume"]["summary"] == "all new"
    assert (profile["skill"]["metadata"], profile["skill"]["body"]) == ({"name": "carols"}, "# new")
    assert profile["track_record"] == {}
    assert await alice.refusal("describe_peer", name="nobody") == "NotFoundError"
