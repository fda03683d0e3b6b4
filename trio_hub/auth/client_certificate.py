"""
Client certificates: the handshake of TLS has proved who a client is, before it says a word.

OpenSSL has checked by then that an authority signed it; here only what it says is looked at. It
belongs to the connection: the claim says nothing, and a new one comes with a new connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

from ..errors import AuthError
from ..records import ClientCertificate, ConnectionFacts, Passport
from .credential import Credential
from .revocation_list import RevocationList

__all__ = ["CERTIFICATE_NAMES", "CertificateName", "ClientCertAuth"]

CertificateName = Literal["cn", "san-dns", "san-uri"]

#: Where in a certificate the names of agents may stand.
CERTIFICATE_NAMES: Final[Mapping[CertificateName, Callable[[ClientCertificate], Sequence[str]]]] = {
    "cn": lambda it: it.common_names,
    "san-dns": lambda it: it.dns_names,
    "san-uri": lambda it: it.uris,
}


class ClientCertAuth:
    """
    Accepts a connection whose TLS client certificate names the agent. Its claim is ``{}``.

    Serve the hub with an `ssl_context` that asks for certificates: `verify_mode` is
    ``CERT_OPTIONAL`` where agents may come by other schemes too, else ``CERT_REQUIRED``, and what
    is loaded to verify them is your own authority. Whoever it signs for can act as whom it names.

    Whoever acts by a certificate is parted with at its notAfter, and when `replace` has it among
    those that were revoked.

    Args:
        name_from: What must be the agent's name: the subject's common name (of which there must
            be one), or one of the alternative names that are DNS names or URIs. Those may be
            several, and then it speaks for as many agents. Compared as they stand: no case is
            folded, and no ``*`` stands for anything.
        prefix: With which the name in the certificate begins; the rest is the agent's.
        revoked: What the authorities have taken back; None is nothing.

    Raises:
        ValueError: `name_from` is none of these.
    """

    scheme = "client_cert"

    def __init__(
        self,
        *,
        name_from: CertificateName = "cn",
        prefix: str = "",
        revoked: RevocationList | None = None,
    ) -> None:
        if name_from not in CERTIFICATE_NAMES:
            raise ValueError(f"name_from={name_from!r}: it can be {', '.join(CERTIFICATE_NAMES)}")
        self._name_from = name_from
        self._names_of = CERTIFICATE_NAMES[name_from]
        self._prefix = prefix
        self._revoked = revoked
        # Where nobody acts by one, nothing else holds it.
        self._accepted: WeakKeyDictionary[Credential, ClientCertificate] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"<ClientCertAuth, names from {self._name_from}>"

    def replace(self, revoked: RevocationList) -> int:
        """
        Take these for revoked from now on, and no others. Returns how many they are.

        Who is connected by one of them is told, and parted with.
        """
        self._revoked = revoked
        for credential, certificate in list(self._accepted.items()):
            if revoked.has(certificate.der):
                credential.revoke()
        return len(revoked)

    async def validate(self, passport: Passport, claim: Mapping[str, Any]) -> None:
        """
        Refuse: without a connection there is no certificate.

        Raises:
            AuthError: Always.
        """
        raise AuthError(f"{passport.name!r} has to come by a connection with a client certificate")

    async def validate_over(
        self, facts: ConnectionFacts, passport: Passport, claim: Mapping[str, Any]
    ) -> Credential:
        """
        Look at the connection's certificate; see `ConnectionAdapter.validate_over`.

        Returns:
            It ends when the certificate does, or when `replace` has it.

        Raises:
            AuthError: The connection has none, or it names somebody else, or was revoked.
        """
        certificate = facts.certificate
        if certificate is None:
            raise AuthError(
                "this connection came without a client certificate: connect by wss://, with one "
                "that an authority of this hub's signed"
            )
        names = self._names_of(certificate)
        if self._name_from == "cn" and len(names) > 1:
            raise AuthError("the client certificate has several common names, so it names nobody")
        if self._prefix + passport.name not in names:
            raise AuthError(f"the client certificate does not name {passport.name!r}")
        if self._revoked is not None and self._revoked.has(certificate.der):
            raise AuthError(f"the client certificate for {passport.name!r} was revoked")
        credential = Credential(expires_at=certificate.expires_at)
        self._accepted[credential] = certificate
        return credential
