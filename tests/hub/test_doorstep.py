"""Before one has said who one is, on a hub that wants to know."""

from __future__ import annotations

from typing import Any

import pytest

from trio_hub import (
    ApiKeyAuth,
    AuthBlock,
    AuthRegistry,
    FunctionAgent,
    HubClient,
    HubLimits,
    NoAuth,
    Passport,
    Turn,
)
from trio_hub.errors import AccessDeniedError, AuthError, NotFoundError

from .peer import House, Peer, open_house

KEYS = {"alice": "a", "bob": "b", "carol": "c"}


def guarded(**limits: int) -> dict[str, Any]:
    return {"auth": AuthRegistry([ApiKeyAuth(keys=KEYS)]), "limits": HubLimits(**limits)}


def passport(name: str) -> Passport:
    return Passport(name=name, auth=AuthBlock(scheme="api_key", claim={"token": KEYS[name]}))


async def knows_alice_and_bob(house: House) -> tuple[str, str]:
    alice = await house.hub.register(passport("alice"))
    bob = await house.hub.register(passport("bob"))
    assert alice.agent_id is not None
    assert bob.agent_id is not None
    return alice.agent_id, bob.agent_id


async def as_ag2_attaches(peer: Peer, name: str) -> str:
    """Ask what AG2 1.2 asks, in its order, before it says hello."""
    agent_id = await peer.request("find_agent_id", name=name)
    assert (await peer.request("get_agent", name_or_id=agent_id))["name"] == name
    assert await peer.request("get_resume", agent_id=agent_id)
    assert await peer.request("get_rule", agent_id=agent_id)
    peer.send("hello", name=name, auth_scheme="api_key", auth_claim={"token": KEYS[name]})
    await peer.expect("welcome")
    return str(agent_id)


async def test_what_a_client_asks_before_its_hello_is_answered(any_house: Any) -> None:
    async with any_house(**guarded()) as house:
        alice_id, bob_id = await knows_alice_and_bob(house)
        peer = await house.peer()
        assert await as_ag2_attaches(peer, "alice") == alice_id
        # Now it is somebody, and may look around.
        assert await peer.request("names_for", agent_ids=[bob_id]) == {bob_id: "bob"}
        assert len(await peer.request("list_agents")) == 2
        # A second identity over the same connection.
        assert await as_ag2_attaches(peer, "bob") == bob_id


async def test_what_belongs_to_others_is_not_shown_to_one_who_named_somebody_else() -> None:
    async with open_house(**guarded()) as house:
        alice_id, bob_id = await knows_alice_and_bob(house)
        peer = await house.peer()
        for op, field in (
            ("get_agent", "name_or_id"),
            ("get_resume", "agent_id"),
            ("get_rule", "agent_id"),
        ):
            for agent_id in (alice_id, bob_id, "f" * 32, ""):
                if op == "get_agent" and not agent_id:
                    continue  # No name, and nobody has it.
                with pytest.raises(AccessDeniedError):
                    await peer.request(op, **{field: agent_id})
        assert await peer.request("find_agent_id", name="alice") == alice_id
        with pytest.raises(AccessDeniedError):
            await peer.request("get_resume", agent_id=bob_id)
        with pytest.raises(AccessDeniedError):
            await peer.request("get_skill", agent_id=alice_id)
        with pytest.raises(AccessDeniedError):
            await peer.request("names_for", agent_ids=[alice_id])
        # An id is no name, whoever has it.
        for agent_id in (alice_id, bob_id, "f" * 32):
            with pytest.raises(AccessDeniedError):
                await peer.request("find_agent_id", name=agent_id)


@pytest.mark.parametrize("known", [True, False])
async def test_only_so_many_names_can_be_tried_over_one_connection(known: bool) -> None:
    async with open_house(**guarded(names_before_authentication_max=2)) as house:
        alice_id, bob_id = await knows_alice_and_bob(house)
        peer = await house.peer()
        assert await peer.request("find_agent_id", name="alice") == alice_id
        # By name is as good as by id, and counts.
        assert (await peer.request("get_agent", name_or_id="bob"))["agent_id"] == bob_id
        # The same ones again cost nothing.
        assert await peer.request("find_agent_id", name="alice") == alice_id
        for op, field in (("find_agent_id", "name"), ("get_agent", "name_or_id")):
            with pytest.raises(AccessDeniedError, match="say hello or register first"):
                await peer.request(op, **{field: "carol" if known else "nobody"})


async def test_a_name_of_any_length_that_costs_memory_is_not_remembered() -> None:
    async with open_house(**guarded()) as house:
        peer = await house.peer()
        assert await peer.request("find_agent_id", name="x" * 1000) is None
        with pytest.raises(AccessDeniedError):
            await peer.request("find_agent_id", name="x" * 1001)


async def test_a_wrong_key_opens_nothing() -> None:
    async with open_house(**guarded()) as house:
        await knows_alice_and_bob(house)
        peer = await house.peer()
        peer.send("hello", name="alice", auth_scheme="api_key", auth_claim={"token": "wrong"})
        assert (await peer.expect("error"))["code"] == "auth_failed"
        with pytest.raises(AccessDeniedError):
            await peer.request("list_agents")
        with pytest.raises(AuthError):
            await peer.request("register", passport={"name": "carol"}, resume={})
        with pytest.raises(AccessDeniedError):
            await peer.request("list_agents")


async def test_who_has_let_go_of_its_last_name_is_a_stranger_again() -> None:
    async with open_house(**guarded()) as house:
        alice_id, _ = await knows_alice_and_bob(house)
        peer = await house.peer()
        await as_ag2_attaches(peer, "alice")
        await peer.request("unregister", agent_id=alice_id)
        with pytest.raises(AccessDeniedError):
            await peer.request("list_agents")


async def test_a_hub_that_takes_anybody_shows_everybody_around() -> None:
    auth = AuthRegistry([ApiKeyAuth(keys=KEYS), NoAuth()])
    async with open_house(auth=auth) as house:
        await knows_alice_and_bob(house)
        peer = await house.peer()
        assert len(await peer.request("list_agents")) == 2
        with pytest.raises(NotFoundError):
            await peer.request("get_agent", name_or_id="f" * 32)


async def test_our_client_registers_and_comes_back(any_house: Any) -> None:
    async def silence(_turn: Turn) -> None:
        return None

    async with any_house(**guarded()) as house:
        for _ in range(2):
            async with HubClient(house.link) as client:
                alice = await client.attach(
                    FunctionAgent("alice", silence), "alice", passport=passport("alice")
                )
                assert [it.name for it in await client.list_agents()] == ["alice"]
                assert alice.name == "alice"
