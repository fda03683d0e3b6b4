"""What a certificate says names an agent, exactly, or does not."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.certificates import Authority
from trio_hub.auth import ClientCertAuth, RevocationList
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


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def der_of(certificate: trustme.LeafCert) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())


def test_a_list_has_what_its_own_authority_took_back(authority: Authority) -> None:
    other = Authority()
    ours, theirs, kept = authority.issue(), other.issue(), authority.issue()
    both = RevocationList(b"# of two\n" + authority.revoke(ours) + b"\n" + other.revoke(theirs))
    assert len(both) == 2
    assert [both.has(der_of(it)) for it in (ours, theirs, kept)] == [True, True, False]
    # A number of ours in a list of theirs is that of another certificate.
    assert not RevocationList(other.revoke(ours)).has(der_of(ours))
    assert len(RevocationList(authority.revoke())) == 0


def test_a_single_list_may_be_in_der_form(authority: Authority) -> None:
    revoked = authority.issue()
    der = x509.load_pem_x509_crl(authority.revoke(revoked)).public_bytes(Encoding.DER)
    assert RevocationList(der).has(der_of(revoked))


@pytest.mark.parametrize("cut", ["empty", "no list", "half of one", "half of the second"])
def test_what_is_no_list_is_refused_as_a_whole(authority: Authority, cut: str) -> None:
    whole = authority.revoke(authority.issue())
    content = {
        "empty": b"",
        "no list": authority.ca.cert_pem.bytes(),
        "half of one": whole[:100],
        "half of the second": whole + whole[:100],
    }[cut]
    with pytest.raises(ValueError, match="no revocation list"):
        RevocationList(content)


def test_names_are_in_one_of_three_places() -> None:
    with pytest.raises(ValueError, match="cn, san-dns, san-uri"):
        ClientCertAuth(name_from="email")  # type: ignore[arg-type]
