"""
How one agent is delivered to, where the hub's own numbers do not suit it.

A record of its own beside `Rule`: what peers of other makes read as a rule has a fixed set of
fields.
"""

from __future__ import annotations

import attrs

__all__ = ["DeliveryRule"]


@attrs.frozen(kw_only=True)
class DeliveryRule:
    """
    What of a hub's `DeliveryPolicy` is different for one agent.

    Attributes:
        max_attempts: Failures after which an envelope becomes a dead letter; 0 means never, None
            is the hub's own number.
    """

    version: int = 1
    max_attempts: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.ge(0))
    )
