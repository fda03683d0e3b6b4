"""
Revocation lists: which certificates their authorities have taken back, before their end.

A list is a file that somebody gives to the hub, and is believed as it stands, as an issuer's keys
are: no network is asked, its signature is not looked at, nor until when it means to be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

__all__ = ["RevocationList"]

_PEM_HEAD: Final = b"-----BEGIN X509 CRL-----"


class RevocationList:
    """
    What one or several lists (X.509 CRLs) say, in PEM form one behind the other, or one in DER.

    Needs `cryptography`: ``pip install 'trio_hub[crl]'``.

    Args:
        content: Of the file.

    Raises:
        ImportError: `cryptography` is not installed.
        ValueError: There is no list in it, or one that cannot be read.
    """

    def __init__(self, content: bytes) -> None:
        try:
            from cryptography import x509  # noqa: PLC0415,RUF100 - an optional extra
        except ImportError as error:
            raise ImportError(
                "revocation lists need `cryptography`: pip install 'trio_hub[crl]'"
            ) from error
        self._read_certificate = x509.load_der_x509_certificate
        # The number of a certificate says something only beside the name of who signed it.
        self._revoked: set[tuple[bytes, int]] = set()
        for one in _read(x509, content):
            issuer = one.issuer.public_bytes()
            self._revoked.update((issuer, it.serial_number) for it in one)

    def __len__(self) -> int:
        return len(self._revoked)

    def has(self, der: bytes) -> bool:
        """Whether a certificate has been taken back."""
        certificate = self._read_certificate(der)
        return (certificate.issuer.public_bytes(), certificate.serial_number) in self._revoked


def _read(x509: Any, content: bytes) -> Iterator[Any]:
    head, *rest = content.split(_PEM_HEAD)
    try:
        if rest:
            for body in rest:
                yield x509.load_pem_x509_crl(_PEM_HEAD + body)
        else:
            yield x509.load_der_x509_crl(head)
    except ValueError:
        raise ValueError("it is no revocation list, in PEM or DER form") from None
