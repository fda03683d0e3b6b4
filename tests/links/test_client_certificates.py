"""A TLS client certificate lets in whom it names, over either library, and nobody else."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
import trustme
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.certificates import Authority
from tests.hub.peer import Peer, connected
from trio_hub import (
    ApiKeyAuth,
    AuthBlock,
    AuthRegistry,
    ClientCertAuth,
    ClientState,
    FunctionAgent,
    Hub,
    HubClient,
    HubLimits,
    LocalLink,
    MemoryKnowledgeStore,
    Passport,
    Reconnect,
    RevocationList,
    WsLink,
    serve_ws,
)
from trio_hub.errors import AccessDeniedError, AuthError, ConnectionLost, RateLimited
from trio_hub.links import TransportName
from trio_hub.protocol.backoff import Backoff
from trio_hub.records import ConnectionFacts

ALICE = {"name": "alice", "auth": {"scheme": "client_cert"}}


class Clock:
    """Tells the time, and what the test adds to it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Door:
    """A hub that is served over TLS, and links to it."""

    def __init__(self, hub: Hub, url: str, transport: TransportName) -> None:
        self.hub = hub
        self._url = url
        self._transport = transport

    def link(self, context: ssl.SSLContext) -> WsLink:
        return WsLink(self._url, ssl_context=context, transport=self._transport)


@asynccontextmanager
async def served(
    transport: TransportName,
    authority: Authority,
    *adapters: Any,
    mode: ssl.VerifyMode = ssl.CERT_OPTIONAL,
    limits: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Door]:
    auth = AuthRegistry(adapters or [ClientCertAuth()])
    async with (
        Hub.open(
            MemoryKnowledgeStore(), auth=auth, limits=HubLimits(**(limits or {})), **options
        ) as hub,
        serve_ws(
            hub, "127.0.0.1", 0, ssl_context=authority.serving(mode), transport=transport
        ) as server,
    ):
        yield Door(hub, server.url, transport)


async def register(peer: Peer, name: str) -> str:
    passport = await peer.request("register", passport={**ALICE, "name": name}, resume={})
    agent_id: str = passport["agent_id"]
    return agent_id


async def refusal(peer: Peer, name: str = "alice") -> str:
    with pytest.raises(AuthError) as caught:
        await register(peer, name)
    return caught.value.message


async def silence(_turn: Any) -> None:
    return None


async def test_it_lets_in_whom_it_names(transport: TransportName, authority: Authority) -> None:
    async with served(transport, authority) as door:
        link = door.link(authority.named("alice"))
        async with HubClient(link) as client:
            passport = Passport(name="alice", auth=AuthBlock(scheme="client_cert"))
            alice = await client.register(FunctionAgent("alice", silence), passport)
        # Whoever comes back says nothing about it: the hub knows the scheme, TLS the rest.
        async with HubClient(link) as client:
            back = await client.attach(FunctionAgent("alice", silence), "alice")
            assert back.agent_id == alice.agent_id


async def test_it_lets_in_nobody_else(transport: TransportName, authority: Authority) -> None:
    async with served(transport, authority) as door:
        async with connected(door.link(authority.named("alice"))) as alice:
            await register(alice, "alice")
        async with connected(door.link(authority.named("bob"))) as bob:
            assert await refusal(bob) == "the client certificate does not name 'alice'"
            # Nor by a hello, and whether or not there is somebody of the name.
            for name in ("alice", "nobody"):
                bob.send("hello", name=name, auth_scheme="client_cert")
                told = await bob.expect("error")
                assert told["code"] == "auth_failed"
                assert told["message"] == f"the client certificate does not name {name!r}"
            await register(bob, "bob")
        records = (await door.hub.audit.query(kind="auth_failed")).records
        assert [it.details["name"] for it in records] == ["alice", "alice", "nobody"]
        assert {it.details["scheme"] for it in records} == {"client_cert"}


async def test_who_brings_none_may_come_by_another_scheme(
    transport: TransportName, authority: Authority
) -> None:
    keys = ApiKeyAuth({"bob": "t0ken"})
    async with (
        served(transport, authority, ClientCertAuth(), keys) as door,
        connected(door.link(authority.trusting())) as peer,
        connected(door.link(authority.named("bob"))) as other,
    ):
        assert "came without a client certificate" in await refusal(peer)
        key = {"scheme": "api_key", "claim": {"token": "t0ken"}}
        await peer.request("register", passport={"name": "bob", "auth": key}, resume={})
        # A name belongs to the scheme under which it was registered.
        other.send("hello", name="bob", auth_scheme="client_cert")
        assert "another auth scheme" in (await other.expect("error"))["message"]


async def test_where_each_must_bring_one_who_brings_none_is_hung_up_on(
    transport: TransportName, authority: Authority
) -> None:
    async with served(transport, authority, mode=ssl.CERT_REQUIRED) as door:
        with pytest.raises(ConnectionLost):
            async with door.link(authority.trusting()).connect():
                raise AssertionError("it was let in")
        async with connected(door.link(authority.named("alice"))) as alice:
            await register(alice, "alice")


@pytest.mark.parametrize("wrong", ["another authority", "expired", "for servers"])
async def test_one_that_is_not_good_opens_no_websocket(
    transport: TransportName, authority: Authority, wrong: str
) -> None:
    match wrong:
        case "another authority":
            certificate = Authority().issue(common_names=("alice",))
        case "expired":
            past = datetime(2001, 1, 1, tzinfo=UTC)
            certificate = authority.issue(common_names=("alice",), not_after=past)
        case _:
            usage = ExtendedKeyUsageOID.SERVER_AUTH
            certificate = authority.issue(common_names=("alice",), usage=usage)
    async with served(transport, authority) as door:
        with pytest.raises(ConnectionLost):
            async with door.link(authority.trusting(certificate)).connect():
                raise AssertionError("it was let in")
        assert door.hub._reception.opened == 0


@pytest.mark.parametrize("kind", ["san-dns", "san-uri"])
async def test_one_with_two_alternative_names_acts_for_two_agents(
    transport: TransportName, authority: Authority, kind: Any
) -> None:
    names = ("alice.agents.example", "bob.agents.example")
    make = x509.DNSName if kind == "san-dns" else x509.UniformResourceIdentifier
    prefix = "" if kind == "san-dns" else "spiffe://agents.example/"
    certificate = authority.issue(
        common_names=("carol",), alternatives=tuple(make(prefix + it) for it in names)
    )
    auth = ClientCertAuth(name_from=kind, prefix=prefix)
    async with (
        served(transport, authority, auth) as door,
        connected(door.link(authority.trusting(certificate))) as peer,
    ):
        for name in names:
            await register(peer, name)
        for other in ("carol", names[0].upper(), prefix + names[0][:-1]):
            assert "does not name" in await refusal(peer, other)


async def test_whoever_acts_by_it_is_parted_with_at_its_end(
    transport: TransportName, authority: Authority
) -> None:
    clock = Clock()
    soon = datetime.now(UTC) + timedelta(days=1)
    async with served(transport, authority, clock=clock, ttl_sweep_interval=0.01) as door:
        until_soon = door.link(authority.named("alice", not_after=soon))
        async with connected(until_soon) as alice, connected(until_soon) as again:
            await register(alice, "alice")
            clock.ahead = timedelta(days=1).total_seconds() + 1
            assert (await alice.gone()).endswith("the credential has expired")
            (told,) = [it for it in alice.history if it["kind"] == "error"]
            assert told["code"] == "auth_failed"
            # A connection that is still open lets nobody in by it either.
            again.send("hello", name="alice", auth_scheme="client_cert")
            await again.gone()
        # Those with a longer one stay, and come.
        async with connected(door.link(authority.named("alice"))) as alice:
            await alice.hello("alice", auth_scheme="client_cert")
        (record,) = (await door.hub.audit.query(kind="credential_expired")).records[:1]
        assert record.details["name"] == "alice"


async def test_a_client_comes_back_with_what_is_loaded_by_then(
    transport: TransportName, authority: Authority
) -> None:
    clock = Clock()
    soon = datetime.now(UTC) + timedelta(days=1)
    context = authority.named("alice", not_after=soon)
    back = Reconnect(backoff=Backoff(base=0.01, cap=0.01))
    async with (
        served(transport, authority, clock=clock, ttl_sweep_interval=0.01) as door,
        HubClient(door.link(context), reconnect=back) as client,
    ):
        passport = Passport(name="alice", auth=AuthBlock(scheme="client_cert"))
        alice = await client.register(FunctionAgent("alice", silence), passport)
        authority.issue(common_names=("alice",)).configure_cert(context)
        clock.ahead = timedelta(days=1).total_seconds() + 1
        with trio.fail_after(20):
            await client.wait_state(ClientState.RECONNECTING)
            await client.wait_state(ClientState.LIVE)
        await alice.set_skill("still me")
        assert len((await door.hub.audit.query(kind="credential_expired")).records) == 1


async def test_whoever_acts_by_one_that_is_revoked_is_parted_with(
    transport: TransportName, authority: Authority
) -> None:
    lost, kept = (authority.issue(common_names=(it,)) for it in ("alice", "bob"))
    auth = ClientCertAuth(revoked=RevocationList(authority.revoke()))
    async with (
        served(transport, authority, auth) as door,
        connected(door.link(authority.trusting(lost))) as alice,
        connected(door.link(authority.trusting(lost))) as again,
        connected(door.link(authority.trusting(kept))) as bob,
    ):
        await register(alice, "alice")
        await register(bob, "bob")
        assert auth.replace(RevocationList(authority.revoke(lost))) == 1
        assert (await alice.gone()).endswith("the credential was revoked")
        again.send("hello", name="alice", auth_scheme="client_cert")
        assert "'alice' was revoked" in (await again.expect("error"))["message"]
        # Another one of the same name is as good as any.
        async with connected(door.link(authority.named("alice"))) as alice:
            await alice.hello("alice", auth_scheme="client_cert")
        await bob.request("find_agent_id", name="bob")


@pytest.mark.parametrize("failures", [1, 2])
async def test_whoever_tries_too_often_has_to_wait(
    transport: TransportName, authority: Authority, failures: int
) -> None:
    limits = {"failed_authentications_per_minute": 2}
    async with (
        served(transport, authority, limits=limits) as door,
        connected(door.link(authority.named("bob"))) as bob,
    ):
        for _ in range(failures):
            await refusal(bob)
        with pytest.raises(AuthError if failures == 1 else RateLimited):
            await register(bob, "alice")
        await register(bob, "bob")


async def test_an_operator_is_one_whose_certificate_names_it(
    transport: TransportName, authority: Authority
) -> None:
    async with (
        served(transport, authority, operators=["ops"]) as door,
        connected(door.link(authority.named("ops"))) as ops,
        connected(door.link(authority.named("alice"))) as alice,
    ):
        await register(ops, "ops")
        await register(alice, "alice")
        assert (await ops.request("health"))["ok"] is True
        with pytest.raises(AccessDeniedError):
            await alice.request("health")
        assert "does not name" in await refusal(alice, "ops")


@pytest.mark.parametrize("link", ["local", "without tls", "not asked"])
async def test_where_there_can_be_none_the_refusal_says_so(authority: Authority, link: str) -> None:
    context = None if link == "without tls" else authority.serving(ssl.CERT_NONE)
    async with (
        Hub.open(MemoryKnowledgeStore(), auth=AuthRegistry([ClientCertAuth()])) as hub,
        serve_ws(hub, "127.0.0.1", 0, ssl_context=context) as server,
    ):
        bringing = None if context is None else authority.named("alice")
        over = LocalLink(hub) if link == "local" else WsLink(server.url, ssl_context=bringing)
        async with connected(over) as peer:
            assert "came without a client certificate" in await refusal(peer)
        # The program that runs the hub has none to show either.
        with pytest.raises(AuthError, match="has to come by a connection"):
            await hub.register(Passport(name="alice", auth=AuthBlock(scheme="client_cert")))


async def test_one_whose_names_are_no_text_is_as_good_as_none(
    transport: TransportName, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(trustme.KeyType.RSA)
    certificate = authority.issue(
        common_names=("alice",), alternatives=(x509.UniformResourceIdentifier("urn:x-bad"),)
    )
    broken = authority.sign_anew(certificate, b"urn:x-bad", b"urn:x-\xff\xfe\xfd")
    async with (
        served(transport, authority) as door,
        connected(door.link(authority.trusting(broken))) as peer,
    ):
        assert "came without a client certificate" in await refusal(peer)
    assert "client certificate cannot be read" in caplog.text


class Curious:
    """An adapter of somebody's own, which looks at the connection."""

    scheme = "curious"

    def __init__(self) -> None:
        self.seen: list[ConnectionFacts] = []

    async def validate(self, passport: Passport, claim: Mapping[str, Any]) -> None:
        raise AuthError("only over a connection")

    async def validate_over(
        self, facts: ConnectionFacts, passport: Passport, claim: Mapping[str, Any]
    ) -> None:
        self.seen.append(facts)


class Incurious:
    """One as they were written before there was anything to look at."""

    scheme = "incurious"

    async def validate(self, passport: Passport, claim: Mapping[str, Any]) -> None:
        """Let everybody in."""


async def test_an_adapter_sees_the_connection_where_it_wants_to(
    transport: TransportName, authority: Authority
) -> None:
    curious = Curious()
    certificate = authority.issue(common_names=("alice", "bob"))
    async with (
        served(transport, authority, curious, Incurious()) as door,
        connected(door.link(authority.trusting(certificate))) as peer,
    ):
        for name in ("curious", "incurious"):
            passport = {"name": name, "auth": {"scheme": name}}
            await peer.request("register", passport=passport, resume={})
        (facts,) = curious.seen
        assert facts.peer.startswith("127.0.0.1:")
        assert facts.bearer == ""
        seen = facts.certificate
        assert seen is not None
        assert seen.common_names == ("alice", "bob")
        assert seen.der == ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
        assert seen.expires_at == datetime(3000, 1, 1, tzinfo=UTC).timestamp()


async def test_one_that_tls_refuses_is_audited_and_counts_for_its_address(
    transport: TransportName, authority: Authority
) -> None:
    context = authority.trusting(Authority().issue(common_names=("alice",)))
    limits = {"failed_authentications_per_address_per_minute": 3}
    async with served(transport, authority, limits=limits) as door:
        for _ in range(5):
            with pytest.raises(ConnectionLost):
                async with door.link(context).connect() as endpoint:
                    # With TLS 1.3 the client's half is over before it hears of it.
                    await endpoint.receive()
        # No more than so many: a stranger must not fill the disk.
        while len(found := (await door.hub.audit.query(kind="auth_failed")).records) < 3:
            await trio.lowlevel.checkpoint()
        assert len(found) == 3
        assert {it.details["scheme"] for it in found} == {"client_cert"}
        assert {it.details["peer"].partition(":")[0] for it in found} == {"127.0.0.1"}
        async with connected(door.link(authority.named("alice"))) as peer:
            with pytest.raises(RateLimited):
                await register(peer, "alice")
