"""
What a client's connection can be, and what its owner is told about it.

::

    connecting ──▶ live ──▶ reconnecting ──▶ live ...
        │            │            │
        └────────────┴────────────┴──▶ closed      left, given up, or never to be reconnected

A connection that is reconnecting still takes requests: they wait, and are sent when it is live.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Literal

import attrs

from ..errors import NetworkError
from ..protocol.backoff import Backoff

__all__ = ["ClientState", "IdentityChange", "Observer", "Reconnect", "StateChange"]


class ClientState(StrEnum):
    """Where the connection of a `HubClient` stands. The last one is final."""

    CONNECTING = "connecting"
    LIVE = "live"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


@attrs.frozen(kw_only=True)
class Reconnect:
    """
    How a client comes back by itself.

    Attributes:
        backoff: The waits between attempts: full jitter from 0.1 s to 30 s, so that many clients
            of one hub do not come back in the same instant.
        give_up_after_seconds: How long without a connection before the client closes itself and
            everything that waits raises `ConnectionLost`; None is never.
        wait_for_hub: Whether the very first attempt is repeated too. Off: a wrong address shows
            at once. On: for programs that are started together with their hub.
    """

    backoff: Backoff = attrs.field(factory=lambda: Backoff(base=0.1, cap=30.0))
    give_up_after_seconds: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.gt(0))
    )
    wait_for_hub: bool = False


@attrs.frozen
class StateChange:
    """The connection is now in `state`; `reason` says why, where it was not wished for."""

    state: ClientState
    reason: NetworkError | None = None


@attrs.frozen
class IdentityChange:
    """
    Something happened to one identity while the others on the connection live on.

    ``detached``: another connection took it over, or the hub refused to take it back (`reason`);
    it stays away until it is attached again. ``position_lost``: the hub's log was restored from
    an older state, so everything unacked arrives again.
    """

    name: str
    what: Literal["detached", "position_lost"]
    reason: NetworkError | None = None


#: Told of every change as it happens, from inside the client: it must not block or raise.
Observer = Callable[[StateChange | IdentityChange], None]
