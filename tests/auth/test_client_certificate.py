"""What a certificate says names an agent, exactly, or does not."""

from __future__ import annotations

from typing import Any

import pytest

from trio_hub.auth import ClientCertAuth
from trio_hub.errors import AuthError
from trio_hub.records import ClientCertificate, ConnectionFacts, Passport

ALL = ClientCertificate(
    common_names=("alice",),
    dns_names=("bob", "*.example"),
    uris=("spiffe://x/carol",),
    expires_at=5.0,
    der=b"",
)


async def names(auth: ClientCertAuth, name: str, certificate: ClientCertificate = ALL) -> bool:
    facts = ConnectionFacts(peer="local", certificate=certificate)
    try:
        credential = await auth.validate_over(facts, Passport(name=name), {})
    except AuthError:
        return False
    assert credential.expires_at == 5.0
    return True


@pytest.mark.parametrize(
    ("options", "accepted"),
    [
        ({}, {"alice"}),
        ({"name_from": "cn", "prefix": "al"}, {"ice"}),
        ({"name_from": "san-dns"}, {"bob", "*.example"}),
        ({"name_from": "san-uri"}, {"spiffe://x/carol"}),
        ({"name_from": "san-uri", "prefix": "spiffe://x/"}, {"carol"}),
    ],
)
async def test_the_name_is_where_it_was_said_to_be(
    options: dict[str, Any], accepted: set[str]
) -> None:
    auth = ClientCertAuth(**options)
    asked = {"alice", "Alice", "ice", "bob", "any.example", "*.example", "carol"}
    asked |= {"spiffe://x/carol", "x/carol", "spiffe://x/"}
    assert {it for it in asked if await names(auth, it)} == accepted


@pytest.mark.parametrize("common_names", [(), ("alice", "bob"), ("alice", "alice")])
async def test_a_subject_without_one_common_name_names_nobody(
    common_names: tuple[str, ...],
) -> None:
    certificate = ClientCertificate(common_names=common_names, expires_at=5.0, der=b"")
    assert not await names(ClientCertAuth(), "alice", certificate)
    assert not await names(ClientCertAuth(), "bob", certificate)


def test_names_are_in_one_of_three_places() -> None:
    with pytest.raises(ValueError, match="cn, san-dns, san-uri"):
        ClientCertAuth(name_from="email")  # type: ignore[arg-type]
