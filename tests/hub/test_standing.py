"""How far an envelope has come, as those see it who wait for an answer."""

from __future__ import annotations

from typing import Any

import pytest

from trio_hub import DeliveryPolicy, HubClient, LocalLink, MemoryKnowledgeStore, Passport
from trio_hub.errors import NotFoundError

from .peer import Peer, open_house


async def _standing(peer: Peer, channel_id: str, envelope_id: str) -> dict[str, Any]:
    rows = await peer.request("read_standing", channel_id=channel_id, envelope_id=envelope_id)
    return {it.pop("agent_id"): it for it in rows}


def _at(state: str, *, connected: bool = True, attempt: int = 0) -> dict[str, Any]:
    return {"state": state, "is_connected": connected, "attempt": attempt}


async def test_an_envelope_is_followed_to_its_receipt_over_a_restart() -> None:
    store = MemoryKnowledgeStore()
    async with open_house(store) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        bob.acks = False
        first = await alice.say(channel_id, "first")
        notify = await bob.hears("first")
        assert await _standing(alice, channel_id, first) == {bob.id: _at("in flight", attempt=1)}
        bob.ack(notify)
        await bob.quiet()
        assert await _standing(alice, channel_id, first) == {bob.id: _at("settled")}
        bob.cut()
        await bob.gone()
        second = await alice.say(channel_id, "second")
        away = {bob.id: _at("unsent", connected=False)}
        assert await _standing(alice, channel_id, second) == away
    async with open_house(store) as house:
        alice = await house.back("alice")
        # Nobody has touched the channel since.
        assert await _standing(alice, channel_id, second) == {
            it: {**_at("unsent", connected=False)} for it in away
        }
        assert await _standing(alice, channel_id, first) == {
            it: {**_at("settled", connected=False)} for it in away
        }


async def test_what_has_died_is_dead() -> None:
    async with open_house(delivery=DeliveryPolicy(max_attempts=1)) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        bob.acks = False
        poison = await alice.say(channel_id, "poison")
        bob.nack(await bob.hears("poison"))
        await bob.quiet()
        assert await _standing(alice, channel_id, poison) == {bob.id: _at("dead")}


async def test_it_is_told_of_what_one_may_see_and_of_those_it_is_for() -> None:
    async with open_house() as house:
        alice, bob, carol = [await house.join(it) for it in ("alice", "bob", "carol")]
        channel_id = await alice.open("discussion", bob, carol)
        private = await alice.say(channel_id, "psst", event_type="app.x", audience=[carol.id])
        assert set(await _standing(alice, channel_id, private)) == {carol.id}
        assert set(await _standing(carol, channel_id, private)) == {carol.id}
        for hidden in (private, "f" * 32, "not an id"):
            with pytest.raises(NotFoundError):
                await _standing(bob, channel_id, hidden)


async def test_a_client_asks_through_its_channel() -> None:
    async with open_house() as house:
        client = await house.enter(HubClient(LocalLink(house.hub)))
        bob = await house.join("bob")
        hanna = await client.attach_human("hanna", passport=Passport(name="hanna"))
        channel = await hanna.open(type="conversation", target="bob")
        bob.acks = False
        envelope_id = await channel.send("hello")
        await bob.hears("hello")
        [at] = await channel.standing(envelope_id)
        assert (at.agent_id, at.state, at.is_connected) == (bob.id, "in flight", True)
