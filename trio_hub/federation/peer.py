"""Another hub, as it is configured here."""

from __future__ import annotations

import attrs

from ..links.base import Link
from ..protocol.federation import PeerPolicy, hub_name

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

    Raises:
        ValueError: The name is none of a hub, or the globs are too many.
    """

    name: str = attrs.field()
    link: Link
    exports: tuple[str, ...] = attrs.field(converter=_tuple)
    imports: tuple[str, ...] = attrs.field(converter=_tuple)
    key: str | None = attrs.field(default=None, repr=False)
    policy: PeerPolicy = attrs.field(init=False)

    @name.validator
    def _is_a_hub(self, _attribute: attrs.Attribute[str], value: str) -> None:
        hub_name(value)

    @policy.default
    def _of_lists(self) -> PeerPolicy:
        return PeerPolicy(exports=self.exports, imports=self.imports)
