"""Contexts of TLS from files: a hub's own, and those of who connects to one."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NoReturn

from .command import CommandError
from .toml_files import read_file

__all__ = ["connecting_context", "serving_context"]


def serving_context(
    cert: Path | None, key: Path | None, client_ca: Path | None
) -> ssl.SSLContext | None:
    """
    Return the context to serve with; None is without TLS.

    Who has no certificate is let through the handshake all the same: it may come by another
    scheme, and where it does not, the hub can say what is missing, count it, and write it down.

    Args:
        client_ca: The authorities whose certificates clients may bring; None asks for none.

    Raises:
        CommandError: A file cannot be used, or one is missing.
    """
    if cert is None:
        for path, flag, why in (
            (key, "--tls-key", "the certificate that it is the key of"),
            (client_ca, "--client-ca", "agents show certificates to a hub that speaks TLS"),
        ):
            if path is not None:
                raise CommandError(f"{flag} needs --tls-cert: {why}")
        return None
    context = _believing(ssl.Purpose.CLIENT_AUTH, client_ca)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
    _load_own(context, cert, key, "TLS certificate", "TLS key")
    return context


def connecting_context(
    ca: Path | None, cert: Path | None, key: Path | None
) -> ssl.SSLContext | None:
    """
    Return the context to connect with; None where nothing was asked for.

    Args:
        ca: Whom to believe instead of the authorities that the system believes.
        cert: To show to the hub, with its chain.
        key: Of `cert`, where it is not in the same file.

    Raises:
        CommandError: A file cannot be used, or one is missing.
    """
    if cert is None and key is not None:
        raise CommandError("client-key needs client-cert: the certificate that it is the key of")
    if ca is None and cert is None:
        return None
    context = _believing(ssl.Purpose.SERVER_AUTH, ca)
    if cert is not None:
        _load_own(context, cert, key, "client certificate", "client key")
    return context


def _load_own(
    context: ssl.SSLContext, cert: Path, key: Path | None, cert_what: str, key_what: str
) -> None:
    key = key or cert
    for path, what in ((cert, cert_what), (key, key_what)):
        # OpenSSL's own errors do not say which file.
        read_file(path, what)

    def refuse_password() -> NoReturn:
        raise CommandError(
            f"the {key_what} {key} is encrypted, and nobody is asked for its password"
        )

    try:
        context.load_cert_chain(cert, key, password=refuse_password)
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        raise CommandError(
            f"the {cert_what} {cert} and key {key} cannot be used: {reason}"
        ) from None


def _believing(purpose: ssl.Purpose, ca: Path | None) -> ssl.SSLContext:
    """Return a context that believes these authorities; None is whom Python does by itself."""
    if ca is not None:
        read_file(ca, "file of certificates")
    try:
        return ssl.create_default_context(purpose, cafile=ca)
    except ssl.SSLError:
        raise CommandError(f"the file {ca} holds no certificates") from None
