"""How a hub is doing, for those who run it."""

from __future__ import annotations

from typing import Any

import attrs

from ..stores import StoreHealth
from .federation import PeerHealth
from .listeners import ListenerHealth

__all__ = ["HubHealth"]


@attrs.frozen(kw_only=True)
class HubHealth:
    """
    What an operator should know at a glance.

    Attributes:
        problems: What was set aside when the hub opened, and the channels that were found
            damaged since, one sentence each.
        channels_retired: Channels that had ended and went since the hub opened.
        records_trimmed: Records of open channels that did.
        commits: Batches kept: a post, an answer to an invite and the cursors of a moment are one
            each. A store may write many of them with one sync.
        delivered: Envelopes sent to recipients since the hub opened.
        listeners: Each of them, with how much it has missed.
        audit_records: How many records the audit log has, and the hash of the last one
            (`audit_head`). Keep both elsewhere to notice a log that was cut short.
        audit_waiting: How many more are not durable yet.
        peers: The other hubs that this one is joined with.
    """

    closing: bool
    store: StoreHealth
    problems: tuple[str, ...]
    agents: int
    channels: int
    channels_retired: int
    records_trimmed: int
    tasks: int
    connections: int
    commits: int
    commits_failed: int
    commits_waiting: int
    dead_letters: int
    delivered: int
    redelivered: int
    listeners: tuple[ListenerHealth, ...]
    audit_records: int
    audit_head: str
    audit_waiting: int
    peers: tuple[PeerHealth, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it takes posts and keeps them."""
        return self.store.ok and not self.closing

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, `ok` first, as plain values: what the wire and the program show."""
        return {"ok": self.ok, **attrs.asdict(self)}
