"""What peers are counted by: the address they come from, without the port."""

from __future__ import annotations

import ipaddress

__all__ = ["address_of"]

_IPV6_PREFIX = 64


def address_of(peer: str) -> str:
    """
    Return what a peer is counted by.

    An IPv6 address stands for its /64, which is what one household or machine is given.
    """
    address = peer.rpartition(":")[0].strip("[]") or peer
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False))
