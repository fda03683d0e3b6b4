"""Proving who one is, before anything is bound."""

from __future__ import annotations

import pytest

from trio_hub import ApiKeyAuth, AuthRegistry
from trio_hub.errors import AccessDeniedError, AuthError

from .conftest import OpenHouse

GOOD = {"scheme": "api_key", "claim": {"token": "s3cret"}}
BAD = {"scheme": "api_key", "claim": {"token": "guess"}}


def _auth() -> AuthRegistry:
    return AuthRegistry([ApiKeyAuth(keys={"alice": "s3cret"})])


async def test_a_wrong_key_registers_nobody(hub_house: OpenHouse) -> None:
    async with hub_house(auth=_auth()) as house:
        peer = await house.peer()
        for passport in (
            {"name": "alice", "auth": BAD},
            {"name": "alice"},
            {"name": "bob", "auth": GOOD},
        ):
            with pytest.raises(AuthError):
                await peer.request("register", passport=passport, resume={})
        for name in ("alice", "bob"):
            assert await peer.request("find_agent_id", name=name) is None


async def test_a_wrong_key_takes_no_name_over(hub_house: OpenHouse) -> None:
    async with hub_house(auth=_auth()) as house:
        alice, thief = await house.peer(), await house.peer()
        passport = await alice.request(
            "register", passport={"name": "alice", "auth": GOOD}, resume={}
        )
        thief.send("hello", name="alice", auth_scheme="api_key", auth_claim=BAD["claim"])
        assert (await thief.expect("error"))["code"] == "auth_failed"
        with pytest.raises(AccessDeniedError):
            await thief.request("set_skill", agent_id=passport["agent_id"], skill_md="mine")
        await alice.request("set_skill", agent_id=passport["agent_id"], skill_md="mine")
        assert "s3cret" not in str([*alice.history, *thief.history])
