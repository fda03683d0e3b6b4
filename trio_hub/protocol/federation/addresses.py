"""
Names across hubs.

An agent is known abroad as ``hub://HUB/NAME``: its own hub, and its name there. That is also the
name of its *mirror*, the identity that stands for it at another hub. The *link* to a hub is the
recipient that everything for that hub is owed to, ``hub://HUB``; a hub that calls another logs
in there as ``hub:HUB``.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from ...errors import ProtocolError

__all__ = [
    "HUB_SCHEME",
    "MIRROR_PREFIX",
    "Naming",
    "hub_name",
    "link_name",
    "link_scheme",
    "login_name",
]

#: The auth scheme of mirrors. Nobody can prove it, so nobody comes under their names.
HUB_SCHEME: Final = "hub"
#: What the names of links and mirrors begin with.
MIRROR_PREFIX: Final = "hub://"

_HUB_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def hub_name(name: str) -> str:
    """
    Return `name` where a hub may be called so.

    Raises:
        ValueError: It may not.
    """
    if not _HUB_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name of a hub: up to 63 of a-z, 0-9, '.', '_' and '-', beginning "
            "with a letter or a digit"
        )
    return name


def link_name(hub: str) -> str:
    """Return the name of the recipient that what goes to a hub is owed to."""
    return f"{MIRROR_PREFIX}{hub}"


def link_scheme(hub: str) -> str:
    """Return the auth scheme of a link, which names its proxy."""
    return f"{HUB_SCHEME}:{hub}"


def login_name(hub: str) -> str:
    """Return the name under which a hub comes to another one."""
    return f"{HUB_SCHEME}:{hub}"


@attrs.frozen
class Naming:
    """
    Translates between names here and addresses on the way to or from one peer.

    Args:
        me: The name of this hub.
        peer: The name of the other.
    """

    me: str
    peer: str

    def address(self, name: str) -> str:
        """Return what the peer is to be told of an identity here of that name."""
        return name if self.is_mirror(name) else f"{MIRROR_PREFIX}{self.me}/{name}"

    def name(self, address: str) -> str:
        """
        Return the name here of whom the peer means.

        Raises:
            ProtocolError: It speaks of a third hub, or in no address at all.
        """
        mine = f"{MIRROR_PREFIX}{self.me}/"
        if address.startswith(mine):
            return address.removeprefix(mine)
        if self.is_mirror(address):
            return address
        raise ProtocolError(
            f"{address!r} is no address that hub {self.peer!r} can speak of to hub {self.me!r}"
        )

    def is_mirror(self, name: str) -> bool:
        """Whether the identity of that name stands for one of the peer."""
        return name.startswith(f"{MIRROR_PREFIX}{self.peer}/")

    def name_there(self, name: str) -> str:
        """Return what an identity here, for which `is_mirror` holds, is called at the peer."""
        return name.removeprefix(f"{MIRROR_PREFIX}{self.peer}/")
