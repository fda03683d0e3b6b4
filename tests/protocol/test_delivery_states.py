"""The table of what may become of a delivery."""

from __future__ import annotations

import pytest

from trio_hub.protocol.delivery_states import DELIVERY, DeliveryEvent, DeliveryState, next_state


@pytest.mark.parametrize("event", DeliveryEvent)
@pytest.mark.parametrize("state", DeliveryState)
def test_every_event_is_legal_in_a_state_or_named_as_illegal(
    state: DeliveryState, event: DeliveryEvent
) -> None:
    if event in DELIVERY[state]:
        assert next_state(state, event) is DELIVERY[state][event]
    else:
        with pytest.raises(AssertionError, match=f"that is {state} cannot {event}"):
            next_state(state, event)


def test_every_state_has_a_row_and_the_final_ones_lead_nowhere() -> None:
    assert set(DELIVERY) == set(DeliveryState)
    assert [state for state, row in DELIVERY.items() if not row] == [
        DeliveryState.SETTLED,
        DeliveryState.DEAD,
    ]


def test_every_state_is_reached_from_the_first() -> None:
    reached = {DeliveryState.UNSENT}
    for _ in DeliveryState:
        reached |= {after for state in reached for after in DELIVERY[state].values()}
    assert reached == set(DeliveryState)


def test_only_a_failure_makes_a_dead_letter_and_only_from_in_flight() -> None:
    assert [
        (state, event)
        for state, row in DELIVERY.items()
        for event, after in row.items()
        if after is DeliveryState.DEAD
    ] == [(DeliveryState.IN_FLIGHT, DeliveryEvent.EXHAUST)]
