"""
The numbers that delivery goes by, each with its reason.

They are the hub's defaults; a rule may override `max_in_flight` and `max_attempts` for one
recipient, which is why every inbox is given a policy of its own.
"""

from __future__ import annotations

import attrs

from .backoff import Backoff

__all__ = ["DeliveryPolicy"]


@attrs.frozen(kw_only=True)
class DeliveryPolicy:
    """
    How one recipient is delivered to.

    Attributes:
        max_in_flight: Envelopes held in memory and unsettled at any moment, over all channels of
            the recipient. It bounds what a stalled reader costs, and must cover the envelopes
            that fit into one round trip: 256 keep 10,000 per second busy at 25 ms. (NATS
            JetStream: 1,000 pending acks; AMQP clients: 250 prefetched.)
        max_attempts: Failures after which an envelope becomes a dead letter; 0 means never. Five
            outlast a restart of whatever the handler depends on; a poisonous envelope still gets
            out of the way within a minute.
        ack_wait_seconds: Silence after which a delivery counts as failed. Long, because an
            agent's turn may take minutes and must not be handed out twice meanwhile.
        backoff: The waits from an envelope's second failure on (the first is retried at once).
        page_records: Records asked for in one read of a log. Large enough to spread the cost of
            a query, small enough that a page is never felt by anybody else.
        share: How greedy one channel may be: it may hold up to `share` times as many envelopes
            as there are free slots (less `reserve`). One that hangs so leaves room for others.
    """

    max_in_flight: int = attrs.field(
        default=256, validator=attrs.validators.ge(1), metadata={"unit": "envelopes"}
    )
    max_attempts: int = attrs.field(
        default=5, validator=attrs.validators.ge(0), metadata={"unit": "failures"}
    )
    ack_wait_seconds: float = attrs.field(
        default=1800.0, validator=attrs.validators.gt(0), metadata={"unit": "seconds"}
    )
    backoff: Backoff = attrs.field(factory=Backoff)
    page_records: int = attrs.field(
        default=64, validator=attrs.validators.ge(1), metadata={"unit": "envelopes"}
    )
    share: int = attrs.field(
        default=8, validator=attrs.validators.ge(1), metadata={"unit": "times what is free"}
    )

    @property
    def reserve(self) -> int:
        """Slots that only channels that hold nothing may take, one each, so that none is shut out."""
        return self.max_in_flight // 16

    @property
    def low_water(self) -> int:
        """Free slots from which a channel that is being worked off is worth another read."""
        return max(1, min(self.page_records, self.max_in_flight // 4))

    def allowance(self, held: int, free: int) -> int:
        """
        Return how many more envelopes a channel that holds `held` may take of `free` slots.

        The threshold moves with what is left (Choudhury and Hahne's dynamic threshold, as in
        the shared buffers of network switches), so no table of channels is needed. Of 256 slots
        a lone channel gets 214, a second 23 when that one hangs, and sixteen newcomers one each.
        """
        # The largest n for which held + i < share * (free - reserve - i) holds for every i < n.
        more = -(-(self.share * (free - self.reserve) - held) // (self.share + 1))
        return max(more, 0 if held else 1) if free > 0 else 0
