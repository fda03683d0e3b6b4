"""
Who may come to a hub that is served: the options that say so, and the adapters made of them.

Keys, tokens and certificates may be used side by side. The files of keys are followed while the hub
serves.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import trio

from ..auth import ApiKeyAuth, AuthAdapter, AuthRegistry, ClientCertAuth, JwtAuth
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
    client_cert_name: CertificateName
    client_cert_prefix: str


@attrs.frozen
class Credentials:
    """
    What a hub checks credentials by.

    Attributes:
        keys: The API keys, and the file that they are in.
        tokens: What checks tokens, and the file of the issuer's keys.
        certificates: What reads the certificates of clients.
    """

    keys: tuple[ApiKeyAuth, Path] | None = None
    tokens: tuple[JwtAuth, Path] | None = None
    certificates: ClientCertAuth | None = None

    @property
    def are_wanted(self) -> bool:
        """Whether nobody may come without one."""
        return any(it is not None for it in (self.keys, self.tokens, self.certificates))

    @property
    def registry(self) -> AuthRegistry:
        """The adapters, for a hub."""
        adapters: list[AuthAdapter] = [
            made[0] for made in (self.keys, self.tokens) if made is not None
        ]
        if self.certificates is not None:
            adapters.append(self.certificates)
        return AuthRegistry(adapters) if adapters else AuthRegistry.default()

    def follow(self, nursery: trio.Nursery) -> None:
        """Let them follow their files until `nursery` is cancelled."""
        if self.keys is not None:
            auth, path = self.keys
            nursery.start_soon(watch_keys, path, auth)
        if self.tokens is not None:
            tokens, path = self.tokens
            nursery.start_soon(_watch_key_set, path, tokens)


def make_credentials(settings: CredentialSettings) -> Credentials:
    """
    Read the files that the settings name.

    Raises:
        CommandError: One cannot be read or makes no sense, or an option is missing.
    """
    keys = tokens = None
    if settings.keys is not None:
        content = read_keys_of_hub(settings.keys)
        keys = (ApiKeyAuth(content.plain, hashed=content.hashed), settings.keys)
    if settings.jwt_keys is not None:
        tokens = (_make_tokens(settings, settings.jwt_keys), settings.jwt_keys)
    elif settings.jwt_issuer is not None or settings.jwt_audience is not None:
        raise CommandError("--jwt-issuer and --jwt-audience need --jwt-keys: the issuer's keys")
    return Credentials(keys, tokens, _make_certificates(settings))


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


def _make_certificates(settings: CredentialSettings) -> ClientCertAuth | None:
    if settings.client_ca is None:
        return None
    return ClientCertAuth(name_from=settings.client_cert_name, prefix=settings.client_cert_prefix)


async def _watch_key_set(path: Path, auth: JwtAuth) -> None:
    """Let the hub know an issuer's keys as they change; connections end whose key is gone."""

    def use(content: bytes) -> int:
        try:
            return auth.replace(content)
        except ValueError as error:
            raise CommandError(f"{path}: {error}") from error

    await watch_file(path, lambda it: read_file(it, "key set"), use, "keys of tokens")
