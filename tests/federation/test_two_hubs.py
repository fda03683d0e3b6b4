"""Agents of two hubs, over real sockets: they find each other, talk, and what is not allowed is not."""

from __future__ import annotations

import attrs
import pytest
import trio

from trio_hub import (
    AccessBlock,
    ApiKeyAuth,
    AuthBlock,
    AuthRegistry,
    ChannelState,
    ClientCertAuth,
    Expectation,
    Federation,
    Finish,
    Handoff,
    Hub,
    HubClient,
    HubLimits,
    LocalLink,
    MemoryKnowledgeStore,
    Passport,
    Peer,
    ProtocolError,
    Resume,
    Rule,
    TransitionGraph,
    Turn,
    WsLink,
    serve_ws,
)
from trio_hub.errors import AccessDeniedError, NotFoundError
from trio_hub.links.server import WsServer
from trio_hub.protocol.federation import AgentCard, CrossingAnswer, Naming
from trio_hub.records import EV_CHANNEL_CLOSED, EV_TEXT, ChannelMetadata, Envelope
from trio_hub.wire import params as p

from ..certificates import Authority
from .two_hubs import PATIENCE_SECONDS, heard, joined, shout, silence, town, two_towns


async def test_question_crosses_and_its_answer_comes_back() -> None:
    async with two_towns() as (east, west):
        alice, _bob = await east.agent("alice"), await west.agent("bob", shout)
        await east.knows("hub://west/bob")
        channel = await alice.open(type="consulting", target="hub://west/bob")
        asked = await channel.send("how much?")
        answer = await heard(alice, channel.channel_id, "HOW MUCH?")
        assert answer.causation_id == asked
        assert east.hub.name_for(answer.sender_id) == "hub://west/bob"
        # The end is the owner's to say, and is said on both sides.
        await west.until(lambda: west.hub.get_channel(channel.channel_id).is_terminal)
        await east.until(lambda: east.hub.get_channel(channel.channel_id).is_terminal)
        assert await west.texts(channel.channel_id) == ["how much?", "HOW MUCH?"]
        there = west.hub.get_channel(channel.channel_id)
        assert west.hub.name_for(there.creator_id) == "hub://east/alice"
        assert not east.letters
        assert not west.letters


async def test_mirror_shows_who_is_behind_it_and_goes_with_it() -> None:
    async with two_towns() as (east, west):
        bob = await west.client.register(
            silence, Passport(name="bob", owner="sales"), Resume(summary="knows prices")
        )
        await east.knows("hub://west/bob")
        [mirror] = east.hub.list_agents(query="prices")
        assert (mirror.name, mirror.kind, mirror.hub_id) == (
            "hub://west/bob",
            "remote_agent",
            "west",
        )
        assert mirror.owner == "sales"
        await bob.set_resume(Resume(summary="knows weights"))
        await east.until(lambda: east.hub.list_agents(query="weights"))
        await bob.unregister()
        await east.until(lambda: not east.hub.find_agent_id("hub://west/bob"))


async def test_all_of_many_agents_are_known() -> None:
    async with town("east") as east, town("west") as west:
        names = [f"agent{number}" for number in range(450)]
        for name in names:
            await west.hub.register(Passport(name=name))
        async with (
            joined(east, {"west": WsLink(west.url)}) as east.federation,
            joined(west, {"east": WsLink(east.url)}),
        ):
            await east.knows(*(f"hub://west/{it}" for it in names))
            [health] = east.hub.health().peers
            assert health.agents == len(names)


async def test_only_those_on_the_lists_are_known_and_reached() -> None:
    async with two_towns(exports=("public-*",), imports=("helper*",)) as (east, west):
        await east.agent("public-desk")
        await east.agent("secret")
        alice = await east.agent("public-alice")
        helper, other = await west.agent("helper"), await west.agent("other")
        await west.knows("hub://east/public-desk", "hub://east/public-alice")
        await east.knows("hub://west/helper")
        assert not west.hub.find_agent_id("hub://east/secret")
        assert not east.hub.find_agent_id("hub://west/other")
        # Who has a mirror from earlier days, or guesses, is none the wiser.
        with pytest.raises(NotFoundError):
            await helper.open(type="conversation", target="hub://east/secret")
        with trio.move_on_after(5):
            await other.open(type="conversation", target="hub://east/public-desk")
        [letter] = west.letters
        assert "hub://west/other" in letter.reason
        channel = await alice.open(type="conversation", target="hub://west/helper")
        await channel.send("welcome")
        await heard(helper, channel.channel_id, "welcome")


async def test_rules_of_agents_hold_for_agents_of_other_hubs() -> None:
    async with two_towns() as (east, west):
        alice = await east.agent("alice")
        shy = Rule(access=AccessBlock(inbound_from=("hub://east/carol",)))
        await west.client.register(silence, Passport(name="bob"), rule=shy)
        await east.knows("hub://west/bob")
        with trio.move_on_after(3):
            await alice.open(type="conversation", target="hub://west/bob")
        await east.until(lambda: east.letters)
        [letter] = east.letters
        assert east.hub.name_for(letter.agent_id) == "hub://west"
        assert "access_denied" in letter.reason


async def test_agent_of_another_hub_closes_a_channel_by_its_owner() -> None:
    async with two_towns() as (east, west):
        alice, bob = await east.agent("alice"), await west.agent("bob")
        await east.knows("hub://west/bob")
        channel = await alice.open(type="conversation", target="hub://west/bob")
        await channel.send("hello")
        await heard(bob, channel.channel_id, "hello")
        await (await bob.channel(channel.channel_id)).close("enough")
        # Asking twice, and when it is over, does no harm.
        await (await bob.channel(channel.channel_id)).close("enough")
        closed = await alice.wait_for_channel_event(
            channel_id=channel.channel_id,
            predicate=lambda it: it.event_type == EV_CHANNEL_CLOSED,
            timeout=PATIENCE_SECONDS,
        )
        assert closed.event_data["reason"] == "enough"
        await west.until(lambda: west.hub.get_channel(channel.channel_id).is_terminal)
        await (await bob.channel(channel.channel_id)).close("enough")
        assert west.hub.get_channel(channel.channel_id).close_reason == "enough"


async def test_turns_are_taken_as_the_owner_says() -> None:
    async with two_towns() as (east, west):
        alice, bob = await east.agent("alice"), await west.agent("bob")
        await east.knows("hub://west/bob")
        channel = await alice.open(type="discussion", target="hub://west/bob")
        await west.until(
            lambda: west.hub.get_channel(channel.channel_id).state is ChannelState.ACTIVE
        )
        assert not await west.client.can_send(channel.channel_id, bob.agent_id)
        await channel.send("first")
        await heard(bob, channel.channel_id, "first")
        assert await west.client.can_send(channel.channel_id, bob.agent_id)


async def test_what_the_owner_refuses_is_a_dead_letter_at_once_and_in_nobodys_way() -> None:
    async with two_towns() as (east, west):
        alice, bob = await east.agent("alice"), await west.agent("bob")
        await east.knows("hub://west/bob")
        channel = await alice.open(type="discussion", target="hub://west/bob")
        await west.until(
            lambda: west.hub.get_channel(channel.channel_id).state is ChannelState.ACTIVE
        )
        out_of_turn = await (await bob.channel(channel.channel_id)).send("me first")
        await west.until(lambda: west.letters)
        [letter] = west.letters
        assert letter.envelope_id == out_of_turn
        assert west.hub.name_for(letter.agent_id) == "hub://east"
        assert letter.attempts == 1
        assert "protocol_error" in letter.reason
        await channel.send("no, me")
        await heard(bob, channel.channel_id, "no, me")
        await (await bob.channel(channel.channel_id)).send("now me")
        await heard(alice, channel.channel_id, "now me")
        [health] = west.hub.health().peers
        assert health.refused == 1


async def test_workflow_goes_from_hub_to_hub_by_handoff() -> None:
    async def clerk(turn: Turn) -> Handoff:
        return Handoff("hub://east/boss", "too large for me")

    async def boss(turn: Turn) -> Finish:
        return Finish("granted")

    async with two_towns() as (east, west):
        alice = await east.agent("alice")
        await east.agent("boss", boss)
        await west.agent("clerk", clerk)
        await east.knows("hub://west/clerk")
        graph = TransitionGraph.sequence(["alice", "hub://west/clerk", "boss"])
        channel = await alice.open(
            type="workflow", target=["hub://west/clerk", "boss"], knobs={"graph": graph}
        )
        await channel.send("a loan, please")
        await alice.wait_for_channel_event(
            channel_id=channel.channel_id,
            predicate=lambda it: it.event_type == EV_CHANNEL_CLOSED,
            timeout=PATIENCE_SECONDS,
        )
        said = await channel.history()
        handoff = said[1]
        # Whom the clerk's hub called so is the boss here.
        assert handoff.routing["target"] == east.hub.find_agent_id("boss")
        assert said[-1].text == "granted"


async def test_line_is_down_while_nobody_is_there_and_up_again_and_no_attempt_is_counted() -> None:
    async with town("east") as east:
        west_store = MemoryKnowledgeStore()
        async with (
            town("west", store=west_store) as west,
            joined(east, {"west": WsLink(west.url)}) as east.federation,
        ):
            port = int(west.url.rpartition(":")[2])
            async with joined(west, {"east": WsLink(east.url)}) as west.federation:
                alice, bob = await east.agent("alice"), await west.agent("bob")
                await east.knows("hub://west/bob")
                channel = await alice.open(type="conversation", target="hub://west/bob")
                await channel.send("0")
                await heard(bob, channel.channel_id, "0")
            # West serves on, and has no door any more: that is no refusal either.
            await channel.send("1")
            with trio.fail_after(PATIENCE_SECONDS):
                await east.federation.wait_down("west")
            [health] = east.hub.health().peers
            assert (health.up, health.owed > 0, health.problem != "") == (False, True, True)
            for number in range(2, 6):
                await channel.send(f"{number}")
            async with (
                joined(west, {"east": WsLink(east.url)}) as west.federation,
            ):
                await heard(bob, channel.channel_id, "5")
                assert await west.texts(channel.channel_id) == [f"{it}" for it in range(6)]
            assert port
        assert not east.letters


async def test_the_called_must_be_who_it_is_taken_for() -> None:
    async with (
        town("east") as east,
        town("west") as west,
        joined(west, {"east": WsLink(east.url)}),
        joined(east, {"north": WsLink(west.url)}) as east.federation,
    ):
        # It does not even know us under a name that it expects; and had it, it is not north.
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                [health] = east.federation.health()
                if health.failures >= 2:
                    break
                await trio.lowlevel.checkpoint()
        assert not health.up
        assert "'west', and not 'north'" in health.problem


async def test_peers_prove_themselves_by_their_keys() -> None:
    keys = AuthRegistry([ApiKeyAuth(keys={"hub:east": "right", "bob": "b"})])
    async with town("east") as east, town("west", auth=keys) as west:
        wrong = Peer(name="west", link=WsLink(west.url), exports="*", imports="*", key="wrong")
        async with Federation.open(east.hub, "east", [wrong], allow_unauthenticated=True) as joint:
            with trio.fail_after(PATIENCE_SECONDS):
                while not joint.health()[0].failures:
                    await trio.lowlevel.checkpoint()
            assert "AuthError" in joint.health()[0].problem
            assert "wrong" not in repr(wrong)


async def test_peers_with_keys_reach_each_other() -> None:
    def keys(peer: str) -> AuthRegistry:
        return AuthRegistry([ApiKeyAuth(keys={f"hub:{peer}": "k", "agent": "a"})])

    async with (
        Hub.open(MemoryKnowledgeStore(), auth=keys("west")) as east,
        Hub.open(MemoryKnowledgeStore(), auth=keys("east")) as west,
        Federation.open(
            east,
            "east",
            [Peer(name="west", link=LocalLink(west), exports="*", imports="*", key="k")],
        ) as of_east,
        Federation.open(
            west,
            "west",
            [Peer(name="east", link=LocalLink(east), exports="*", imports="*", key="k")],
        ) as of_west,
    ):
        with trio.fail_after(PATIENCE_SECONDS):
            await of_east.wait_up("west")
            await of_west.wait_up("east")


async def test_peers_with_certificates_reach_each_other() -> None:
    authority = Authority()
    auth = AuthRegistry([ClientCertAuth()])
    by_certificate = AuthBlock(scheme="client_cert")

    def peer(name: str, server: WsServer, ours: str) -> Peer:
        link = WsLink(server.url, ssl_context=authority.named(f"hub:{ours}"))
        return Peer(name=name, link=link, exports="*", imports="*", auth=by_certificate)

    async with (
        Hub.open(MemoryKnowledgeStore(), auth=auth) as east,
        Hub.open(MemoryKnowledgeStore(), auth=auth) as west,
        serve_ws(east, "127.0.0.1", 0, ssl_context=authority.serving()) as at_east,
        serve_ws(west, "127.0.0.1", 0, ssl_context=authority.serving()) as at_west,
        Federation.open(east, "east", [peer("west", at_west, "east")]) as of_east,
        Federation.open(west, "west", [peer("east", at_east, "west")]) as of_west,
    ):
        with trio.fail_after(PATIENCE_SECONDS):
            await of_east.wait_up("west")
            await of_west.wait_up("east")


def test_a_peer_is_proved_to_in_one_way() -> None:
    with pytest.raises(ValueError, match="a key or an auth"):
        Peer(
            name="west",
            link=WsLink("ws://west"),
            exports="*",
            imports="*",
            key="k",
            auth=AuthBlock(scheme="client_cert"),
        )


async def test_hub_that_authenticates_nobody_has_no_peers_unless_one_insists() -> None:
    async with town("east") as east:
        with pytest.raises(ValueError, match="authenticates nobody"):
            async with Federation.open(east.hub, "east", []):
                pass
        async with joined(east, {}):
            with pytest.raises(RuntimeError, match="federated already"):
                async with joined(east, {}):
                    pass


async def test_nobody_takes_a_name_of_another_hub_over_the_wire() -> None:
    async with town("east") as east:
        with pytest.raises(ProtocolError, match="agents of other hubs"):
            await east.agent("hub://west/bob")


async def test_mirror_opens_no_channel_here() -> None:
    async with two_towns() as (east, west):
        alice, _ = await east.agent("alice"), await west.agent("bob")
        await east.knows("hub://west/bob")
        mirror = east.hub.find_agent_id("hub://west/bob")
        assert mirror is not None
        with pytest.raises(ProtocolError, match="opens its channels there"):
            await east.hub.create_channel(
                creator_id=mirror, manifest_type="conversation", participants=[alice.agent_id]
            )


# A peer that lies


@attrs.define
class Liar:
    """Logged in to west as hub east, which has no federation of its own here."""

    client: HubClient
    channel_id: str
    bob: str

    async def invite(
        self, channel: ChannelMetadata, *invitees: str, creator: str = "hub://east/a"
    ) -> CrossingAnswer:
        said = self.said(
            "hub://east/a",
            channel_id=channel.channel_id,
            event_type="ag2.channel.invite",
            audience=invitees,
        )
        return await self.cross(said, channel=attrs.evolve(channel, creator_id=creator))

    async def cross(self, said: Envelope, **fields: object) -> CrossingAnswer:
        crossing = {"path": ["east"], "envelope": said, **fields}
        answer: CrossingAnswer = await self.client.request(
            "cross_envelope", {"crossing": crossing}, CrossingAnswer
        )
        return answer

    def said(self, sender: str, **fields: object) -> Envelope:
        values = {
            "channel_id": self.channel_id,
            "sender_id": sender,
            "event_type": EV_TEXT,
            "event_data": {"text": "a lie"},
            "envelope_id": "1" * 32,
            **fields,
        }
        return Envelope(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sender", "fields", "crossing", "why"),
    [
        ("hub://west/bob", {}, {}, "does not speak for"),
        ("hub://north/carol", {}, {}, "no address"),
        ("hub://east/alice", {}, {"path": ["west", "east"]}, "a loop"),
        ("hub://east/alice", {}, {"path": ["north"]}, "says that it is"),
        ("hub://east/alice", {"channel_id": "0" * 32}, {}, "no channel"),
        ("hub://east/alice", {}, {}, "takes no part"),
        ("hub://east/alice", {"event_type": "ag2.channel.closed"}, {}, "takes no part"),
        ("hub://east/alice", {"event_type": "ag2.channel.invite"}, {}, "comes with the channel"),
        ("hub://east/stranger", {}, {}, "nobody is known"),
    ],
)
async def test_peer_is_believed_only_what_it_may_say(
    sender: str, fields: dict[str, object], crossing: dict[str, object], why: str
) -> None:
    async with town("west") as west:
        dummy = LocalLink(west.hub)
        async with joined(west, {"east": dummy}, imports=("alice",)):
            bob, dee = await west.agent("bob"), await west.agent("dee")
            channel = await bob.open(type="conversation", target="dee")
            async with HubClient(WsLink(west.url)) as client:
                await client.register(silence, Passport(name="hub:east"))
                liar = Liar(client, channel.channel_id, bob.agent_id)
                answer = await liar.cross(liar.said(sender, **fields), **crossing)
            assert answer.is_final
            assert why in answer.message
            assert await west.texts(channel.channel_id) == []
            assert dee.agent_id


async def test_peer_cannot_invite_whom_it_may_not_know_nor_to_channels_of_others() -> None:
    async with (
        town("west") as west,
        joined(west, {"east": LocalLink(west.hub)}, exports=("bob",)),
        HubClient(WsLink(west.url)) as client,
    ):
        bob, dee = await west.agent("bob"), await west.agent("dee")
        ours = await bob.open(type="conversation", target="dee")
        await client.register(silence, Passport(name="hub:east"))
        liar = Liar(client, "2" * 32, bob.agent_id)
        known = west.hub.get_channel(ours.channel_id)

        async def invite(channel_id: str, other: str, creator: str = "hub://east/a") -> str:
            told = _with(attrs.evolve(known, channel_id=channel_id), creator, other)
            return (await liar.invite(told, other, creator=creator)).message

        assert "no agent 'dee'" in await invite("2" * 32, "hub://west/dee")
        assert "no agent" in await invite("2" * 32, "hub://west/hub://east/a")
        assert "hub of its creator" in await invite("2" * 32, "hub://west/bob", "hub://east/b")
        assert "does not belong" in await invite(ours.channel_id, "hub://west/bob")
        assert "no id of a channel" in await invite("../x", "hub://west/bob")
        assert await invite("2" * 32, "hub://west/bob") == ""
        assert west.hub.get_channel("2" * 32).state is ChannelState.PENDING
        assert dee.agent_id


def _with(channel: ChannelMetadata, *names: str) -> ChannelMetadata:
    first = channel.participants[0]
    members = (attrs.evolve(first, agent_id=it, order=n) for n, it in enumerate(names))
    return attrs.evolve(channel, participants=tuple(members))


async def test_peer_draws_nobody_in_by_calling_them_participants() -> None:
    shy = Rule(access=AccessBlock(inbound_from=("bob",)))
    async with (
        town("west") as west,
        joined(west, {"east": LocalLink(west.hub)}, exports=("bob", "shy")),
        HubClient(WsLink(west.url)) as client,
    ):
        bob, _dee = await west.agent("bob"), await west.agent("dee")
        await west.client.register(silence, Passport(name="shy"), rule=shy)
        ours = await bob.open(type="conversation", target="dee")
        known = west.hub.get_channel(ours.channel_id)
        await client.register(silence, Passport(name="hub:east"))
        liar = Liar(client, "2" * 32, bob.agent_id)
        told = attrs.evolve(known, channel_id="2" * 32, created_at="never", expires_at="never")
        both = ("hub://east/a", "hub://west/bob")
        # Who may not be known there is not drawn in; who does not let them in is not either.
        refused = await liar.invite(_with(told, *both, "hub://west/shy"), "hub://west/bob")
        assert refused.code == "access_denied"
        taken = await liar.invite(_with(told, *both, "hub://west/dee"), "hub://west/bob")
        assert taken.envelope_id
        reflected = west.hub.get_channel("2" * 32)
        assert {west.hub.name_for(it) for it in reflected.participant_ids} == {
            "hub://east/a",
            "bob",
        }
        for data in ({}, {"participants": "bob"}, {"participants": [1]}):
            for what in ("removed", "hidden"):
                said = liar.said(
                    "hub://east/a",
                    event_type=f"ag2.channel.participant_{what}",
                    event_data=data,
                    envelope_id="2" * 32,
                )
                assert "names participants" in (await liar.cross(said)).message


async def test_whom_a_peer_names_many_times_it_names_once() -> None:
    async with (
        town("west") as west,
        joined(west, {"east": LocalLink(west.hub)}, exports=("bob",)),
        HubClient(WsLink(west.url)) as client,
    ):
        bob, _dee = await west.agent("bob"), await west.agent("dee")
        ours = await bob.open(type="conversation", target="dee")
        known = west.hub.get_channel(ours.channel_id)
        await client.register(silence, Passport(name="hub:east"))
        liar = Liar(client, "2" * 32, bob.agent_id)
        both, here = ("hub://east/a", "hub://west/bob"), ("hub://west/bob",)
        told = _with(attrs.evolve(known, channel_id="2" * 32), *both)
        assert (await liar.invite(told, *here * 5_000)).message == ""
        # What the owner of a channel says of it goes around the admission.
        said = liar.said(
            "hub://east/a", event_type=EV_TEXT, audience=here * 5_000, envelope_id="3" * 32
        )
        assert (await liar.cross(said)).message == ""
        told_twice = liar.said(
            "hub://east/a",
            event_type="ag2.channel.closed",
            audience=here * 5_000,
            envelope_id="4" * 32,
        )
        assert (await liar.cross(told_twice)).message == ""
        wal = await west.hub.read_wal("2" * 32)
        audiences = {it.event_type: it.audience for it in wal}
        assert audiences["ag2.channel.invite"] == (bob.agent_id,)
        assert set(audiences.values()) <= {None, (bob.agent_id,)}, audiences


async def test_agents_that_do_not_do_what_is_expected_are_removed_at_both_hubs() -> None:
    expected = Expectation(
        name="reply_within",
        on_violation="remove",
        params={"seconds": 0.05},
    )
    limits = HubLimits(expectation_seconds_min=0.01)
    async with two_towns(limits=limits) as (east, west):
        alice, carol = await east.agent("alice"), await east.agent("carol")
        bob = await west.agent("bob")
        await east.knows("hub://west/bob")
        channel = await alice.open(
            type="discussion", target=["carol", "hub://west/bob"], expectations=[expected]
        )
        await channel.send("bob?")
        assert carol.agent_id
        await west.until(lambda: west.hub.get_channel(channel.channel_id).is_terminal)
        there = west.hub.get_channel(channel.channel_id)
        assert there.close_reason == "all who took part here were removed"
        assert bob.agent_id not in there.participant_ids
        here = east.hub.get_channel(channel.channel_id)
        assert east.hub.find_agent_id("hub://west/bob") not in here.participant_ids


async def test_only_a_peer_may_cross() -> None:
    async with two_towns() as (east, west):
        await west.agent("bob")
        with pytest.raises(AccessDeniedError, match="peers of this one"):
            await west.client.request("cross_agents", p.CrossAgents(to="west", serial="1"), str)
        assert east.hub


async def test_list_that_was_overtaken_changes_nothing() -> None:
    async with (
        town("west") as west,
        joined(west, {"east": LocalLink(west.hub)}),
        HubClient(WsLink(west.url)) as client,
    ):
        await client.register(silence, Passport(name="hub:east"))

        async def tell(serial: str, *names: str, more: bool = False) -> None:
            cards = tuple(AgentCard(passport=Passport(name=it)) for it in names)
            told = p.CrossAgents(to="west", serial=serial, cards=cards, more=more)
            assert await client.request("cross_agents", told, str) == "west"

        await tell("2", "a", more=True)
        await tell("2", "b")
        assert west.hub.find_agent_id("hub://east/a")
        await tell("2", "b")
        await tell("1")
        assert west.hub.find_agent_id("hub://east/a")
        await tell("3", "b")
        assert not west.hub.find_agent_id("hub://east/a")
        assert west.hub.find_agent_id("hub://east/b")


def test_naming_is_what_it_says() -> None:
    assert Naming("east", "west").address("alice") == "hub://east/alice"
