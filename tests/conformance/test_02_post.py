"""Posting: on disk before the answer, and once."""

from __future__ import annotations

import pytest

from trio_hub import MemoryKnowledgeStore
from trio_hub.errors import ProtocolError
from trio_hub.records import EV_TEXT
from trio_hub.testing import FaultyStore

from .conftest import OpenHouse


async def test_ag2_an_idempotency_key_is_honoured(hub_house: OpenHouse) -> None:
    """AG2 ignores keys and appends the same post again."""
    async with hub_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        first = await alice.say(channel_id, "hi", idempotency_key="k")
        assert await alice.say(channel_id, "hi", idempotency_key="k") == first
        with pytest.raises(ProtocolError):
            await alice.say(channel_id, "something else", idempotency_key="k")
        wal = await alice.request("read_wal", channel_id=channel_id)
        assert [it["envelope_id"] for it in wal if it["event_type"] == EV_TEXT] == [first]
        await bob.quiet()
        assert bob.heard() == ["hi"]


async def test_nothing_is_answered_that_is_not_kept(hub_house: OpenHouse) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with hub_house(store) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        with store.hold_commits():
            post = alice.ask_to_say(channel_id, "hi")
            await alice.quiet()
            assert not alice.is_answered(post)
        await alice.answer(post)


async def test_ids_are_32_hex_digits_in_the_order_of_acceptance(hub_house: OpenHouse) -> None:
    async with hub_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        asked = [
            (alice if number % 2 else bob).ask_to_say(channel_id, str(number))
            for number in range(30)
        ]
        for number, request_id in enumerate(asked):
            await (alice if number % 2 else bob).answer(request_id)
        wal = await alice.request("read_wal", channel_id=channel_id)
        envelope_ids = [it["envelope_id"] for it in wal]
        assert envelope_ids == sorted(set(envelope_ids))
        assert all(len(it) == 32 and int(it, 16) for it in envelope_ids)
