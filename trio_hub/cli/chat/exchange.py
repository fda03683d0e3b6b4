"""What the person asked last, and whether it has been answered."""

from __future__ import annotations

import trio

from ...records import Envelope

__all__ = ["Exchange"]


class Exchange:
    """Ids increase along a channel, so two of them say how it stands."""

    def __init__(self) -> None:
        self.asked_id = ""
        self._answered_id = ""
        self._changed = trio.Event()

    def is_open(self) -> bool:
        """Whether an answer is waited for."""
        return self._answered_id < self.asked_id

    def asked(self, envelope_id: str) -> None:
        """The person has said something. Its answer may have come before this is known."""
        self.asked_id = envelope_id
        self._tell()

    def heard(self, envelope: Envelope) -> None:
        """The other has said something: one that does not say to what answers all before it."""
        answered_id = envelope.causation_id or envelope.envelope_id
        self._answered_id = max(self._answered_id, answered_id)
        self._tell()

    async def until(self, *, is_open: bool) -> None:
        """Return once an answer is waited for, or is not. Cancellation: changes nothing."""
        while self.is_open() is not is_open:
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
