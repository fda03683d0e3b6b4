"""Coming back: everything that is owed, nothing that was settled, in order."""

from __future__ import annotations

import trio

from trio_hub.records import EV_CHANNEL_CLOSED

from .conftest import OpenHouse


async def test_ag2_a_since_id_hides_nothing_of_other_channels(hub_house: OpenHouse) -> None:
    """AG2 takes one id for a position in every channel."""
    async with hub_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob", acks=False)
        one = await alice.open("conversation", bob)
        other = await alice.open("conversation", bob)
        await alice.say(other, "owed")
        latest = await alice.say(one, "done")
        bob.cut()
        await bob.gone()
        back = await house.back("bob", since=latest)
        await back.hears("owed")
        await back.quiet()
        assert back.heard() == ["owed"]


async def test_ag2_the_answer_of_a_closed_consult_is_still_delivered(hub_house: OpenHouse) -> None:
    """AG2 replays nothing of a channel that has closed."""
    async with hub_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("consulting", bob)
        question = await alice.say(channel_id, "what?")
        alice.cut()
        await alice.gone()
        await bob.say(channel_id, "that.", causation_id=question)
        await bob.hears(event_type=EV_CHANNEL_CLOSED)
        back = await house.back("alice")
        assert (await back.hears("that."))["envelope"]["causation_id"] == question
        await back.hears(event_type=EV_CHANNEL_CLOSED)


async def test_ag2_a_replay_and_what_is_said_meanwhile_do_not_mix(hub_house: OpenHouse) -> None:
    """AG2 interleaves the two, and loses what falls between."""
    async with hub_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        bob.cut()
        await bob.gone()
        for number in range(300):
            await alice.say(channel_id, str(number))

        async def go_on() -> None:
            for number in range(300, 400):
                await alice.say(channel_id, str(number))

        back = await house.peer()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_on)
            back.send("hello", name="bob", since_envelope_id="")
        with trio.fail_after(20):
            while len(back.heard()) < 400:
                await back.quiet()
        assert back.heard() == [str(number) for number in range(400)]


async def test_what_was_acked_never_comes_again(hub_house: OpenHouse) -> None:
    async with hub_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await alice.say(channel_id, "once")
        await bob.hears("once")
        await bob.quiet()
        bob.cut()
        await bob.gone()
        back = await house.back("bob")
        await back.quiet()
        assert back.heard() == []
