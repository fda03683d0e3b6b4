"""Operators: proven by their credential, and by nothing else."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from trio_hub import ApiKeyAuth, AuthRegistry, DeliveryPolicy, Hub, MemoryKnowledgeStore, NoAuth
from trio_hub.errors import AccessDeniedError, AuthError, NotFoundError

from .peer import House, Peer, open_house

KEY = "s3cr3t-of-ops"


def keyed(key: str = KEY) -> dict[str, Any]:
    return {"auth_scheme": "api_key", "auth_claim": {"token": key}}


def both() -> AuthRegistry:
    """Keys for those who have one, and anybody else may be anybody else."""
    return AuthRegistry([ApiKeyAuth(keys={"ops": KEY, "eve": "hers"}), NoAuth()])


async def ops_joins(house: House) -> Peer:
    peer = await house.peer()
    passport = await peer.request(
        "register",
        passport={"name": "ops", "auth": {"scheme": "api_key", "claim": {"token": KEY}}},
        resume={},
    )
    peer.ids["ops"] = passport["agent_id"]
    return peer


async def test_who_proves_to_be_an_operator_may_and_comes_back_as_one(any_house: Any) -> None:
    async with any_house(auth=both(), operators=["ops"]) as house:
        ops = await ops_joins(house)
        assert (await ops.request("health"))["ok"] is True
        back = await house.peer()
        await back.hello("ops", **keyed())
        assert (await back.request("list_dead_letters")) == {"letters": [], "after": None}
        # Taken over: the old connection acts for it no more.
        with pytest.raises(AccessDeniedError):
            await ops.request("health")


async def test_nobody_takes_the_name_of_an_operator_without_its_credential() -> None:
    async with open_house(auth=both(), operators=["ops"]) as house:
        eve = await house.peer()
        for auth in (
            {},
            {"scheme": "none"},
            {"scheme": "api_key", "claim": {"token": "hers"}},
            {"scheme": "api_key"},
        ):
            with pytest.raises(AuthError):
                await eve.request("register", passport={"name": "ops", "auth": auth}, resume={})
        await ops_joins(house)
        eve.send("hello", name="ops", auth_scheme="none")
        assert (await eve.expect("error"))["code"] == "auth_failed"
        with pytest.raises(AccessDeniedError, match="operators"):
            await eve.request("health")


async def test_a_name_that_was_registered_without_a_credential_is_not_honoured(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryKnowledgeStore()
    async with store:
        async with open_house(store) as house:
            await house.join("ops")
        async with open_house(store, auth=both(), operators=["ops"]) as house:
            ops = await house.back("ops")
            with pytest.raises(AccessDeniedError):
                await ops.request("health")
            assert "not honoured" in caplog.text
        async with open_house(
            store, auth=both(), operators=["ops"], allow_unauthenticated_operators=True
        ) as house:
            assert await (await house.back("ops")).request("health")


async def test_a_hub_that_authenticates_nobody_has_operators_only_if_one_insists() -> None:
    store = MemoryKnowledgeStore()
    with pytest.raises(ValueError, match="allow_unauthenticated_operators"):
        async with Hub.open(store, operators=["ops"]):
            raise AssertionError
    with pytest.raises(TypeError, match="sequence"):
        async with Hub.open(store, operators="ops"):
            raise AssertionError
    async with open_house(operators=["ops"], allow_unauthenticated_operators=True) as house:
        assert await (await house.join("ops")).request("health")


async def test_what_an_operator_does_leaves_a_trace_without_any_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="trio_hub")
    async with open_house(
        auth=both(), operators=["ops"], delivery=DeliveryPolicy(max_attempts=1)
    ) as house:
        ops = await ops_joins(house)
        alice, bob = await house.join("alice"), await house.join("bob", acks=False)
        channel_id = await alice.open("conversation", bob)
        envelope_id = await alice.say(channel_id, "confidential")
        bob.nack(await bob.hears("confidential"))
        await bob.quiet()
        letter = {"agent_id": bob.id, "envelope_id": envelope_id}
        envelope = await ops.request("read_dead_letter", **letter)
        assert envelope["event_data"] == {"text": "confidential"}
        caplog.clear()
        # One's own letters are nobody's business.
        await bob.request("read_dead_letter", **letter)
        assert "operator acts" not in caplog.text
        await ops.request("replay_dead_letter", **letter)
        assert "operator acts" in caplog.text
        assert envelope_id in caplog.text
        assert "confidential" not in caplog.text


async def test_an_operator_has_the_hub_drain_and_hears_that_it_does() -> None:
    store = MemoryKnowledgeStore()
    async with store:
        async with open_house(store, auth=both(), operators=["ops"]) as house:
            ops, alice = await ops_joins(house), await house.join("alice")
            with pytest.raises(AccessDeniedError):
                await alice.request("drain")
            assert not house.hub.health().closing
            assert await ops.request("drain") is None
            await house.hub.wait_draining()
            assert (await ops.expect("error"))["code"] == "hub_closing"
            assert (await alice.expect("error"))["code"] == "hub_closing"
            assert house.hub.health().closing
        async with open_house(store, auth=both(), operators=["ops"]) as house:
            page = await house.hub.audit.query(kind="operator_action")
            assert [(it.by, it.details) for it in page.records] == [("ops", {"operation": "drain"})]


async def test_an_operator_reads_any_channel_and_the_audit_log_has_it() -> None:
    async with open_house(auth=both(), operators=["ops"]) as house:
        ops = await ops_joins(house)
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        private = await alice.say(channel_id, "to bob", audience=[bob.id])
        await bob.hears("to bob")
        log = await ops.request("read_wal", channel_id=channel_id)
        assert log[-1]["envelope_id"] == private
        tail = await ops.request("read_tail", channel_id=channel_id, limit=1)
        assert [it["envelope_id"] for it in tail["envelopes"]] == [private]
        await bob.request("read_wal", channel_id=channel_id)
        audited = (await house.hub.audit.query(kind="operator_action")).records
        assert [(it.by, it.channel_id, it.details["operation"]) for it in audited] == [
            ("ops", channel_id, "read_wal"),
            ("ops", channel_id, "read_tail"),
        ]
        # It reads; it does not take part.
        with pytest.raises(AccessDeniedError):
            await ops.request("close_channel", channel_id=channel_id)


async def test_an_operator_that_takes_part_reads_as_a_member_does() -> None:
    async with open_house(auth=both(), operators=["ops"]) as house:
        ops = await ops_joins(house)
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("discussion", bob, ops)
        private = await alice.say(channel_id, "to bob", audience=[bob.id])
        await bob.hears("to bob")
        log = await ops.request("read_wal", channel_id=channel_id)
        assert private not in [it["envelope_id"] for it in log]


async def test_over_the_wire_letters_come_in_pages_and_are_settled(any_house: Any) -> None:
    async with any_house(
        operators=["ops"],
        allow_unauthenticated_operators=True,
        delivery=DeliveryPolicy(max_attempts=1),
    ) as house:
        ops = await house.join("ops")
        alice, bob = await house.join("alice"), await house.join("bob", acks=False)
        channel_id = await alice.open("conversation", bob)
        ids = []
        for word in "abc":
            ids.append(await alice.say(channel_id, word))
            bob.nack(await bob.hears(word), f"no {word}")
            await bob.quiet()
        seen, after = [], None
        while True:
            page = await ops.request("list_dead_letters", limit=2, after=after)
            seen += page["letters"]
            after = page["after"]
            if after is None:
                break
        assert [it["envelope_id"] for it in seen] == ids
        assert [it["reason"] for it in seen] == ["no a", "no b", "no c"]
        a, b, _c = [{"agent_id": bob.id, "envelope_id": it} for it in ids]
        assert (await ops.request("replay_dead_letter", **a))["replaying"] is True
        bob.ack(await bob.hears("a"))
        await bob.request("discard_dead_letter", **b)
        await bob.quiet()
        left = await bob.request("list_dead_letters", agent_id=bob.id)
        assert [it["envelope_id"] for it in left["letters"]] == ids[2:]
        for op in ("read_dead_letter", "replay_dead_letter", "discard_dead_letter"):
            with pytest.raises(NotFoundError):
                await ops.request(op, **a)
        # A stranger cannot tell one letter from none.
        with pytest.raises(AccessDeniedError) as there:
            await alice.request("read_dead_letter", agent_id=bob.id, envelope_id=ids[2])
        with pytest.raises(AccessDeniedError) as gone:
            await alice.request("read_dead_letter", agent_id=bob.id, envelope_id=ids[0])
        assert there.value.message == gone.value.message
        with pytest.raises(AccessDeniedError, match="name an agent"):
            await bob.request("list_dead_letters")
