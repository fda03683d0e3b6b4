"""What a hub knows of a connection, whoever speaks over it: the facts a credential may rest on."""

from __future__ import annotations

import attrs

__all__ = ["ClientCertificate", "ConnectionFacts"]


@attrs.frozen(kw_only=True)
class ClientCertificate:
    """
    The certificate that a client proved itself with in the TLS handshake, checked by then.

    Attributes:
        common_names: The CN of its subject; a certificate should have one.
        dns_names: Its subject alternative names of the kind DNS, as they stand in it.
        uris: Those of the kind URI.
        expires_at: Its notAfter, in seconds since 1970.
        der: The whole of it.
    """

    common_names: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    expires_at: float
    der: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class ConnectionFacts:
    """
    A connection as its hub sees it.

    Attributes:
        peer: Who is at the other end: ``"127.0.0.1:50000"``, or ``"local"`` in one process.
        certificate: Of the client; None without TLS, and where it brought none.
        bearer: The token of the upgrade's ``Authorization`` header, where it was a good one.
    """

    peer: str
    certificate: ClientCertificate | None = None
    bearer: str = attrs.field(default="", repr=False)
