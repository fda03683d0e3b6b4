"""What the audit log holds: that something happened, to whom and by whom; never what was said."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["AuditPage", "AuditRecord"]


@attrs.frozen(kw_only=True)
class AuditRecord:
    """
    One record of the audit log.

    Attributes:
        position: Where it stands in the log.
        at: When, ISO 8601.
        kind: What happened, such as ``"rule_changed"``; the set is open.
        agent_id: To whom.
        channel_id: In which channel.
        by: Who did it, where that is somebody: an agent's name or id, or ``"hub"``.
        details: What else there is to say, depending on the kind.
        previous: The hash of the record before it; "" for the first.
        hash: Its own.
    """

    position: int
    at: str
    kind: str
    agent_id: str | None = None
    channel_id: str | None = None
    by: str | None = None
    details: dict[str, Any] = attrs.field(factory=dict)
    previous: str = ""
    hash: str = ""


@attrs.frozen(kw_only=True)
class AuditPage:
    """
    Some records of the audit log, oldest first.

    Attributes:
        start: How far back the log was read; go on before it. 0: there is nothing older.
    """

    records: tuple[AuditRecord, ...] = ()
    start: int = 0
