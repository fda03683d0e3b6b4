"""Reading a log from its end, and opening a channel once under a key."""

from __future__ import annotations

from typing import Any

import pytest

from trio_hub import HubLimits, MemoryKnowledgeStore
from trio_hub.errors import ProtocolError, StoreError
from trio_hub.testing import FaultyStore

from .peer import Peer, open_house


def _texts(tail: dict[str, Any]) -> list[str]:
    return [it["event_data"].get("text", "-") for it in tail["envelopes"]]


async def test_a_tail_is_the_last_that_one_may_see_and_goes_on_below_its_start() -> None:
    async with open_house(limits=HubLimits(page_records_max=4)) as house:
        alice, bob, carol = [await house.join(it) for it in ("alice", "bob", "carol")]
        channel_id = await alice.open("discussion", bob, carol)
        for number in range(20):
            await alice.say(
                channel_id,
                str(number),
                event_type="app.x",
                audience=None if number % 2 else [carol.id],
            )
        seen: list[str] = []
        before = None
        for _ in range(20):
            tail = await bob.request("read_tail", channel_id=channel_id, limit=3, before=before)
            assert len(tail["envelopes"]) <= 3
            seen = _texts(tail) + seen
            before = tail["start"]
            if not before:
                break
        assert [it for it in seen if it != "-"] == [str(number) for number in range(1, 20, 2)]
        everything = await bob.request("read_wal", channel_id=channel_id)
        assert len(seen) == len(everything)
        with pytest.raises(ProtocolError, match="limit"):
            await bob.request("read_tail", channel_id=channel_id, limit=0)


async def _open(alice: Peer, bob: Peer, key: str, **changes: Any) -> str:
    return await alice.open("conversation", bob, idempotency_key=key, **changes)


async def test_a_channel_is_opened_once_under_its_key() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with open_house(store) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        first = await _open(alice, bob, "k")
        assert await _open(alice, bob, "k") == first
        assert await _open(alice, bob, "other") != first
        store.fail("commit")
        with pytest.raises(StoreError):
            await _open(alice, bob, "lost")
        third = await _open(alice, bob, "lost")
        listed = [it["channel_id"] for it in await alice.request("list_channels")]
        assert len(listed) == 3
        assert third in listed
    async with open_house(store) as house:
        alice, bob = await house.back("alice"), await house.back("bob")
        assert await _open(alice, bob, "k") == first
