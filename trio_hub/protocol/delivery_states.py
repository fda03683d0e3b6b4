"""
The life of one envelope in one recipient's window, as a table.

An envelope is *unsent* until its turn comes, then *in flight* until its receipt arrives. A
failure sends it back, at once or after *waiting*; one failure too many makes it *dead*. What is
*settled* or *dead* has left the window: those two are final.

Everything that changes a state goes through `DELIVERY`, and the manual prints the same table,
so that the two cannot drift. A missing key is an illegal event; `next_state` names it.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["DELIVERY", "DeliveryEvent", "DeliveryState", "next_state"]


class DeliveryState(StrEnum):
    """Where an envelope stands. Strings, because their hash is cached: tables are hot."""

    UNSENT = "unsent"
    IN_FLIGHT = "in flight"
    WAITING = "waiting"
    SETTLED = "settled"
    DEAD = "dead"


class DeliveryEvent(StrEnum):
    """What can happen to it."""

    SEND = "send"  # handed to the connection
    ACK = "ack"  # its receipt arrived, for this delivery or an earlier one
    PROGRESS = "progress"  # the handler is alive
    RETRY = "retry"  # failed for the first time: again at once
    BACK_OFF = "back off"  # failed again: later
    EXHAUST = "exhaust"  # failed once too often
    REPLAY = "replay"  # an older one failed, or the connection went: not its own fault
    EXPIRE = "expire"  # its time was over before it went out
    DROP = "drop"  # settled from outside: resumed past, dropped from a full inbox


_S, _E = DeliveryState, DeliveryEvent

#: State -> event -> next state.
DELIVERY: dict[DeliveryState, dict[DeliveryEvent, DeliveryState]] = {
    _S.UNSENT: {
        _E.SEND: _S.IN_FLIGHT,
        _E.ACK: _S.SETTLED,
        _E.REPLAY: _S.UNSENT,
        _E.EXPIRE: _S.SETTLED,
        _E.DROP: _S.SETTLED,
    },
    _S.IN_FLIGHT: {
        _E.ACK: _S.SETTLED,
        _E.PROGRESS: _S.IN_FLIGHT,
        _E.RETRY: _S.UNSENT,
        _E.BACK_OFF: _S.WAITING,
        _E.EXHAUST: _S.DEAD,
        _E.REPLAY: _S.UNSENT,
        # It waited for room on the connection.
        _E.EXPIRE: _S.SETTLED,
        _E.DROP: _S.SETTLED,
    },
    _S.WAITING: {
        _E.SEND: _S.IN_FLIGHT,
        _E.ACK: _S.SETTLED,
        # An older failure does not cut its wait short.
        _E.REPLAY: _S.WAITING,
        _E.EXPIRE: _S.SETTLED,
        _E.DROP: _S.SETTLED,
    },
    _S.SETTLED: {},
    _S.DEAD: {},
}


def next_state(state: DeliveryState, event: DeliveryEvent) -> DeliveryState:
    """
    Return the state after `event`.

    Raises:
        AssertionError: The event is illegal in that state, which is a mistake of this program.
    """
    after = DELIVERY[state].get(event)
    assert after is not None, f"an envelope that is {state} cannot {event}"
    return after
