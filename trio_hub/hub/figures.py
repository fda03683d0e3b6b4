"""What a hub has counted since it was opened: the numbers behind its metrics."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from .._histogram import Histogram
from ..stores import WriteFigures
from .health import HubHealth

__all__ = ["HubFigures"]


@attrs.frozen(kw_only=True)
class HubFigures:
    """
    A look at the hub's own counters.

    Attributes:
        posted: Envelopes that went into a log, by type of channel; the hub's own among them.
        rejected: Posts that were refused, by the code of the error.
        refused: What peers were told that it failed: (request, hello or frame, code).
        handshakes_failed: Connections that ended before their WebSocket was open, by reason.
        violations: Expectations that were not met: (name, what followed).
        receipts: By status, those from a connection that acts for the recipient.
        buried: Envelopes that became dead letters.
        expired: Deliveries that were not made because the envelope's TTL was over.
        connections_opened: Connections that were ever taken.
        names_revoked: Names that operators have shut out now.
        outbox_bytes: What waits to be written to all peers together.
        commit_seconds: From the submission of a batch until it was durable.
        tasks_running: Trio tasks in the whole process.
        writes: What the store itself measured, where it measures.
    """

    health: HubHealth
    posted: Mapping[str, int]
    rejected: Mapping[str, int]
    refused: Mapping[tuple[str, str], int]
    handshakes_failed: Mapping[str, int]
    violations: Mapping[tuple[str, str], int]
    receipts: Mapping[str, int]
    buried: int
    expired: int
    connections_opened: int
    names_revoked: int
    outbox_bytes: int
    commit_seconds: Histogram
    tasks_running: int
    writes: WriteFigures | None
