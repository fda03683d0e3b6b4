"""How a hub is doing, for those who run it."""

from __future__ import annotations

from typing import Any

import attrs

from ..stores import StoreHealth

__all__ = ["HubHealth"]


@attrs.frozen(kw_only=True)
class HubHealth:
    """
    What an operator should know at a glance.

    Attributes:
        problems: What was set aside when the hub opened, and the channels that were found
            damaged since, one sentence each.
        commits: Batches written; divide the posts by it for the size of a batch.
        delivered: Envelopes sent to recipients since the hub opened.
    """

    closing: bool
    store: StoreHealth
    problems: tuple[str, ...]
    agents: int
    channels: int
    tasks: int
    connections: int
    commits: int
    commits_failed: int
    commits_waiting: int
    dead_letters: int
    delivered: int
    redelivered: int

    @property
    def ok(self) -> bool:
        """Whether it takes posts and keeps them."""
        return self.store.ok and not self.closing

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, `ok` first, as plain values: what the wire and the program show."""
        return {"ok": self.ok, **attrs.asdict(self)}
