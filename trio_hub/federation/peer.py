"""Another hub, as it is configured here."""

from __future__ import annotations

import attrs

from ..links.base import Link
from ..protocol.federation import PeerPolicy, hub_name
from ..records import AuthBlock

__all__ = ["Peer"]


def _tuple(value: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


@attrs.frozen(kw_only=True)
class Peer:
    """
    A hub to be joined with.

    Attributes:
        name: What it calls itself. It is told, and nothing crosses where it differs.
        link: How to reach it, such as a `WsLink`.
        exports: Globs over the names of agents here that it may know and reach.
        imports: Globs over the names, at the peer, of its agents that may be known here.
        key: The API key of ``hub:NAME`` there, where NAME is this hub's own name; None where it
            authenticates nobody.
        auth: How ``hub:NAME`` proves itself there, where that is not by a key, such as
            ``AuthBlock(scheme="client_cert")`` with a link that has the certificate.

    Raises:
        ValueError: The name is none of a hub, or the globs are too many, or there are `key` and
            `auth`.
    """

    name: str = attrs.field()
    link: Link
    exports: tuple[str, ...] = attrs.field(converter=_tuple)
    imports: tuple[str, ...] = attrs.field(converter=_tuple)
    key: str | None = attrs.field(default=None, repr=False)
    auth: AuthBlock | None = attrs.field(default=None)
    policy: PeerPolicy = attrs.field(init=False)

    @name.validator
    def _is_a_hub(self, _attribute: attrs.Attribute[str], value: str) -> None:
        hub_name(value)

    @auth.validator
    def _is_instead_of_key(
        self, _attribute: attrs.Attribute[AuthBlock | None], value: AuthBlock | None
    ) -> None:
        if value is not None and self.key is not None:
            raise ValueError(f"peer {self.name!r}: give a key or an auth, not both")

    @policy.default
    def _of_lists(self) -> PeerPolicy:
        return PeerPolicy(exports=self.exports, imports=self.imports)

    @property
    def login(self) -> AuthBlock:
        """How this hub proves itself there."""
        if self.auth is not None:
            return self.auth
        if self.key is None:
            return AuthBlock()
        return AuthBlock(scheme="api_key", claim={"token": self.key})
