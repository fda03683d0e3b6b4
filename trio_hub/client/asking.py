"""What the methods of a client that ask a hub have in common: somebody who asks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

__all__ = ["Asking"]


class Asking(ABC):
    """Somebody who can ask a hub, whatever it is about."""

    @abstractmethod
    async def request(
        self, op: str, params: object, result: Any, *, timeout: float | None = None
    ) -> Any:
        """Ask the hub to do `op` and decode the answer as a `result`."""

    @abstractmethod
    def new_key(self) -> str:
        """Return an idempotency key that nobody has used."""

    @property
    @abstractmethod
    def speaks_plain(self) -> bool:
        """Whether the hub may be AG2's, which knows none of the operations that we added."""
