"""What is to happen to a channel, together or not at all, and the stamp that the hub puts on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from ..records import ChannelMetadata, Envelope
from .expectations.firings import Firings

__all__ = ["Plan", "Stamp"]


@attrs.frozen
class Stamp:
    """
    What the hub adds to an envelope that it accepts.

    Attributes:
        mint: Makes envelope ids that increase.
        created_at: The time of acceptance, as the wire writes it.
    """

    mint: Callable[[], str]
    created_at: str

    def put_on(self, envelope: Envelope) -> Envelope:
        """Return `envelope` with its id and time."""
        # Field by field: `attrs.evolve` takes three times as long to find out which there are.
        return Envelope(
            channel_id=envelope.channel_id,
            sender_id=envelope.sender_id,
            audience=envelope.audience,
            event_type=envelope.event_type,
            event_data=envelope.event_data,
            envelope_id=self.mint(),
            task_id=envelope.task_id,
            causation_id=envelope.causation_id,
            trace_id=envelope.trace_id,
            priority=envelope.priority,
            depth=envelope.depth,
            idempotency_key=envelope.idempotency_key,
            created_at=self.created_at,
            ttl_seconds=envelope.ttl_seconds,
        )


@attrs.frozen
class Plan:
    """
    What is to happen to a channel, together or not at all.

    Attributes:
        envelopes: To be appended, in this order.
        metadata: The channel's metadata afterwards.
        state: The adapter's folded state afterwards.
        duplicate_of: The post was made before, under this envelope id: nothing is to happen.
        firings: What has come of the channel's expectations afterwards; None where that is as it
            was.
    """

    envelopes: tuple[Envelope, ...]
    metadata: ChannelMetadata
    state: Any
    duplicate_of: str | None = None
    firings: Firings | None = None

    @property
    def is_duplicate(self) -> bool:
        """Whether nothing is to happen, because it has."""
        return self.duplicate_of is not None
