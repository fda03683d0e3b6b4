"""
Tenures: by which credential an identity is acted for, and what happens when that ends.

A credential is shown once, when an identity is bound to a connection. It holds until it expires or
is revoked, or until the same identity is bound anew: by another connection, or by the same one,
which so refreshes it without a gap. One heap of dates and one timer serve them all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..auth import Credential
from ..ids import Now
from ..protocol.alarms import Alarms
from .timers import NextLook, Timers

__all__ = ["EXPIRED", "REVOKED", "Tenures"]

#: How a credential ends; the kinds of audit records and of events.
EXPIRED: Final = "credential_expired"
REVOKED: Final = "revoked"


class Tenures:
    """
    Watches the credentials by which agents are bound.

    Args:
        clock: Seconds since 1970.
        timers: Wake us when the next one expires.
        on_end: Called with the id of an agent and how its credential ended, once.
    """

    def __init__(self, clock: Now, timers: Timers, on_end: Callable[[str, str], None]) -> None:
        self._clock = clock
        self._next = NextLook(timers, clock, self.look)
        self._on_end = on_end
        self._held: dict[str, Credential] = {}
        self._alarms = Alarms()

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, agent_id: str, credential: Credential | None) -> None:
        """
        An agent is acted for by this credential from now on, and by no earlier one.

        Where it has ended by now, that is told before this returns.
        """
        self.release(agent_id)
        if credential is not None:
            self._held[agent_id] = credential
            credential.watch((self, agent_id), lambda: self._look_at(agent_id, credential))
            self._look_at(agent_id, credential)

    def release(self, agent_id: str) -> None:
        """Nobody acts for an agent any more."""
        credential = self._held.pop(agent_id, None)
        if credential is not None:
            credential.unwatch((self, agent_id))
            self._alarms.forget(agent_id)

    def look(self) -> None:
        """End what has expired, now that time has passed."""
        for agent_id in list(self._alarms.due(self._clock())):
            self._end(agent_id, EXPIRED)
        self._await_next()

    def _look_at(self, agent_id: str, credential: Credential) -> None:
        self._alarms.forget(agent_id)
        if credential.revoked:
            self._end(agent_id, REVOKED)
        elif credential.expires_at is not None:
            self._alarms.set(agent_id, credential.expires_at)
            self._await_next()

    def _await_next(self) -> None:
        self._next.at(self._alarms.earliest(self._held.__contains__))

    def _end(self, agent_id: str, how: str) -> None:
        if agent_id in self._held:
            self.release(agent_id)
            self._on_end(agent_id, how)
