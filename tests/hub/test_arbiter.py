"""Rules and arbiters: what they deny has not happened, and one that breaks denies too."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from trio_hub import (
    AccessBlock,
    ChannelTypeAccess,
    Envelope,
    InboxBlock,
    LimitsBlock,
    MemoryKnowledgeStore,
    Passport,
    RateBlock,
    Resume,
    Rule,
)
from trio_hub.errors import (
    AccessDeniedError,
    InboxFull,
    NetworkError,
    ProtocolError,
    RateLimited,
    StoreError,
)
from trio_hub.hub import Allow, Decision, Deny, RuleArbiter
from trio_hub.records import EV_CHANNEL_CLOSED, EV_TEXT

from .peer import Pair, Peer, open_house


@attrs.frozen
class Talk(Pair):
    async def rule(self, peer: Peer, rule: Rule) -> None:
        await self.house.hub.set_rule(peer.id, rule)


@asynccontextmanager
async def talking(**options: Any) -> AsyncIterator[Talk]:
    async with open_house(**options) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await bob.quiet()
        yield Talk(house, alice, bob, channel_id)


def access(**fields: Any) -> Rule:
    return Rule(access=AccessBlock(**fields))


def limits(**fields: Any) -> Rule:
    return Rule(limits=LimitsBlock(**fields))


def texts(log: Sequence[Envelope]) -> list[str]:
    return [it.text for it in log if it.event_type == EV_TEXT]


# Rules: sending


async def test_an_agent_sends_to_nobody_that_its_rule_does_not_name(any_house: Any) -> None:
    async with any_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await house.hub.set_rule(alice.id, access(outbound_to=("carol", "b?bby")))
        with pytest.raises(AccessDeniedError, match="'alice' does not let it send to 'bob'"):
            await alice.say(channel_id, "hi")
        await house.hub.set_rule(alice.id, access(outbound_to=("bo*",)))
        await alice.say(channel_id, "hello")
        assert texts(await house.hub.read_wal(channel_id)) == ["hello"]


async def test_a_rule_about_recipients_is_asked_of_those_in_the_audience_only() -> None:
    async with open_house() as house:
        alice, bob, carol = [await house.join(it) for it in ("alice", "bob", "carol")]
        channel_id = await alice.open("discussion", bob, carol)
        await house.hub.set_rule(alice.id, access(outbound_to=("bob",)))
        await alice.say(channel_id, "to bob", audience=[bob.id])
        with pytest.raises(AccessDeniedError, match="'carol'"):
            await alice.say(channel_id, "to both")


@pytest.mark.parametrize("deepest", [1, 5])
async def test_an_envelope_may_be_as_deep_as_the_rule_says_and_no_deeper(deepest: int) -> None:
    async with talking() as talk:
        await talk.rule(talk.alice, limits(delegation_depth=deepest))
        await talk.alice.say(talk.channel_id, "deep", depth=deepest)
        with pytest.raises(AccessDeniedError, match="delegation_depth"):
            await talk.alice.say(talk.channel_id, "deeper", depth=deepest + 1)
        # Who was asked so deep may answer, whatever its own rule says of asking.
        await talk.rule(talk.bob, limits(delegation_depth=0))
        question = await talk.bob.say(talk.channel_id, "well?", depth=deepest + 1)
        await talk.alice.say(talk.channel_id, "so", depth=deepest + 1, causation_id=question)
        await talk.rule(talk.alice, limits(delegation_depth=0))
        await talk.alice.say(talk.channel_id, "no limit", depth=deepest + 1)


async def test_whoever_sends_faster_than_its_rate_is_told_when_to_come_back(
    autojump_clock: MockClock,
) -> None:
    async with talking() as talk:
        await talk.rule(talk.alice, limits(rate=RateBlock(per_minute=60, burst=2)))
        for words in ("1", "2"):
            await talk.alice.say(talk.channel_id, words)
        request_id = talk.alice.ask_to_say(talk.channel_id, "3")
        with pytest.raises(RateLimited, match="60 a minute"):
            await talk.alice.answer(request_id)
        (refusal,) = [it for it in talk.alice.history if it.get("request_id") == request_id]
        wait = refusal["retry_after_seconds"]
        assert 0 < wait <= 1
        await trio.sleep(wait)
        await talk.alice.say(talk.channel_id, "3")
        assert texts(await talk.house.hub.read_wal(talk.channel_id)) == ["1", "2", "3"]


async def test_a_post_that_repeats_an_earlier_one_takes_no_token() -> None:
    async with talking() as talk:
        await talk.rule(talk.alice, limits(rate=RateBlock(per_minute=1, burst=1)))
        first = await talk.alice.say(talk.channel_id, "hi", idempotency_key="k")
        for _ in range(3):
            assert await talk.alice.say(talk.channel_id, "hi", idempotency_key="k") == first
        with pytest.raises(RateLimited):
            await talk.alice.say(talk.channel_id, "more")


async def test_the_answer_to_an_invite_is_let_through_whatever_the_rate() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        await house.hub.set_rule(bob.id, limits(rate=RateBlock(per_minute=1, burst=1)))
        for _ in range(3):
            await alice.open("conversation", bob)


def test_what_is_kept_of_names_that_are_gone_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_hub.hub.arbiter.DEPARTED_NAMES_MAX", 2)
    now = [0.0]
    arbiter = RuleArbiter(clock=lambda: now[0])
    rule = limits(rate=RateBlock(per_minute=1))

    def sends(name: str) -> bool:
        envelope = Envelope(channel_id="c", sender_id="a", event_type=EV_TEXT, event_data={})
        decision = arbiter.authorize_send(envelope, Passport(name=name), rule, [])
        return isinstance(decision, Allow)

    for name in ("a", "b", "c"):
        assert sends(name)
        arbiter.forget(name)
    # The oldest made room.
    assert [sends(name) for name in ("a", "b", "c")] == [True, False, False]
    now[0] = 61.0
    for name in ("a", "b", "c", "never there"):
        arbiter.forget(name)
    assert not arbiter._left
    assert not arbiter._buckets


async def test_rates_are_of_agents_not_of_the_hub() -> None:
    async with talking() as talk:
        for peer in (talk.alice, talk.bob):
            await talk.rule(peer, limits(rate=RateBlock(per_minute=1, burst=1)))
        await talk.alice.say(talk.channel_id, "a")
        await talk.bob.say(talk.channel_id, "b")


async def test_who_may_not_send_learns_nothing_of_the_inbox() -> None:
    async with talking() as talk:
        talk.bob.acks = False
        await talk.rule(talk.bob, limits(inbox=InboxBlock(max_pending=1)))
        await talk.alice.say(talk.channel_id, "1")
        with pytest.raises(InboxFull, match="1 unsettled"):
            await talk.alice.say(talk.channel_id, "2")
        await talk.rule(talk.alice, access(outbound_to=()))
        with pytest.raises(AccessDeniedError):
            await talk.alice.say(talk.channel_id, "2")


# Rules: opening


@pytest.mark.parametrize(
    ("creator", "invitee", "why"),
    [
        (access(outbound_to=("carol",)), Rule(), "outbound_to"),
        (Rule(), access(inbound_from=("carol", "ali")), "inbound_from"),
        (
            access(channel_types=ChannelTypeAccess(initiate=("disc*",))),
            Rule(),
            "channel_types.initiate",
        ),
        (
            Rule(),
            access(channel_types=ChannelTypeAccess(accept=("consulting",))),
            "channel_types.accept",
        ),
    ],
)
async def test_a_channel_that_a_rule_forbids_is_not_opened(
    creator: Rule, invitee: Rule, why: str
) -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        await house.hub.set_rule(alice.id, creator)
        await house.hub.set_rule(bob.id, invitee)
        with pytest.raises(AccessDeniedError, match=why):
            await alice.open("conversation", bob)
        assert house.hub.health().channels == 0
        await bob.quiet()
        assert not [it for it in bob.history if it["kind"] == "notify"]


async def test_an_agent_may_have_as_many_channels_as_its_rule_says_and_no_more() -> None:
    store = MemoryKnowledgeStore()
    rule = limits(max_concurrent_channels=2)
    async with store:
        async with open_house(store) as house:
            alice, bob = await house.join("alice"), await house.join("bob")
            await house.hub.set_rule(alice.id, rule)
            first = await alice.open("conversation", bob)
            await alice.open("conversation", bob)
            with pytest.raises(AccessDeniedError, match="has 2 open channels"):
                await alice.open("conversation", bob)
            # What others open does not count.
            await bob.open("conversation", alice)
            await alice.request("close_channel", channel_id=first)
            await alice.open("conversation", bob)
        async with open_house(store) as house:
            alice, bob = await house.back("alice"), await house.back("bob")
            with pytest.raises(AccessDeniedError, match="has 2 open channels"):
                await alice.open("conversation", bob)


async def test_a_channel_whose_opening_failed_does_not_count() -> None:
    from trio_hub.testing import FaultyStore

    store = FaultyStore(MemoryKnowledgeStore())
    async with open_house(store, ttl_sweep_interval=0.01) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        await house.hub.set_rule(alice.id, limits(max_concurrent_channels=1))
        store.fail("commit")
        with pytest.raises(StoreError):
            await alice.open("conversation", bob)
        with trio.fail_after(10):
            while house.hub.channels.in_doubt:
                await alice.quiet()
        await alice.open("conversation", bob)


# Rules: registering and changing


async def test_a_rule_whose_globs_would_cost_the_hub_too_much_is_refused() -> None:
    async with open_house() as house:
        peer = await house.peer()
        heavy = {"access": {"inbound_from": ["a?"] * 9, "outbound_to": ["a" * 129]}}
        with pytest.raises(ProtocolError, match=r"inbound_from.*outbound_to"):
            await peer.register("alice", rule=heavy)
        await peer.register("alice")
        with pytest.raises(ProtocolError, match="inbound_from"):
            await peer.request("set_rule", agent_id=peer.id, rule=heavy)
        assert house.hub.get_rule(peer.id) == Rule()


# Rules that change while a channel is open: handing over


async def test_a_sender_whom_a_changed_rule_no_longer_admits_is_not_heard_any_more() -> None:
    async with talking() as talk:
        await talk.alice.say(talk.channel_id, "before")
        await talk.bob.quiet()
        await talk.rule(talk.bob, access(inbound_from=("carol",)))
        await talk.alice.say(talk.channel_id, "meanwhile")
        await talk.bob.quiet()
        await talk.rule(talk.bob, Rule())
        await talk.alice.say(talk.channel_id, "after")
        await talk.bob.quiet()
        assert talk.bob.heard() == ["before", "after"]
        # What was passed over is settled, and stays so.
        again = await talk.house.back("bob")
        await again.quiet()
        assert again.heard() == []


async def test_what_waits_in_the_log_is_judged_by_the_rule_of_the_day_it_is_read_back() -> None:
    async with talking() as talk:
        bob_id = talk.bob.id
        talk.bob.cut()
        await talk.bob.gone()
        await talk.alice.say(talk.channel_id, "blocked when bob is back")
        await talk.house.hub.set_rule(bob_id, access(inbound_from=()))
        bob = await talk.house.back("bob")
        await bob.quiet()
        assert bob.heard() == []
        assert talk.house.hub._deliveries.owed(bob_id) == 0
        await talk.house.hub.set_rule(bob_id, Rule())
        await talk.alice.say(talk.channel_id, "now")
        await bob.hears("now")


async def test_what_is_not_handed_over_takes_no_room_after_a_restart_either() -> None:
    store = MemoryKnowledgeStore()
    async with store:
        async with talking(store=store) as talk:
            bob_id, channel_id = talk.bob.id, talk.channel_id
            talk.bob.cut()
            await talk.bob.gone()
            blocked = Rule(
                access=AccessBlock(inbound_from=()),
                limits=LimitsBlock(inbox=InboxBlock(max_pending=2)),
            )
            await talk.house.hub.set_rule(bob_id, blocked)
            for number in range(5):
                await talk.alice.say(channel_id, str(number))
        async with open_house(store) as house:
            alice = await house.back("alice")
            for number in range(5, 10):
                await alice.say(channel_id, str(number))
            bob = await house.back("bob")
            await bob.quiet()
            assert bob.heard() == []


async def test_what_the_hub_says_of_a_channel_is_heard_whatever_the_rule() -> None:
    async with talking() as talk:
        await talk.rule(talk.bob, access(inbound_from=()))
        await talk.alice.request("close_channel", channel_id=talk.channel_id)
        await talk.bob.hears(event_type=EV_CHANNEL_CLOSED)


async def test_one_that_does_not_admit_a_sender_changes_nothing_for_the_others() -> None:
    async with open_house() as house:
        alice, bob, carol = [await house.join(it) for it in ("alice", "bob", "carol")]
        channel_id = await alice.open("discussion", bob, carol)
        await house.hub.set_rule(bob.id, access(inbound_from=("carol",)))
        await alice.say(channel_id, "hi")
        await carol.hears("hi")
        await bob.quiet()
        assert bob.heard() == []


# Arbiters of one's own


class Moody(RuleArbiter):
    """Says what it was told to; otherwise what the rules say."""

    def __init__(self) -> None:
        super().__init__()
        self.says: dict[str, Any] = {}
        self.asked: list[str] = []

    def _say(self, what: str, otherwise: Any) -> Any:
        self.asked.append(what)
        mood = self.says.get(what, otherwise)
        if isinstance(mood, Exception):
            raise mood
        return mood() if callable(mood) else mood

    def authorize_send(self, *about: Any) -> Decision:
        return self._say("send", lambda: super(Moody, self).authorize_send(*about))

    def authorize_inbox(self, *about: Any) -> Decision:
        return self._say("inbox", lambda: super(Moody, self).authorize_inbox(*about))

    def authorize_dispatch(self, *about: Any) -> Decision:
        return self._say("dispatch", lambda: super(Moody, self).authorize_dispatch(*about))

    def authorize_channel_open(self, *about: Any) -> Decision:
        return self._say("open", lambda: super(Moody, self).authorize_channel_open(*about))

    def authorize_register(self, *about: Any) -> Decision:
        return self._say("register", lambda: super(Moody, self).authorize_register(*about))

    def resolve_unknown_audience(self, *about: Any) -> Sequence[str] | None:
        return self._say("audience", None)


ACTIONS = ("send", "inbox", "open", "register")


async def act(talk: Talk, what: str) -> None:
    """Do what is asked about."""
    match what:
        case "open":
            await talk.alice.open("conversation", talk.bob)
        case "register":
            await (await talk.house.peer()).register("carol")
        case _:
            await talk.alice.say(talk.channel_id, "hi")


@pytest.mark.parametrize("what", ACTIONS)
async def test_what_an_arbiter_denies_has_not_happened_and_the_error_is_the_one_it_names(
    what: str,
) -> None:
    arbiter = Moody()
    async with talking(arbiter=arbiter) as talk:
        before = talk.house.hub.health()
        arbiter.says[what] = Deny("not on my watch", RateLimited, 7.0)
        with pytest.raises(RateLimited, match="not on my watch"):
            await act(talk, what)
        after = talk.house.hub.health()
        assert (after.agents, after.channels) == (before.agents, before.channels)
        assert texts(await talk.house.hub.read_wal(talk.channel_id)) == []
        arbiter.says[what] = Allow()
        await act(talk, what)


async def nonsense() -> Decision:
    return Allow()


@pytest.mark.parametrize("what", ACTIONS)
@pytest.mark.parametrize(
    "mood", [ValueError("oh no, s3cret"), lambda: None, nonsense], ids=["raises", "None", "async"]
)
async def test_a_broken_arbiter_denies_and_is_logged_and_tells_nobody_why(
    what: str, mood: Any, caplog: pytest.LogCaptureFixture
) -> None:
    arbiter = Moody()
    async with talking(arbiter=arbiter) as talk:
        arbiter.says[what] = mood
        with (
            caplog.at_level(logging.ERROR),
            pytest.raises(AccessDeniedError, match="the hub's arbiter failed") as caught,
        ):
            await act(talk, what)
        assert "s3cret" not in caught.value.message
        assert [it.message for it in caplog.records if "the arbiter failed" in it.message]
        assert texts(await talk.house.hub.read_wal(talk.channel_id)) == []
        del arbiter.says[what]
        await act(talk, what)


async def test_an_error_of_ours_that_an_arbiter_raises_is_its_denial() -> None:
    arbiter = Moody()
    async with talking(arbiter=arbiter) as talk:
        arbiter.says["send"] = NetworkError("come back in June")
        with pytest.raises(NetworkError, match="come back in June"):
            await talk.alice.say(talk.channel_id, "hi")


@pytest.mark.parametrize("away", [False, True])
async def test_an_envelope_over_which_the_arbiter_broke_is_a_dead_letter_not_lost(
    away: bool,
) -> None:
    arbiter = Moody()
    async with talking(arbiter=arbiter) as talk:
        hub, bob, bob_id = talk.house.hub, talk.bob, talk.bob.id
        if away:
            bob.cut()
            await bob.gone()
        arbiter.says["dispatch"] = ValueError("oh no")
        envelope_id = await talk.alice.say(talk.channel_id, "hi")
        if away:
            bob = await talk.house.back("bob")
        await bob.quiet()
        assert bob.heard() == []
        del arbiter.says["dispatch"]
        letter = await hub.read_dead_letter(bob_id, envelope_id)
        assert letter.text == "hi"
        await hub.replay_dead_letter(bob_id, envelope_id)
        await bob.hears("hi")


async def test_an_arbiter_can_say_whom_to_address_instead_of_strangers() -> None:
    arbiter = Moody()
    async with talking(arbiter=arbiter) as talk:
        with pytest.raises(ProtocolError, match="elsewhere/carol take no part"):
            await talk.alice.say(talk.channel_id, "hi", audience=["elsewhere/carol"])
        arbiter.says["audience"] = [talk.bob.id]
        await talk.alice.say(talk.channel_id, "hi", audience=["elsewhere/carol"])
        heard = await talk.bob.hears("hi")
        assert heard["envelope"]["audience"] == [talk.bob.id]
        arbiter.says["audience"] = ["nobody-either"]
        with pytest.raises(ProtocolError, match="nobody-either take no part"):
            await talk.alice.say(talk.channel_id, "hi", audience=["elsewhere/carol"])
        arbiter.says["audience"] = ValueError("oh no")
        with pytest.raises(AccessDeniedError, match="arbiter failed"):
            await talk.alice.say(talk.channel_id, "hi", audience=["elsewhere/carol"])


async def test_passports_come_to_the_arbiter_without_claims() -> None:
    seen: list[Passport] = []

    class Curious(RuleArbiter):
        def authorize_register(self, passport: Passport, resume: Resume, rule: Rule) -> Decision:
            seen.append(passport)
            return super().authorize_register(passport, resume, rule)

    async with open_house(arbiter=Curious()) as house:
        peer = await house.peer()
        passport = {"name": "alice", "auth": {"scheme": "none", "claim": {"token": "s3cret"}}}
        await peer.request("register", passport=passport, resume={})
    assert [it.auth.claim for it in seen] == [{}]
