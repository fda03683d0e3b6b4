"""What operators set for a name is a ceiling, whatever whoever has the name sets for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_hub import (
    AccessBlock,
    AccessCeiling,
    ApiKeyAuth,
    AuditRecord,
    AuthBlock,
    AuthRegistry,
    ChannelTypeCeiling,
    DiskKnowledgeStore,
    EffectiveAccess,
    HubClient,
    InboxBlock,
    InboxCeiling,
    LimitsBlock,
    LimitsCeiling,
    LocalLink,
    MemoryKnowledgeStore,
    OperatorRule,
    Passport,
    RateBlock,
    Rule,
)
from trio_hub.client import ScriptedAgent
from trio_hub.errors import (
    AccessDeniedError,
    InboxFull,
    ProtocolError,
    RateLimited,
    StoreError,
)
from trio_hub.hub import HubLimits, paths
from trio_hub.protocol.discovery import PeerQuery
from trio_hub.protocol.operator_rules import SHUT
from trio_hub.testing import FaultyStore

from .peer import House, Peer, open_house


def limits(**fields: Any) -> OperatorRule:
    return OperatorRule(limits=LimitsCeiling(**fields))


def access(**fields: Any) -> OperatorRule:
    return OperatorRule(access=AccessCeiling(**fields))


async def audited(house: House) -> list[AuditRecord]:
    return list((await house.hub.audit.query(kind="operator_rule_changed")).records)


# Lists of names and types


async def test_both_lists_must_allow_whom_one_sends_to() -> None:
    async with open_house() as house:
        alice, bob, carol = [await house.join(it) for it in ("alice", "bob", "carol")]
        channel_id = await alice.open("discussion", bob, carol)
        await house.hub.set_rule(alice.id, Rule(access=AccessBlock(outbound_to=("b*", "c*"))))
        await house.hub.set_operator_rule("alice", access(outbound_to=("a*", "b*")))
        await alice.say(channel_id, "hi", audience=[bob.id])
        for audience in (None, [carol.id]):
            with pytest.raises(AccessDeniedError, match="'alice' send to 'carol'"):
                await alice.say(channel_id, "hi", audience=audience)
        await house.hub.set_rule(alice.id, Rule(access=AccessBlock(outbound_to=("c*",))))
        with pytest.raises(AccessDeniedError, match="does not let it send to 'bob'"):
            await alice.say(channel_id, "hi", audience=[bob.id])
        assert house.hub.get_effective_rule(alice.id).access == EffectiveAccess(
            outbound_to=(("c*",), ("a*", "b*"))
        )


async def test_what_an_operator_keeps_from_a_recipient_is_passed_over() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await house.hub.set_operator_rule("bob", access(inbound_from=("carol",)))
        await alice.say(channel_id, "unheard")
        await house.hub.set_operator_rule("bob", None)
        await alice.say(channel_id, "heard")
        await bob.hears("heard")
        assert "unheard" not in str(bob.history)


@pytest.mark.parametrize(
    ("name", "rule", "field"),
    [
        ("alice", access(outbound_to=("carol",)), "outbound_to"),
        ("bob", access(inbound_from=("carol",)), "inbound_from"),
        ("alice", access(channel_types=ChannelTypeCeiling(initiate=("cons*",))), "initiate"),
        ("bob", access(channel_types=ChannelTypeCeiling(accept=("cons*",))), "accept"),
    ],
)
async def test_no_channel_is_opened_against_an_operators_lists(
    name: str, rule: OperatorRule, field: str
) -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        await house.hub.set_operator_rule(name, rule)
        with pytest.raises(AccessDeniedError, match=field):
            await alice.open("conversation", bob)
        await house.hub.set_operator_rule(name, None)
        await alice.open("conversation", bob)


async def test_who_may_not_be_asked_is_no_peer() -> None:
    async with open_house() as house:
        alice, bob, carol = [await house.join(it) for it in ("alice", "bob", "carol")]

        async def peers_of(peer: Peer) -> set[str]:
            page = await house.hub.find_peers(peer.id, PeerQuery())
            return {it.name for it in page.peers}

        await house.hub.set_operator_rule("alice", access(outbound_to=("bob",)))
        assert (await peers_of(alice), await peers_of(bob)) == ({"bob"}, {"alice", "carol"})
        await house.hub.set_operator_rule("bob", access(inbound_from=("carol",)))
        assert (await peers_of(alice), await peers_of(carol)) == (set(), {"alice", "bob"})


# Limits


async def test_the_lesser_limit_is_in_force_and_an_agent_cannot_lift_it() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await house.hub.set_operator_rule("alice", limits(delegation_depth=2))
        await alice.request("set_rule", agent_id=alice.id, rule={"limits": {"delegation_depth": 0}})
        await alice.say(channel_id, "hi", depth=2)
        with pytest.raises(AccessDeniedError, match="delegation_depth"):
            await alice.say(channel_id, "hi", depth=3)
        # What it set is shown as it set it.
        own = await alice.request("get_rule", agent_id=alice.id)
        assert own["limits"]["delegation_depth"] == 0
        assert house.hub.get_rule(alice.id).limits.delegation_depth == 0
        assert house.hub.get_effective_rule(alice.id).limits.delegation_depth == 2
        await alice.request("set_rule", agent_id=alice.id, rule={"limits": {"delegation_depth": 1}})
        with pytest.raises(AccessDeniedError, match="delegation_depth"):
            await alice.say(channel_id, "hi", depth=2)


async def test_rates_are_held_to_the_lesser_one(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await house.hub.set_rule(
            alice.id, Rule(limits=LimitsBlock(rate=RateBlock(per_minute=600, burst=100)))
        )
        await house.hub.set_operator_rule("alice", limits(rate=RateBlock(per_minute=2)))
        for text in ("one", "two"):
            await alice.say(channel_id, text)
        with pytest.raises(RateLimited, match="2 a minute"):
            await alice.say(channel_id, "three")
        # Nor does it help to come anew.
        await alice.request("unregister", agent_id=alice.id)
        await alice.register("alice")
        channel_id = await alice.open("conversation", bob)
        with pytest.raises(RateLimited, match="2 a minute"):
            await alice.say(channel_id, "three")
        await trio.sleep(30)
        await alice.say(channel_id, "three")


async def test_inboxes_are_held_to_the_lesser_limit_whichever_was_set_last() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.peer(acks=False)
        await bob.register("bob")
        channel_id = await alice.open("conversation", bob)
        for _ in range(2):
            await house.hub.set_rule(
                bob.id, Rule(limits=LimitsBlock(inbox=InboxBlock(max_pending=50)))
            )
            mailbox = house.hub._deliveries.mailboxes[bob.id]
            await house.hub.set_operator_rule("bob", limits(inbox=InboxCeiling(max_pending=3)))
            assert (mailbox.limits.max_pending, mailbox.high_water) == (3, 2)
        await house.hub.set_rule(bob.id, Rule())
        assert (mailbox.limits.max_pending, mailbox.high_water) == (3, 2)
        while house.hub.owed_to(bob.id) < 3:
            await alice.say(channel_id, "one more")
        with pytest.raises(InboxFull):
            await alice.say(channel_id, "too many")
        await house.hub.set_operator_rule("bob", None)
        assert (mailbox.limits.max_pending, mailbox.high_water) == (1000, 800)
        await alice.say(channel_id, "there is room again")


async def test_channels_and_tasks_are_counted_against_the_lesser_limit() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        await house.hub.set_operator_rule(
            "alice", limits(max_concurrent_channels=1, max_concurrent_tasks=1)
        )
        await alice.open("conversation", bob)
        with pytest.raises(AccessDeniedError, match="max_concurrent_channels"):
            await alice.open("conversation", bob)
        task = {"owner_id": alice.id, "spec": {"title": "x"}, "state": "running"}
        await alice.request("observe_task", metadata={"task_id": "one", **task})
        with pytest.raises(AccessDeniedError, match="max_concurrent_tasks"):
            await alice.request("observe_task", metadata={"task_id": "two", **task})


@pytest.mark.parametrize("ttl", ["61m", 0, "2h"])
async def test_no_channel_lives_longer_than_an_operator_lets_it(ttl: str | int) -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        await house.hub.set_operator_rule("alice", limits(channel_ttl_max="1h"))

        async def opened(**more: Any) -> dict[str, Any]:
            opened: dict[str, Any] = await alice.request(
                "create_channel",
                creator_id=alice.id,
                manifest_type="conversation",
                participants=[bob.id],
                **more,
            )
            return opened

        with pytest.raises(AccessDeniedError, match="lives for 1h at most"):
            await opened(ttl=ttl)
        await opened(ttl="1h")
        # Where none is named, the agent's own default of two hours is cut short.
        metadata = house.hub.get_channel((await opened())["channel_id"])
        assert house.hub.get_effective_rule(alice.id).channel_ttl_max == "1h"
        assert house.hub.get_effective_rule(alice.id).limits.channel_ttl_default == "1h"
        assert metadata.expires_at is not None


# Over the wire


def keys() -> AuthRegistry:
    """Everybody has a key."""
    return AuthRegistry([ApiKeyAuth(keys={name: f"key of {name}" for name in ("ops", "alice")})])


def passport(name: str) -> Passport:
    auth = AuthBlock(scheme="api_key", claim={"token": f"key of {name}"})
    return Passport(name=name, auth=auth)


async def test_an_operator_sets_reads_lists_and_clears_and_the_agent_sees_what_holds() -> None:
    async with (
        open_house(auth=keys(), operators=["ops"]) as house,
        HubClient(LocalLink(house.hub)) as theirs,
        HubClient(LocalLink(house.hub)) as hers,
    ):
        await theirs.register(ScriptedAgent("ops", []), passport("ops"))
        ceiling = OperatorRule(
            access=AccessCeiling(outbound_to=("bob",)), limits=LimitsCeiling(channel_ttl_max="1h")
        )
        await theirs.set_operator_rule("alice", ceiling)
        alice = await hers.register(ScriptedAgent("alice", []), passport("alice"))
        assert await theirs.get_operator_rule("alice") == ceiling
        assert await theirs.get_operator_rule("bob") is None
        await theirs.set_operator_rule("bob", ceiling)
        page = await theirs.list_operator_rules(limit=1)
        assert (page.names, page.after) == (("alice",), "alice")
        assert (await theirs.list_operator_rules(after=page.after)).names == ("bob",)

        await hers.set_rule(alice.agent_id, Rule())
        assert await hers.get_rule(alice.agent_id) == Rule()
        in_force = await hers.get_effective_rule(alice.agent_id)
        assert in_force == await theirs.get_effective_rule(alice.agent_id)
        assert (in_force.access.outbound_to, in_force.channel_ttl_max) == ((("bob",),), "1h")
        for asking in (
            hers.set_operator_rule("alice", None),
            hers.get_operator_rule("alice"),
            hers.list_operator_rules(),
        ):
            with pytest.raises(AccessDeniedError, match="for operators"):
                await asking

        await theirs.set_operator_rule("alice", None)
        assert await theirs.get_operator_rule("alice") is None
        assert [it.by for it in await audited(house)] == ["ops"] * 3


async def test_an_operator_may_ask_whether_an_agent_can_send() -> None:
    async with open_house(operators=["ops"], allow_unauthenticated_operators=True) as house:
        alice, bob, ops = [await house.join(it) for it in ("alice", "bob", "ops")]
        channel_id = await alice.open("consulting", bob)

        async def can_send(asker: Peer, sender: Peer) -> object:
            return await asker.request("can_send", channel_id=channel_id, sender_id=sender.id)

        assert await can_send(ops, alice) is await house.hub.can_send(channel_id, alice.id) is True
        assert await can_send(ops, bob) is await house.hub.can_send(channel_id, bob.id) is False
        assert await can_send(ops, ops) is False
        with pytest.raises(AccessDeniedError):
            await can_send(bob, alice)
        page = await house.hub.audit.query(kind="operator_action")
        # Whether she can send herself, an operator asks as anybody does.
        assert [it.details["operation"] for it in page.records] == ["can_send", "can_send"]


# By name, and for good


async def test_registering_anew_under_the_same_name_lifts_nothing() -> None:
    async with open_house() as house:
        await house.hub.set_operator_rule("alice", limits(delegation_depth=1))
        alice, bob = await house.join("alice"), await house.join("bob")
        for _ in range(2):
            assert house.hub.get_effective_rule(alice.id).limits.delegation_depth == 1
            channel_id = await alice.open("conversation", bob)
            with pytest.raises(AccessDeniedError, match="delegation_depth"):
                await alice.say(channel_id, "hi", depth=2)
            await alice.request("unregister", agent_id=alice.id)
            await alice.register("alice")


async def test_rules_survive_a_restart_and_so_does_that_there_are_none_any_more(
    tmp_path: Path,
) -> None:
    ceiling = OperatorRule(
        access=AccessCeiling(outbound_to=("bob",)),
        limits=LimitsCeiling(inbox=InboxCeiling(max_pending=7), rate=RateBlock(per_minute=3)),
    )
    async with open_house(DiskKnowledgeStore(tmp_path / "data")) as house:
        alice = await house.join("alice")
        for name in ("alice", "later/../on", "gone"):
            await house.hub.set_operator_rule(name, ceiling)
        await house.hub.set_operator_rule("gone", None)
    async with open_house(DiskKnowledgeStore(tmp_path / "data")) as house:
        assert house.hub.list_operator_rules().names == ("alice", "later/../on")
        assert house.hub.get_operator_rule("alice") == ceiling
        assert house.hub.get_operator_rule("gone") is None
        effective = house.hub.get_effective_rule(alice.id)
        assert effective.limits.inbox.max_pending == 7
        assert house.hub._deliveries.mailboxes[alice.id].limits.max_pending == 7
        assert house.hub.health().problems == ()


async def test_a_rule_that_cannot_be_read_forbids_everything_until_it_is_set_again() -> None:
    store = MemoryKnowledgeStore()
    async with store:
        async with open_house(store) as house:
            await house.join("alice")
            await house.hub.set_operator_rule("alice", limits(delegation_depth=1))
        [path] = set(await store.read_under(paths.OPERATOR_RULES)) - {paths.OPERATOR_RULE_NAMES}
        for damage in (b'{"name": "alice", "rule": {"limits": {"delegation_depth": -1}}}', None):
            if damage is None:
                await store.delete(path)
            else:
                await store.write(path, damage)
            async with open_house(store) as house:
                assert house.hub.get_operator_rule("alice") == SHUT
                assert any("'alice' cannot be read" in it for it in house.hub.health().problems)
        async with open_house(store) as house:
            await house.hub.set_operator_rule("alice", None)
        async with open_house(store) as house:
            assert house.hub.get_operator_rule("alice") is None
            assert house.hub.health().problems == ()


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("wanted", [None, limits(delegation_depth=2)])
async def test_what_could_not_be_kept_is_not_in_force_and_spoils_no_later_change(
    wanted: OperatorRule | None, kept: bool
) -> None:
    before = limits(delegation_depth=1)
    inner = MemoryKnowledgeStore()
    async with inner:
        store = FaultyStore(inner)
        async with open_house(store) as house:
            await house.hub.set_operator_rule("alice", before)
            store.fail("commit", after=kept)
            with pytest.raises(StoreError):
                await house.hub.set_operator_rule("alice", wanted)
            assert house.hub.get_operator_rule("alice") == before
            # The next change, for another name, makes the disk say again what is in force.
            await house.hub.set_operator_rule("bob", wanted)
        async with open_house(inner) as house:
            assert house.hub.get_operator_rule("alice") == before
            assert house.hub.get_operator_rule("bob") == wanted
            assert house.hub.health().problems == ()


async def test_names_come_in_pages_and_have_an_end() -> None:
    async with open_house(limits=HubLimits(operator_rules_max=3, page_records_max=2)) as house:
        for name in ("c", "a", "b"):
            await house.hub.set_operator_rule(name, OperatorRule())
        first = house.hub.list_operator_rules(limit=50)
        assert (first.names, first.after) == (("a", "b"), "b")
        last = house.hub.list_operator_rules(after=first.after)
        assert (last.names, last.after) == (("c",), None)
        with pytest.raises(ProtocolError, match="operator_rules_max"):
            await house.hub.set_operator_rule("d", OperatorRule())
        await house.hub.set_operator_rule("c", limits(delegation_depth=1))
        await house.hub.set_operator_rule("c", None)
        await house.hub.set_operator_rule("d", OperatorRule())


@pytest.mark.parametrize("name", ["", "0" * 32, "x" * 1001])
async def test_a_rule_is_for_a_name(name: str) -> None:
    async with open_house() as house:
        with pytest.raises(ProtocolError, match="no name"):
            await house.hub.set_operator_rule(name, OperatorRule())


async def test_globs_that_cost_too_much_are_refused() -> None:
    async with open_house() as house:
        with pytest.raises(ProtocolError, match=r"access\.initiate: 1001 patterns"):
            await house.hub.set_operator_rule(
                "alice", access(channel_types=ChannelTypeCeiling(initiate=("x",) * 1001))
            )
        assert house.hub.get_operator_rule("alice") is None


async def test_the_audit_log_says_who_set_what_for_whom() -> None:
    async with open_house() as house:
        await house.hub.set_operator_rule("alice", limits(delegation_depth=1), by="ops")
        alice = await house.join("alice")
        both = OperatorRule(
            access=AccessCeiling(inbound_from=("bob",)),
            limits=LimitsCeiling(rate=RateBlock(per_minute=1)),
        )
        await house.hub.set_operator_rule("alice", both, by="ops")
        await house.hub.set_operator_rule("alice", None)
        assert [(it.agent_id, it.by, it.details) for it in await audited(house)] == [
            (
                None,
                "ops",
                {"name": "alice", "changed": ["limits.delegation_depth"], "cleared": False},
            ),
            (
                alice.id,
                "ops",
                {
                    "name": "alice",
                    "changed": ["access.inbound_from", "limits.rate", "limits.delegation_depth"],
                    "cleared": False,
                },
            ),
            (
                alice.id,
                "hub",
                {
                    "name": "alice",
                    "changed": ["access.inbound_from", "limits.rate"],
                    "cleared": True,
                },
            ),
        ]
