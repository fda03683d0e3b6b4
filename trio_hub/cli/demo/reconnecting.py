"""How the agents of the demonstration come back to their hub, and how they say so."""

from __future__ import annotations

from ...client import IdentityChange, Reconnect, StateChange
from ...protocol.backoff import Backoff
from .lines import say

__all__ = ["QUICKLY", "say_connection"]

#: Somebody watches: look for the hub more often than one would for real.
QUICKLY = Reconnect(backoff=Backoff(base=0.05, cap=0.25))


def say_connection(change: StateChange | IdentityChange) -> None:
    """Say that the connection changed."""
    if isinstance(change, StateChange):
        say("connection", state=str(change.state))
