"""
Strangers: connections that act for nobody yet, at a hub that wants to know for whom.

Without a bound on them, whoever reaches the port could hold all its places and never say who it
is. So a stranger has a while to attach, and there are only so many at a time: where one more
comes, the one that has waited longest goes, so that those who do have a credential are let in.
(sshd's `MaxStartups` refuses the newest instead, which a flood can use to keep others out.)
"""

from __future__ import annotations

from typing import Protocol

import trio

from ..errors import AuthError
from .limits import HubLimits
from .timers import Timers

__all__ = ["Stranger", "Strangers"]


class Stranger(Protocol):
    """What can be sent away."""

    def dismiss(self, error: AuthError, reason: str) -> None:
        """Tell the peer why, and close the connection."""
        ...


class Strangers:
    """
    Sends away who does not say who it is.

    Args:
        limits: How many, how long.
        timers: Wake us when the oldest has had its time.
    """

    def __init__(self, limits: HubLimits, timers: Timers) -> None:
        self._limits = limits
        self._timers = timers
        # In the order in which they came, which is that of their deadlines.
        self._deadlines: dict[Stranger, float] = {}
        self._is_awaited = False

    def __len__(self) -> int:
        return len(self._deadlines)

    def came(self, stranger: Stranger) -> None:
        """Let one in, and perhaps the oldest out."""
        limit = self._limits.unauthenticated_connections_max
        if len(self._deadlines) >= limit:
            self._dismiss(
                next(iter(self._deadlines)),
                f"{limit} connections have shown no credential, and yours has waited longest: "
                "attach or register an agent as soon as you are connected",
            )
        self._deadlines[stranger] = trio.current_time() + self._limits.authentication_seconds
        self._await_oldest()

    def left(self, stranger: Stranger) -> None:
        """Forget one that is a stranger no more, or has gone."""
        self._deadlines.pop(stranger, None)

    def _await_oldest(self) -> None:
        if self._deadlines and not self._is_awaited:
            self._is_awaited = True
            self._timers.call_at(next(iter(self._deadlines.values())), self._look)

    def _look(self) -> None:
        self._is_awaited = False
        now = trio.current_time()
        overdue = [it for it, deadline in self._deadlines.items() if deadline <= now]
        for stranger in overdue:
            self._dismiss(
                stranger,
                "this connection acts for nobody, and has shown no credential for "
                f"{self._limits.authentication_seconds:g} s: attach or register an agent as soon "
                "as you are connected",
            )
        self._await_oldest()

    def _dismiss(self, stranger: Stranger, why: str) -> None:
        del self._deadlines[stranger]
        stranger.dismiss(AuthError(why), "no credential")
