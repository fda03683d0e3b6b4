"""What of a hub's delivery is different for one agent."""

from __future__ import annotations

from pathlib import Path

import pytest
from trio.testing import MockClock

from trio_hub import (
    DeliveryPolicy,
    DeliveryRule,
    DiskKnowledgeStore,
    HubClient,
    LocalLink,
    MemoryKnowledgeStore,
)
from trio_hub.client import ScriptedAgent
from trio_hub.errors import AccessDeniedError, NotFoundError
from trio_hub.hub import paths
from trio_hub.protocol.backoff import Backoff

from .peer import House, Peer, open_house

THREE = DeliveryPolicy(max_attempts=3)


async def nacks_until_dead(house: House, alice: Peer, bob: Peer, channel_id: str) -> int:
    """Let Bob refuse what Alice says; return after how many attempts it was dead."""
    envelope_id = await alice.say(channel_id, "poison")
    attempt = 0
    while not any(
        letter.envelope_id == envelope_id for letter in house.hub.list_dead_letters(bob.id).letters
    ):
        attempt += 1
        bob.nack(await bob.expect("notify", attempt=attempt), "cannot")
        await bob.quiet()
    return attempt


async def talking(house: House) -> tuple[Peer, Peer, str]:
    alice, bob = await house.join("alice"), await house.peer(acks=False)
    await bob.register("bob")
    channel_id = await alice.open("conversation", bob)
    bob.ack(await bob.hears(event_type="ag2.channel.opened"))
    await bob.quiet()
    return alice, bob, channel_id


async def test_agent_has_a_number_of_attempts_of_its_own(autojump_clock: MockClock) -> None:
    async with open_house(delivery=THREE) as house:
        alice, bob, channel_id = await talking(house)
        assert await nacks_until_dead(house, alice, bob, channel_id) == 3
        await bob.request("set_delivery_rule", agent_id=bob.id, rule={"max_attempts": 1})
        assert await nacks_until_dead(house, alice, bob, channel_id) == 1
        assert (await bob.request("get_delivery_rule", agent_id=bob.id))["max_attempts"] == 1
        await house.hub.set_delivery_rule(bob.id, DeliveryRule(), by="the night watch")
        assert await nacks_until_dead(house, alice, bob, channel_id) == 3
        records = (await house.hub.audit.query(kind="delivery_rule_changed")).records
        assert [(it.by, it.details) for it in records] == [
            (bob.id, {"changed": ["max_attempts"]}),
            ("the night watch", {"changed": ["max_attempts"]}),
        ]


async def test_new_number_counts_for_what_has_failed_before(autojump_clock: MockClock) -> None:
    # The seventh wait would else be half a minute, and the peer is not so patient.
    policy = DeliveryPolicy(max_attempts=0, backoff=Backoff(cap=1.0))
    async with open_house(delivery=policy) as house:
        alice, bob, channel_id = await talking(house)
        await alice.say(channel_id, "poison")
        for attempt in range(1, 8):
            bob.nack(await bob.expect("notify", attempt=attempt), "cannot")
        await house.hub.set_delivery_rule(bob.id, DeliveryRule(max_attempts=5))
        bob.nack(await bob.expect("notify", attempt=8), "cannot")
        await bob.quiet()
        [letter] = house.hub.list_dead_letters(bob.id).letters
        assert letter.attempts == 8


async def test_rule_survives_a_restart_and_goes_with_its_agent(tmp_path: Path) -> None:
    async with open_house(DiskKnowledgeStore(tmp_path / "data")) as house:
        bob = await house.join("bob")
        await house.hub.set_delivery_rule(bob.id, DeliveryRule(max_attempts=2))
    async with open_house(DiskKnowledgeStore(tmp_path / "data")) as house:
        assert house.hub.get_delivery_rule(bob.id).max_attempts == 2
        assert house.hub._deliveries.mailboxes[bob.id].inbox.policy.max_attempts == 2
        await house.hub.unregister(bob.id)
        with pytest.raises(NotFoundError):
            house.hub.get_delivery_rule(bob.id)
        assert await house.hub._store.read_under(f"{paths.AGENTS}/{bob.id}") == {}


async def test_rule_that_cannot_be_read_costs_itself() -> None:
    store = MemoryKnowledgeStore()
    async with store:
        async with open_house(store, delivery=THREE) as house:
            bob = await house.join("bob")
        await store.write(paths.delivery_rule(bob.id), b'{"max_attempts": -1}')
        async with open_house(store, delivery=THREE) as house:
            assert house.hub.get_delivery_rule(bob.id) == DeliveryRule()
            [problem] = house.hub.health().problems
            assert bob.id in problem
            assert "max_attempts" in problem


async def test_client_sets_the_rule_of_its_agents_and_of_no_others() -> None:
    async with (
        open_house() as house,
        HubClient(LocalLink(house.hub)) as here,
        HubClient(LocalLink(house.hub)) as elsewhere,
    ):
        bob = await here.register(ScriptedAgent("bob", []))
        await elsewhere.register(ScriptedAgent("eve", []))
        await here.set_delivery_rule(bob.agent_id, DeliveryRule(max_attempts=7))
        assert await here.get_delivery_rule(bob.agent_id) == DeliveryRule(max_attempts=7)
        with pytest.raises(AccessDeniedError):
            await elsewhere.set_delivery_rule(bob.agent_id, DeliveryRule(max_attempts=1))


async def test_what_an_operator_sets_is_audited_with_its_name() -> None:
    async with open_house(operators=["ops"], allow_unauthenticated_operators=True) as house:
        bob, ops = await house.join("bob"), await house.join("ops")
        await ops.request("set_delivery_rule", agent_id=bob.id, rule={"max_attempts": 1})
        [record] = (await house.hub.audit.query(kind="delivery_rule_changed")).records
        assert (record.agent_id, record.by) == (bob.id, "ops")
