"""One envelope in a ledger's window."""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

from .delivery_states import DeliveryState

__all__ = ["Entry"]

PayloadT = TypeVar("PayloadT")

_UNSENT = DeliveryState.UNSENT


@attrs.define(eq=False)
class Entry(Generic[PayloadT]):
    """
    One envelope in the window. Read it; only its ledger writes it.

    Attributes:
        attempt: How often it was sent; the handler is shown this number.
        failures: Nacks and silences. Only these count towards `max_attempts`: a connection that
            was cut is nobody's fault.
        due: While it waits: when it may be sent again.
        expires: When it need not be sent any more; None: at no time.
    """

    position: int
    envelope_id: str
    payload: PayloadT = attrs.field(repr=False)
    state: DeliveryState = _UNSENT
    attempt: int = 0
    failures: int = 0
    due: float = 0.0
    expires: float | None = None
