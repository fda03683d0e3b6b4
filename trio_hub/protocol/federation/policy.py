"""Who may be known to another hub, and who of it may be known here."""

from __future__ import annotations

import attrs

from ..globs import compile_globs, why_not_globs
from .addresses import MIRROR_PREFIX, hub_name

__all__ = ["PeerPolicy"]


def _globs(
    _instance: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]
) -> None:
    why = why_not_globs(value)
    if why is not None:
        raise ValueError(f"{attribute.name}: {why}")


@attrs.frozen(kw_only=True)
class PeerPolicy:
    """
    The allow lists that one hub has for another. What is on neither is as if it did not exist.

    Attributes:
        exports: Globs over the names of agents here that the peer may know, hear and reach.
        imports: Globs over the names, at the peer, of its agents that may be known and speak here.
    """

    exports: tuple[str, ...] = attrs.field(validator=_globs)
    imports: tuple[str, ...] = attrs.field(validator=_globs)

    def shows(self, name: str) -> bool:
        """Whether the peer may know an agent that lives here."""
        return not name.startswith(MIRROR_PREFIX) and compile_globs(self.exports)(name)

    def lets_in(self, name_there: str) -> bool:
        """Whether an identity of the peer may be known here, by its name there."""
        return compile_globs(self.imports)(name_there)


def check_hubs(me: str, peers: list[str]) -> None:
    """
    Check the names of a hub and its peers.

    Raises:
        ValueError: One is impossible, a peer is named twice, or is this hub itself.
    """
    for name in (me, *peers):
        hub_name(name)
    if me in peers:
        raise ValueError(f"hub {me!r} cannot be a peer of its own")
    twice = sorted({it for it in peers if peers.count(it) > 1})
    if twice:
        raise ValueError(f"peers are named twice: {', '.join(twice)}")
