"""Delivering: until the receipt, in order, to each at its own pace."""

from __future__ import annotations

import trio

from trio_hub import LinkLimits
from trio_hub.records import EV_CHANNEL_INVITE

from .conftest import OpenHouse


async def test_ag2_acks_out_of_order_lose_nothing(hub_house: OpenHouse) -> None:
    """AG2 moves its cursor to the latest ack, and forgets what came before it."""
    async with hub_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob", acks=False)
        channel_id = await alice.open("conversation", bob)
        await alice.say(channel_id, "first")
        await alice.say(channel_id, "second")
        await bob.hears("first")
        bob.ack(await bob.hears("second"))
        await bob.quiet()
        bob.cut()
        await bob.gone()
        back = await house.back("bob")
        await back.hears("first")
        await back.quiet()
        assert back.heard() == ["first"]


async def test_ag2_a_nack_brings_the_envelope_again(hub_house: OpenHouse) -> None:
    """AG2 does nothing on a nack."""
    async with hub_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob", acks=False)
        channel_id = await alice.open("conversation", bob)
        await alice.say(channel_id, "again")
        bob.nack(await bob.hears("again"), "not now")
        bob.ack(await bob.hears("again"))
        await bob.quiet()
        assert bob.heard() == ["again", "again"]


async def test_ag2_an_invite_to_one_who_is_away_waits_for_it(hub_house: OpenHouse) -> None:
    """AG2 drops what is sent to an agent that is not bound at that moment."""
    async with hub_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        bob.cut()
        await bob.gone()
        opening = alice.ask(
            "create_channel",
            creator_id=alice.id,
            manifest_type="conversation",
            participants=[bob.id],
        )
        await alice.quiet()
        back = await house.back("bob", accepts=False)
        invite = await back.hears(event_type=EV_CHANNEL_INVITE)
        await back.answer(back.answer_invite(invite))
        assert (await alice.answer(opening))["state"] == "active"


async def test_ag2_a_broadcast_is_not_lost_behind_a_slow_peer(hub_house: OpenHouse) -> None:
    """AG2 sends to one after another, and whoever stands behind a slow one gets nothing."""
    limits = LinkLimits(outbox_low_bytes=2_000, outbox_high_bytes=4_000)
    async with hub_house(link_limits=limits) as house:
        alice = await house.join("alice")
        slow, quick = await house.join("slow"), await house.join("quick")
        channel_id = await alice.open("discussion", slow, quick)
        await slow.quiet()
        news = {"event_type": "app.news", "event_data": {"text": "x" * 1000}}
        with slow.stalls():
            for _ in range(100):
                await alice.say(channel_id, "", **news)
            for _ in range(100):
                await quick.hears(event_type="app.news")
        with trio.fail_after(20):
            for _ in range(100):
                await slow.hears(event_type="app.news")
        alice.send("ping")
        await alice.expect("pong")


async def test_the_opening_is_told_to_everybody_the_creator_included(hub_house: OpenHouse) -> None:
    async with hub_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        for peer in (alice, bob):
            opened = await peer.hears(event_type="ag2.channel.opened")
            assert opened["envelope"]["channel_id"] == channel_id
            assert opened["recipient_id"] == peer.id
