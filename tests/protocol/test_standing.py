"""Where one record stands for one recipient, all the way."""

from __future__ import annotations

from trio_hub.protocol.delivery_states import DeliveryState
from trio_hub.protocol.standing import standing

from .test_inbox import Logs


def test_an_envelope_is_followed_from_the_log_to_its_receipt() -> None:
    logs = Logs(attached=False)
    logs.grow("a", "xx")
    assert standing(logs.inbox, "a", 1) == (DeliveryState.UNSENT, 0)
    logs.inbox.attach()
    assert logs.sent() == ["a0", "a1"]
    assert standing(logs.inbox, "a", 1) == (DeliveryState.IN_FLIGHT, 1)
    assert logs.inbox.nack("a", "a1", logs.now)
    assert standing(logs.inbox, "a", 1) == (DeliveryState.UNSENT, 1)
    assert logs.sent() == ["a1"]
    assert logs.inbox.nack("a", "a1", logs.now)
    assert standing(logs.inbox, "a", 1) == (DeliveryState.WAITING, 2)
    logs.ack("a1")
    # Out of order, so no cursor has passed it.
    assert standing(logs.inbox, "a", 0) == (DeliveryState.IN_FLIGHT, 1)
    assert standing(logs.inbox, "a", 1) == (DeliveryState.SETTLED, 0)
    logs.ack("a0")
    assert standing(logs.inbox, "a", 0) == (DeliveryState.SETTLED, 0)


def test_of_a_channel_that_was_left_there_is_nothing_to_say() -> None:
    logs = Logs()
    logs.grow("a", "x")
    logs.inbox.forget("a")
    assert standing(logs.inbox, "a", 0) is None
