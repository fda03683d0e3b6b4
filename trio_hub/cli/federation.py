"""
The table that says which hubs a hub is joined with: in the configuration file, or a file of its own.

::

    [federation]
    name = "east"

    [federation.peers.west]
    url = "wss://west.example.org"
    key-file = "west.key"            # the key of hub:east there
    exports = ["*"]                  # who of ours may be known there
    imports = ["support-*"]          # who of theirs may be known here
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..auth import ClientCertAuth
from ..links import WsLink
from ..protocol.federation.policy import check_hubs
from ..records import AuthBlock
from . import options as o
from .command import CommandError
from .tls import connecting_context
from .toml_files import load_toml, malformed, read_file, toml_name

if TYPE_CHECKING:
    from ..federation import Peer

__all__ = ["FEDERATION_OPTION", "FederationSettings"]

_FIELDS: Final = ("name", "peers", "allow-unauthenticated")
_PEER_FIELDS: Final = (
    "url",
    "exports",
    "imports",
    "key",
    "key-file",
    "tls-ca",
    "client-cert",
    "client-key",
)


@attrs.frozen(kw_only=True)
class FederationSettings:
    """What a hub is called, and its peers."""

    name: str
    peers: tuple[Peer, ...]
    allow_unauthenticated: bool = False


def _from_table(table: Any, folder: Path) -> FederationSettings:
    if isinstance(table, str):
        return _from_file(folder / table)
    if not isinstance(table, Mapping):
        raise ValueError(f"expected a table or the path of a file, got {toml_name(table)}")  # noqa: TRY004  as `Kind` says
    problems = [_unknown(name, _FIELDS) for name in table if name not in _FIELDS]
    name, peers = table.get("name"), table.get("peers", {})
    insists = table.get("allow-unauthenticated", False)
    if not isinstance(name, str):
        problems.append("name: expected what this hub is called, such as 'east'")
    if not isinstance(insists, bool):
        problems.append("allow-unauthenticated: expected true or false")
    if not isinstance(peers, Mapping):
        problems.append(f"peers: expected a table for each, got {toml_name(peers)}")
        peers = {}
    read: list[Peer] = []
    for peer_name, fields in peers.items():
        try:
            read.append(_peer(peer_name, fields, folder))
        except (ValueError, ImportError, CommandError) as error:
            problems.append(f"peers.{peer_name}: {error}")
    if not problems:
        try:
            check_hubs(str(name), [it.name for it in read])
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("; ".join(problems))
    return FederationSettings(name=str(name), peers=tuple(read), allow_unauthenticated=insists)


def _from_file(path: Path) -> FederationSettings:
    try:
        return _from_table(load_toml(path, "federation file"), path.parent)
    except ValueError as error:
        raise malformed(path, "federation file", [str(error)]) from None


def _peer(name: str, fields: Any, folder: Path) -> Peer:
    # It is a client of other hubs, which a hub without such a table does not have to load.
    from ..federation import Peer  # noqa: PLC0415,RUF100

    if not isinstance(fields, Mapping):
        raise ValueError(f"expected a table, got {toml_name(fields)}")  # noqa: TRY004  as `Kind` says
    for field in fields:
        if field not in _PEER_FIELDS:
            raise ValueError(_unknown(field, _PEER_FIELDS))
    key = _key(fields, folder)
    # Where the other hub wants both, the certificate opens the door and the key says who it is.
    by_certificate = key is None and "client-cert" in fields
    return Peer(
        name=name,
        link=WsLink(_text(fields, "url"), ssl_context=_tls(fields, folder)),
        exports=_globs(fields, "exports"),
        imports=_globs(fields, "imports"),
        key=key,
        auth=AuthBlock(scheme=ClientCertAuth.scheme) if by_certificate else None,
    )


def _unknown(name: str, known: tuple[str, ...]) -> str:
    return f"there is no {name!r}; it can be {', '.join(known)}"


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name}: expected a text that is not empty")
    return value


def _globs(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = fields.get(name)
    if not isinstance(value, list) or not all(isinstance(it, str) for it in value):
        raise ValueError(f"{name}: expected a list of names, such as ['support-*']; [] is nobody")
    return tuple(value)


def _key(fields: Mapping[str, Any], folder: Path) -> str | None:
    if "key" in fields and "key-file" in fields:
        raise ValueError("key and key-file: give one of them")
    if "key-file" in fields:
        path = folder / Path(_text(fields, "key-file")).expanduser()
        try:
            key = read_file(path, "key file").decode().strip()
        except UnicodeDecodeError:
            raise ValueError(f"the key file {path} is not UTF-8 text") from None
        if not key:
            raise ValueError(f"the key file {path} is empty")
        return key
    return _text(fields, "key") if "key" in fields else None


def _tls(fields: Mapping[str, Any], folder: Path) -> ssl.SSLContext | None:
    return connecting_context(
        *(
            folder / Path(_text(fields, name)).expanduser() if name in fields else None
            for name in ("tls-ca", "client-cert", "client-key")
        )
    )


FEDERATION_OPTION: Final = o.Option(
    name="federation",
    kind=o.Kind(
        from_words=lambda word: _from_file(Path(word).expanduser()),
        from_toml=_from_table,
        metavar="FILE",
    ),
    help="TOML file of the hubs to be joined with; a table [federation] in --config does as well",
)
