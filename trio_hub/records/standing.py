"""How far an envelope has come on its way to one of those it is for."""

from __future__ import annotations

import attrs

__all__ = ["DeliveryStanding"]


@attrs.frozen(kw_only=True)
class DeliveryStanding:
    """
    One recipient of an envelope.

    Attributes:
        state: ``unsent``; ``in flight``: the recipient has it, perhaps behind older ones;
            ``waiting`` for another attempt after failures; ``settled``: handled, whether or not
            anything was said to it; ``dead``: given up; ``far``: the recipient lives beyond this
            hub, which knows no more.
        is_connected: Whether the recipient is connected now.
        attempt: How often it was sent, in this connection.
    """

    agent_id: str
    state: str
    is_connected: bool = False
    attempt: int = 0
