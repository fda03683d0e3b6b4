"""The states of a channel: what may happen in which, and what follows."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from ..records import ChannelState

__all__ = ["CHANNEL", "EVENT_FOR", "ChannelEvent"]


class ChannelEvent(StrEnum):
    """What can happen to a channel."""

    POSTED = "posted"
    ACKED = "acked"
    QUORUM = "quorum"
    REJECTED = "rejected"
    WOUND_DOWN = "wound down"
    CLOSED = "closed"
    EXPIRED = "expired"


_PENDING, _ACTIVE, _CLOSING, _CLOSED, _EXPIRED = ChannelState

#: state -> event -> next state. Bookkeeping posts (tasks) count as no event of their own.
CHANNEL: Final[dict[ChannelState, dict[ChannelEvent, ChannelState]]] = {
    _PENDING: {
        ChannelEvent.ACKED: _PENDING,
        ChannelEvent.QUORUM: _ACTIVE,
        ChannelEvent.REJECTED: _CLOSED,
        ChannelEvent.CLOSED: _CLOSED,
        ChannelEvent.EXPIRED: _EXPIRED,
    },
    _ACTIVE: {
        ChannelEvent.POSTED: _ACTIVE,
        ChannelEvent.ACKED: _ACTIVE,
        ChannelEvent.REJECTED: _ACTIVE,
        ChannelEvent.WOUND_DOWN: _CLOSING,
        ChannelEvent.CLOSED: _CLOSED,
        ChannelEvent.EXPIRED: _EXPIRED,
    },
    _CLOSING: {
        ChannelEvent.CLOSED: _CLOSED,
        ChannelEvent.EXPIRED: _EXPIRED,
    },
    _CLOSED: {},
    _EXPIRED: {},
}

#: The event by which a channel gets into a state that its adapter, or the hub, wants.
EVENT_FOR: Final = {
    ChannelState.CLOSING: ChannelEvent.WOUND_DOWN,
    ChannelState.CLOSED: ChannelEvent.CLOSED,
    ChannelState.EXPIRED: ChannelEvent.EXPIRED,
}
