"""
The hub's spans: an envelope is accepted, committed, delivered.

``trio_hub accept`` lasts until its sender may be answered, ``trio_hub commit`` inside it for as
long as the disk takes, and ``trio_hub deliver`` from sending an envelope to a recipient until its
receipt. All of them belong to the trace that the envelope names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import msgspec

from ..errors import NetworkError, StoreError
from ..protocol.inbox import Delivery
from ..records import Envelope
from .committer import Ticket

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from .._spans import Tracing

__all__ = ["DELIVERY_SPANS_MAX", "HubSpans"]

#: Spans of deliveries without a receipt: more than all windows of a busy hub. Further ones are
#: ended at once, so that agents which never answer cost a bounded amount.
DELIVERY_SPANS_MAX = 10_000


@attrs.frozen
class _Traced:
    trace_id: str | None = None


_trace_of = msgspec.json.Decoder(_Traced).decode


class HubSpans:
    """
    Makes the spans of one hub.

    Args:
        tracing: The application's.
    """

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing
        self._deliveries: dict[tuple[str, str], Span] = {}

    def accepting(self, envelope: Envelope) -> Callable[[Ticket | NetworkError | None], None]:
        """
        Begin with a post. Call what is returned with its ticket (None: it was posted before), or
        with the error that refused it.
        """
        tracing = self._tracing
        attributes = {
            "trio_hub.channel_id": envelope.channel_id,
            "trio_hub.sender_id": envelope.sender_id,
            "trio_hub.event_type": envelope.event_type,
        }
        accept = tracing.start("trio_hub accept", envelope.trace_id, attributes)

        def done(outcome: Ticket | NetworkError | None) -> None:
            if not isinstance(outcome, Ticket):
                tracing.end(accept, None if outcome is None else outcome.code)
                return
            commit = tracing.start_inside(accept, "trio_hub commit", {})

            def settled(error: StoreError | None) -> None:
                code = None if error is None else error.code
                tracing.end(commit, code)
                tracing.end(accept, code)

            outcome.when_settled(settled)

        return done

    def sent(self, agent_id: str, delivery: Delivery[bytes]) -> None:
        """An envelope is on its way to a recipient."""
        self._end(agent_id, delivery.envelope_id, "superseded")
        span = self._tracing.start(
            "trio_hub deliver",
            _trace_of(delivery.payload).trace_id,
            {
                "trio_hub.channel_id": delivery.channel_id,
                "trio_hub.envelope_id": delivery.envelope_id,
                "trio_hub.recipient_id": agent_id,
                "trio_hub.attempt": delivery.attempt,
            },
        )
        if len(self._deliveries) < DELIVERY_SPANS_MAX:
            self._deliveries[agent_id, delivery.envelope_id] = span
        else:
            span.end()

    def receipt(self, agent_id: str, envelope_id: str, status: str) -> None:
        """A recipient has answered."""
        if status != "progress":
            self._end(agent_id, envelope_id, None if status == "ack" else status)

    def detached(self, agent_id: str) -> None:
        """A recipient has lost its connection: what was on its way comes again."""
        for one, envelope_id in [key for key in self._deliveries if key[0] == agent_id]:
            self._end(one, envelope_id, "connection_lost")

    def _end(self, agent_id: str, envelope_id: str, error: str | None) -> None:
        span = self._deliveries.pop((agent_id, envelope_id), None)
        if span is not None:
            self._tracing.end(span, error)
