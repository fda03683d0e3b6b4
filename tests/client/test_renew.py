"""A client whose credential is about to end, has ended, or was refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_hub import (
    ApiKeyAuth,
    AuthBlock,
    AuthRegistry,
    FunctionAgent,
    Hub,
    HubClient,
    LocalLink,
    MemoryKnowledgeStore,
    Passport,
)
from trio_hub.auth import make_key
from trio_hub.client import AgentClient
from trio_hub.errors import AuthError, NotFoundError
from trio_hub.wire.frames import Dialect


def key(token: str) -> AuthBlock:
    return AuthBlock(scheme="api_key", claim={"token": token})


@asynccontextmanager
async def connected(
    dialect: Dialect = Dialect.BATCHED,
) -> AsyncIterator[tuple[ApiKeyAuth, HubClient, AgentClient, AgentClient]]:
    """A client with alice and bob on one connection."""
    keys = ApiKeyAuth({"alice": "old", "bob": "b"})
    async with (
        Hub.open(MemoryKnowledgeStore(), auth=AuthRegistry([keys])) as hub,
        HubClient(LocalLink(hub, dialect=dialect)) as client,
    ):
        alice = await client.register(
            FunctionAgent("alice", echo), Passport(name="alice", auth=key("old"))
        )
        bob = await client.register(FunctionAgent("bob", echo), Passport(name="bob", auth=key("b")))
        yield keys, client, alice, bob


async def echo(turn: Any) -> str:
    return "heard"


async def consult(asking: AgentClient) -> str:
    other = "bob" if asking.passport.name == "alice" else "alice"
    channel = await asking.open(type="consulting", target=other)
    await channel.send("hello?")
    reply = await asking.wait_for_channel_event(
        channel_id=channel.channel_id,
        predicate=lambda it: it.sender_id != asking.agent_id and "text" in it.event_data,
    )
    text: str = reply.event_data["text"]
    return text


@pytest.mark.parametrize("dialect", list(Dialect))
async def test_one_that_is_renewed_in_time_notices_nothing_of_the_end(
    dialect: Dialect, autojump_clock: MockClock
) -> None:
    async with connected(dialect) as (keys, client, alice, bob):
        connection = alice.identity.connection
        token, second = make_key("alice", 0.0)
        keys.replace({"alice": "old", "bob": "b"}, [second])
        await alice.renew(key(token))
        keys.replace({"bob": "b"}, [second])
        assert await consult(bob) == "heard"
        assert await consult(alice) == "heard"
        assert alice.identity.connection is connection
        await client.find_agent_id("bob")


async def test_one_that_is_refused_keeps_what_it_had(autojump_clock: MockClock) -> None:
    async with connected() as (_, _client, alice, bob):
        with pytest.raises(AuthError):
            await alice.renew(key("wrong"))
        assert alice.identity.auth == key("old")
        assert await consult(bob) == "heard"


async def test_one_that_is_revoked_is_detached_and_its_neighbour_stays(
    autojump_clock: MockClock,
) -> None:
    async with connected() as (keys, _, alice, bob):
        connection = bob.identity.connection
        keys.replace({"bob": "b"})
        with pytest.raises(AuthError):
            await alice.wait_for_channel_event(channel_id="c", predicate=lambda _: True)
        with pytest.raises(AuthError):
            await alice.renew(key("new"))
        assert bob.identity.connection is connection
        assert await bob.hub_client.find_agent_id("alice") == alice.agent_id


async def test_all_that_are_revoked_are_detached(autojump_clock: MockClock) -> None:
    async with connected() as (keys, _, alice, bob):
        keys.replace({"carol": "c"})
        for agent in (alice, bob):
            with trio.fail_after(60), pytest.raises(AuthError):
                await agent.wait_for_channel_event(channel_id="c", predicate=lambda _: True)


async def test_only_who_is_attached_here_can_be_renewed(autojump_clock: MockClock) -> None:
    async with connected() as (_, client, _alice, _bob):
        with pytest.raises(NotFoundError, match="not attached here"):
            await client.renew("nobody", key("x"))
