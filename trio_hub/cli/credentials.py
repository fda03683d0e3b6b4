"""
Who may come to a hub that is served: the options that say so, and the adapters made of them.

Keys, tokens and certificates may be used side by side. Files of keys and of what is revoked are
followed while the hub serves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import attrs
import trio

from ..auth import ApiKeyAuth, AuthAdapter, AuthRegistry, ClientCertAuth, JwtAuth, RevocationList
from ..auth.client_certificate import CERTIFICATE_NAMES, CertificateName
from . import options as o
from .command import CommandError
from .file_watch import watch_file
from .key_watch import read_keys_of_hub, watch_keys
from .toml_files import read_file

__all__ = ["CREDENTIAL_OPTIONS", "CredentialSettings", "Credentials", "make_credentials"]

CREDENTIAL_OPTIONS = (
    o.Option(
        name="keys",
        kind=o.path("FILE"),
        help="TOML file of API keys; only agents named in it may then connect",
    ),
    o.Option(
        name="jwt-keys",
        kind=o.path("FILE"),
        help="JSON Web Key Set of an issuer of tokens; agents may then connect by one of its tokens",
    ),
    o.Option(
        name="jwt-issuer",
        kind=o.text("ISSUER"),
        help="the issuer that tokens must name (iss); needed with --jwt-keys",
    ),
    o.Option(
        name="jwt-audience",
        kind=o.text("AUDIENCE"),
        help="the audience that tokens must be for (aud): a word for this hub; needed with --jwt-keys",
    ),
    o.Option(
        name="jwt-name-claim",
        kind=o.text("CLAIM"),
        default="sub",
        help="what in a token is the name of the agent",
    ),
    o.Option(
        name="client-ca",
        kind=o.path("FILE"),
        help="certificates, in PEM form, of the authorities that sign those of agents; they may "
        "then connect by one of those over wss://",
    ),
    o.Option(
        name="client-crl",
        kind=o.path("FILE"),
        help="revocation lists of those authorities; who comes by a certificate in them is refused",
    ),
    o.Option(
        name="client-cert-name",
        kind=o.choice(*CERTIFICATE_NAMES),
        default="cn",
        help="what in a certificate is the name of the agent",
    ),
    o.Option(
        name="client-cert-prefix",
        kind=o.text("TEXT"),
        default="",
        help="with what that begins before the name, such as spiffe://example.org/agents/",
    ),
)


@attrs.frozen(kw_only=True)
class CredentialSettings:
    """What of the settings is about credentials; see `CREDENTIAL_OPTIONS`."""

    keys: Path | None
    jwt_keys: Path | None
    jwt_issuer: str | None
    jwt_audience: str | None
    jwt_name_claim: str
    client_ca: Path | None
    client_crl: Path | None
    client_cert_name: CertificateName
    client_cert_prefix: str


@attrs.frozen
class Credentials:
    """
    What a hub checks credentials by.

    Attributes:
        adapters: One for each scheme that was asked for.
        watches: What follows their files; each runs until it is cancelled.
    """

    adapters: Sequence[AuthAdapter]
    watches: Sequence[Callable[[], Awaitable[None]]]

    @property
    def are_wanted(self) -> bool:
        """Whether nobody may come without one."""
        return bool(self.adapters)

    @property
    def registry(self) -> AuthRegistry:
        """The adapters, for a hub."""
        return AuthRegistry(self.adapters) if self.adapters else AuthRegistry.default()

    def follow(self, nursery: trio.Nursery) -> None:
        """Let them follow their files until `nursery` is cancelled."""
        for watch in self.watches:
            nursery.start_soon(watch)


def make_credentials(settings: CredentialSettings) -> Credentials:
    """
    Read the files that the settings name.

    Raises:
        CommandError: One cannot be read or makes no sense, or an option is missing.
    """
    adapters: list[AuthAdapter] = []
    watches: list[Callable[[], Awaitable[None]]] = []
    if settings.keys is not None:
        content = read_keys_of_hub(settings.keys)
        keys = ApiKeyAuth(content.plain, hashed=content.hashed)
        adapters.append(keys)
        watches.append(partial(watch_keys, settings.keys, keys))
    if settings.jwt_keys is not None:
        tokens = _make_tokens(settings, settings.jwt_keys)
        adapters.append(tokens)
        watches.append(partial(_watch_key_set, settings.jwt_keys, tokens))
    elif settings.jwt_issuer is not None or settings.jwt_audience is not None:
        raise CommandError("--jwt-issuer and --jwt-audience need --jwt-keys: the issuer's keys")
    crl = settings.client_crl
    if settings.client_ca is not None:
        certificates = _make_certificates(settings)
        adapters.append(certificates)
        if crl is not None:
            watches.append(partial(_watch_revoked, crl, certificates))
    elif crl is not None:
        raise CommandError("--client-crl needs --client-ca: whose certificates are revoked")
    return Credentials(adapters, watches)


def _make_tokens(settings: CredentialSettings, path: Path) -> JwtAuth:
    if not settings.jwt_issuer or not settings.jwt_audience:
        raise CommandError(
            "--jwt-keys needs --jwt-issuer and --jwt-audience: without them a token that its "
            "issuer made for somebody else would do"
        )
    try:
        return JwtAuth(
            read_file(path, "key set"),
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            name_claim=settings.jwt_name_claim,
        )
    except ImportError as error:
        raise CommandError(f"--jwt-keys: {error}") from error
    except ValueError as error:
        raise CommandError(f"--jwt-keys {path}: {error}") from error


def _make_certificates(settings: CredentialSettings) -> ClientCertAuth:
    crl = settings.client_crl
    return ClientCertAuth(
        name_from=settings.client_cert_name,
        prefix=settings.client_cert_prefix,
        revoked=None if crl is None else _read_revoked(crl),
    )


def _read_revoked(path: Path) -> RevocationList:
    try:
        return RevocationList(read_file(path, "revocation list"))
    except (ImportError, ValueError) as error:
        raise CommandError(f"--client-crl {path}: {error}") from error


async def _watch_key_set(path: Path, auth: JwtAuth) -> None:
    """Let the hub know an issuer's keys as they change; connections end whose key is gone."""

    def use(content: bytes) -> int:
        try:
            return auth.replace(content)
        except ValueError as error:
            raise CommandError(f"{path}: {error}") from error

    await watch_file(path, lambda it: read_file(it, "key set"), use, "keys of tokens")


async def _watch_revoked(path: Path, auth: ClientCertAuth) -> None:
    """Let the hub know what is revoked as it changes; who came by that is parted with."""
    await watch_file(path, _read_revoked, auth.replace, "revoked certificates")
