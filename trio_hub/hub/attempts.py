"""
Attempts to show a credential: who fails too often waits, and nobody waits for another's failures.

Failures are counted by address, and by name at an address. Nothing is counted by name alone: else
a stranger could keep an agent out by failing in its name. An IPv6 address stands for its /64, which
is what one household or machine is given.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from ..errors import AuthError, RateLimited
from ..protocol.throttle import Throttle
from .announcer import Announcer
from .limits import HubLimits

__all__ = ["Attempts", "address_of"]

# What is kept of a name that somebody made up.
_NAME_CHARACTERS_MAX = 200
_IPV6_PREFIX = 64


class Attempts:
    """
    Lets attempts begin, and writes down how they fail.

    Args:
        announcer: Told of each failure.
        limits: How many in a minute.
    """

    def __init__(self, announcer: Announcer, limits: HubLimits) -> None:
        self._announcer = announcer
        kept = limits.failed_authentications_kept_max
        self._by_name = Throttle(per_minute=limits.failed_authentications_per_minute, keys_max=kept)
        self._by_address = Throttle(
            per_minute=limits.failed_authentications_per_address_per_minute, keys_max=kept
        )

    @asynccontextmanager
    async def attempt(
        self, connection_id: str, peer: str, name: str, scheme: str
    ) -> AsyncIterator[None]:
        """
        Check a credential inside the block.

        Raises:
            RateLimited: There were too many failures. The block was not entered, so whether this
                credential is good is not told.
            AuthError: What the block raised; the audit log has it.
        """
        address = address_of(peer)
        # Taken before the answer is known, so that many at once are no more than one by one.
        key = address, name[:_NAME_CHARACTERS_MAX]
        now = trio.current_time()
        wait = self._by_address.wait(address, now) or self._by_name.take(key, now)
        if wait > 0.0:
            raise RateLimited(
                "too many credentials from your address were refused; wait before the next one",
                retry_after_seconds=wait,
            )
        failed = False
        try:
            yield
        except AuthError:
            failed = True
            self._by_address.take(address, trio.current_time())
            await self._announcer.auth_failed(connection_id, peer, name, scheme)
            raise
        finally:
            if not failed:
                self._by_name.give_back(key, trio.current_time())


def address_of(peer: str) -> str:
    """Return what failures of a peer are counted by: its address without the port."""
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
