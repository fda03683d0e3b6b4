"""Whether the hub takes anything new."""

from __future__ import annotations

import trio

from ..errors import HubClosing

__all__ = ["COME_BACK_AFTER_SECONDS", "Gate"]

#: What clients are told to wait: long enough for a restart, short enough not to be felt.
COME_BACK_AFTER_SECONDS = 1.0


class Gate:
    """
    Open until the hub drains; then whoever asks for something new is told to come back.

    Attributes:
        closed: Whether it is.
        closing: Set once it was wished to be closed.
    """

    __slots__ = ("closed", "closing")

    def __init__(self) -> None:
        self.closed = False
        self.closing = trio.Event()

    def close(self) -> None:
        """Let nobody in any more. Idempotent."""
        self.closed = True
        self.closing.set()

    def check(self) -> None:
        """Raise `HubClosing` once it is closed."""
        if self.closed:
            raise self.goodbye()

    def goodbye(self) -> HubClosing:
        """Return what is said to those who ask."""
        return HubClosing(
            "the hub is closing and takes nothing new; what it accepted is safe, come back later",
            retry_after_seconds=COME_BACK_AFTER_SECONDS,
        )
