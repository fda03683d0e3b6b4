"""An Authorization header of the upgrade: a wrong one opens nothing, a right one is a claim."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from tests.hub.peer import connected
from trio_hub import (
    ApiKeyAuth,
    AuthBlock,
    AuthRegistry,
    FunctionAgent,
    Hub,
    HubClient,
    HubLimits,
    MemoryKnowledgeStore,
    NoAuth,
    Passport,
    WsLink,
    serve_ws,
)
from trio_hub.errors import AuthError, ConnectionLost
from trio_hub.links import TransportName

KEYS = {"alice": "s3cret", "bob": "t0ken"}
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


@asynccontextmanager
async def served(
    transport: TransportName, auth: AuthRegistry | None = None, **limits: Any
) -> AsyncIterator[tuple[Hub, str]]:
    auth = auth if auth is not None else AuthRegistry([ApiKeyAuth(KEYS)])
    async with (
        Hub.open(MemoryKnowledgeStore(), auth=auth, limits=HubLimits(**limits)) as hub,
        serve_ws(hub, "127.0.0.1", 0, transport=transport) as server,
    ):
        yield hub, server.url


async def answer_to(url: str, *headers: bytes) -> bytes:
    """Ask for an upgrade, and return the head of the answer, and its body where it is refused."""
    stream = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
    async with stream:
        await stream.send_all(UPGRADE + b"".join(b"%s\r\n" % it for it in headers) + b"\r\n")
        answer = b""
        with trio.fail_after(20):
            while b"\r\n\r\n" not in answer or not answer.startswith(b"HTTP/1.1 101"):
                data = await stream.receive_some()
                if not data:
                    break
                answer += data
        return answer


@pytest.mark.parametrize(
    "headers",
    [
        [b"Authorization: Bearer wrong"],
        [b"authorization: bearer"],
        [b"Authorization: Basic czNjcmV0"],
        [b"Authorization: s3cret"],
        [b"Authorization: Bearer \xff\xfe"],
        [b"Authorization: Bearer s3cret", b"Authorization: Bearer wrong"],
    ],
    ids=["wrong", "empty", "other scheme", "no scheme", "not ascii", "two"],
)
async def test_a_wrong_header_opens_no_websocket(
    transport: TransportName, headers: list[bytes]
) -> None:
    async with served(transport) as (hub, url):
        answer = await answer_to(url, *headers)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"www-authenticate: bearer" in answer.lower()
        assert b"was not accepted" in answer
        assert hub._reception.opened == 0
        (record,) = (await hub.audit.query(kind="auth_failed")).records
        assert record.details["scheme"] == "bearer"


@pytest.mark.parametrize("header", [b"Authorization: Bearer s3cret", b"X-Other: 1"])
async def test_a_right_header_and_none_at_all_open_one(
    transport: TransportName, header: bytes
) -> None:
    async with served(transport) as (_, url):
        assert (await answer_to(url, header)).startswith(b"HTTP/1.1 101 ")


async def test_a_hub_that_knows_of_no_tokens_does_not_look(transport: TransportName) -> None:
    async with served(transport, AuthRegistry([NoAuth()])) as (_, url):
        assert (await answer_to(url, b"Authorization: Bearer x")).startswith(b"HTTP/1.1 101 ")


async def test_a_hub_that_must_know_the_name_first_looks_with_the_hello(
    transport: TransportName,
) -> None:
    async def resolve(name: str) -> str | None:
        return KEYS.get(name)

    auth = AuthRegistry([ApiKeyAuth(resolver=resolve)])
    async with served(transport, auth) as (_, url):
        assert (await answer_to(url, b"Authorization: Bearer x")).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("failures", [1, 2])
async def test_whoever_tries_too_often_is_told_when_to_come_back(
    transport: TransportName, failures: int
) -> None:
    async with served(transport, failed_authentications_per_minute=2) as (_, url):
        for _ in range(failures):
            await answer_to(url, b"Authorization: Bearer wrong")
        answer = await answer_to(url, b"Authorization: Bearer wrong")
        if failures == 1:
            assert answer.startswith(b"HTTP/1.1 401 ")
        else:
            assert answer.startswith(b"HTTP/1.1 429 ")
            assert b"retry-after: " in answer.lower()


async def test_a_link_with_a_wrong_token_says_what_is_wrong(transport: TransportName) -> None:
    async with served(transport) as (_, url):
        with pytest.raises(AuthError, match=r"HTTP 401 .*was not accepted"):
            async with WsLink(url, token="wrong", transport=transport).connect():
                raise AssertionError("it was let in")


async def test_a_right_token_is_the_claim_of_who_shows_none(transport: TransportName) -> None:
    async with served(transport) as (hub, url):
        async with HubClient(WsLink(url, token="s3cret", transport=transport)) as client:
            block = AuthBlock(scheme="api_key")
            passport = Passport(name="alice", auth=block)
            alice = await client.register(FunctionAgent("alice", silence), passport)
            # It is hers, and nobody else's; bob may still show his own.
            with pytest.raises(AuthError):
                await client.register(
                    FunctionAgent("bob", silence), Passport(name="bob", auth=block)
                )
            own = AuthBlock(scheme="api_key", claim={"token": "t0ken"})
            await client.register(FunctionAgent("bob", silence), Passport(name="bob", auth=own))
        async with HubClient(WsLink(url, token="s3cret", transport=transport)) as client:
            back = await client.attach(FunctionAgent("alice", silence), "alice")
            assert back.agent_id == alice.agent_id
        assert hub.get_agent("alice").auth.claim == {}


async def test_the_connection_ends_with_the_token(transport: TransportName) -> None:
    keys = ApiKeyAuth(KEYS)
    async with (
        served(transport, AuthRegistry([keys])) as (_, url),
        connected(WsLink(url, token="s3cret", transport=transport)) as peer,
    ):
        passport = {"name": "alice", "auth": {"scheme": "api_key"}}
        await peer.request("register", passport=passport, resume={})
        keys.replace({"bob": "t0ken"})
        assert (await peer.gone()).endswith("the credential was revoked")
        with pytest.raises(ConnectionLost):
            await peer.request("list_channels")


async def silence(_turn: Any) -> None:
    return None


class Broken:
    """Fails by itself, quoting what it was asked about."""

    scheme = "broken"

    async def validate(self, passport: Passport, claim: Mapping[str, Any]) -> None:
        """Let everybody in."""

    async def knows(self, token: str) -> bool | None:
        raise RuntimeError(token)


async def test_a_check_that_fails_by_itself_lets_nobody_in(transport: TransportName) -> None:
    async with served(transport, AuthRegistry([Broken()])) as (_, url):
        answer = await answer_to(url, b"Authorization: Bearer s3cret")
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"s3cret" not in answer


@pytest.mark.parametrize("token", ["", "two words", "line\r\nX-Other: 1", "na\xefve"])
def test_what_cannot_stand_in_a_header_is_refused_where_it_is_written(token: str) -> None:
    with pytest.raises(ValueError, match="ASCII characters"):
        WsLink("ws://hub", token=token)


def test_a_token_and_a_header_of_that_name_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="give one"):
        WsLink("ws://hub", token="x", extra_headers=[("authorization", "Bearer y")])
    assert "s3cret" not in repr(WsLink("ws://hub", token="s3cret"))
