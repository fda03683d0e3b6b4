"""What an operator's revocation means between two hubs."""

from __future__ import annotations

import trio

from trio_hub import WsLink

from .two_hubs import PATIENCE_SECONDS, heard, joined, silence, town, two_towns


async def test_an_agent_that_its_home_hub_revokes_is_away_for_others_and_gets_all_when_back() -> (
    None
):
    async with two_towns() as (east, west):
        alice, bob = await east.agent("alice"), await west.agent("bob")
        await east.knows("hub://west/bob")
        channel = await alice.open(type="conversation", target="hub://west/bob")
        await channel.send("before")
        await heard(bob, channel.channel_id, "before")
        await west.hub.revoke_agent("bob", "under investigation")
        # Who asks is not told: it waits, as for anybody who is away.
        await channel.send("meanwhile")
        await west.until(lambda: west.hub.owed_to(bob.agent_id))
        assert "hub://west/bob" in {it.name for it in east.hub.list_agents()}
        assert await east.texts(channel.channel_id) == ["before", "meanwhile"]
        await west.hub.reinstate_agent("bob")
        again = await west.client.attach(silence, "bob")
        await heard(again, channel.channel_id, "meanwhile")
        assert not east.letters
        assert not west.letters


async def test_what_a_revoked_agent_of_another_hub_says_is_not_taken_here() -> None:
    async with two_towns() as (east, west):
        alice, bob = await east.agent("alice"), await west.agent("bob")
        await west.knows("hub://east/alice")
        await east.knows("hub://west/bob")
        theirs = await bob.open(type="conversation", target="hub://east/alice")
        ours = await alice.open(type="conversation", target="hub://west/bob")
        for channel in (theirs, ours):
            await (await bob.channel(channel.channel_id)).send("before")
            await heard(alice, channel.channel_id, "before")
        await east.hub.revoke_agent("hub://west/bob", "spams")
        for number, channel in enumerate((theirs, ours), 1):
            await (await bob.channel(channel.channel_id)).send("unheard")
            await west.until(lambda number=number: len(west.letters) == number)
        assert all("has revoked" in it.reason for it in west.letters)
        with trio.move_on_after(3):
            await bob.open(type="conversation", target="hub://east/alice")
        await west.until(lambda: len(west.letters) == 3)
        # The channels go on, and end for both.
        await (await alice.channel(theirs.channel_id)).send("are you there?")
        await heard(bob, theirs.channel_id, "are you there?")
        await (await bob.channel(theirs.channel_id)).close("enough")
        await east.until(lambda: east.hub.get_channel(theirs.channel_id).is_terminal)
        await east.hub.reinstate_agent("hub://west/bob")
        await (await bob.channel(ours.channel_id)).send("after")
        await heard(alice, ours.channel_id, "after")
        assert "unheard" not in await east.texts(ours.channel_id)


async def test_a_whole_hub_is_shut_out_by_the_name_that_it_comes_by() -> None:
    async with town("east") as east, town("west") as west:
        alice, bob = await east.agent("alice"), await west.agent("bob")
        async with (
            joined(east, {"west": WsLink(west.url)}) as east.federation,
            joined(west, {"east": WsLink(east.url)}) as west.federation,
        ):
            with trio.fail_after(PATIENCE_SECONDS):
                await east.federation.wait_up("west")
                await west.federation.wait_up("east")
                await east.knows("hub://west/bob")
                channel = await alice.open(type="conversation", target="hub://west/bob")
                await east.hub.revoke_agent("hub:west", "its keys leaked")
                await west.federation.wait_down("east")
                await (await bob.channel(channel.channel_id)).send("knock")
                # What we have for it waits only if it is said so, too.
                await east.hub.revoke_agent("hub://west", "its keys leaked")
                await channel.send("kept")
                link_id = east.hub.find_agent_id("hub://west")
                assert link_id is not None
                assert east.hub.owed_to(link_id) == 1
                await east.hub.reinstate_agent("hub://west")
                await heard(bob, channel.channel_id, "kept")
                await east.hub.reinstate_agent("hub:west")
                await heard(alice, channel.channel_id, "knock")
