"""
Attempts to show a credential: who fails too often waits, and nobody waits for another's failures.

Failures are counted by address, and by name at an address. Nothing is counted by name alone: else
a stranger could keep an agent out by failing in its name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from ..errors import AgentRevoked, AuthError, RateLimited
from ..links.address import address_of
from ..protocol.throttle import Throttle
from .announcer import Announcer
from .limits import HubLimits

__all__ = ["ATTEMPT_NAME_CHARACTERS_MAX", "Attempts"]

#: By how much of a name failed authentication is counted, and no more of it kept: somebody may have
#: made it up. Names that differ only behind it are counted as one.
ATTEMPT_NAME_CHARACTERS_MAX = 200


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
            AuthError: What the block raised; the audit log has it. An `AgentRevoked` is no
                failure of the address: other agents that come from there do not wait for it.
        """
        address = address_of(peer)
        # Taken before the answer is known, so that many at once are no more than one by one.
        key = address, name[:ATTEMPT_NAME_CHARACTERS_MAX]
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
        except AgentRevoked:
            failed = True
            await self._announcer.turned_away(connection_id, peer, name)
            raise
        except AuthError:
            failed = True
            self._by_address.take(address, trio.current_time())
            await self._announcer.auth_failed(connection_id, peer, name, scheme)
            raise
        finally:
            if not failed:
                self._by_name.give_back(key, trio.current_time())
