"""What ends a turn: requests, the end of the channel, and time."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trio_hub.ids import iso_from_seconds
from trio_hub.protocol.turn_end import seconds_left, why_it_ends
from trio_hub.records import (
    EV_CHANNEL_CLOSED,
    EV_CHANNEL_EXPIRED,
    EV_CHANNEL_PARTICIPANT_HIDDEN,
    EV_TASK_CANCEL_REQUEST,
    EV_TEXT,
    Envelope,
)


def envelope(event_type: str, **fields: Any) -> Envelope:
    defaults: dict[str, Any] = {
        "channel_id": "c",
        "sender_id": "a",
        "envelope_id": "02",
        "event_data": {},
    }
    return Envelope(event_type=event_type, **(defaults | fields))


TRIGGER = envelope(EV_TEXT, envelope_id="01", task_id="t1")


def why(arrived: Envelope, **fields: Any) -> str | None:
    return why_it_ends(arrived, TRIGGER, reader_id="b", **fields)


@pytest.mark.parametrize(
    ("arrived", "expected"),
    [
        (envelope(EV_CHANNEL_CLOSED), "the channel was closed"),
        (envelope(EV_CHANNEL_EXPIRED), "the channel has expired"),
        (
            envelope(EV_CHANNEL_PARTICIPANT_HIDDEN, event_data={"participants": ["a", "b"]}),
            "it takes no part in the channel any more",
        ),
        (
            envelope(EV_TASK_CANCEL_REQUEST),
            "a cancelled all that goes on in the channel",
        ),
        (envelope(EV_TASK_CANCEL_REQUEST, event_data={"envelope_id": "01"}), "a cancelled it"),
        (envelope(EV_TASK_CANCEL_REQUEST, task_id="t1"), "a cancelled its task t1"),
        (envelope(EV_TASK_CANCEL_REQUEST, task_id="t2"), "a cancelled its task t2"),
    ],
)
def test_what_ends_it(arrived: Envelope, expected: str) -> None:
    assert why(arrived, task_ids={"t2"}) == expected


@pytest.mark.parametrize(
    "arrived",
    [
        envelope(EV_TEXT),
        envelope(EV_CHANNEL_CLOSED, channel_id="other"),
        envelope(EV_CHANNEL_CLOSED, envelope_id="00"),
        envelope(EV_CHANNEL_PARTICIPANT_HIDDEN, event_data={"participants": ["a"]}),
        envelope(EV_TASK_CANCEL_REQUEST, sender_id="b"),
        envelope(EV_TASK_CANCEL_REQUEST, task_id="t3"),
        envelope(EV_TASK_CANCEL_REQUEST, event_data={"envelope_id": "00"}),
    ],
)
def test_what_does_not(arrived: Envelope) -> None:
    assert why(arrived, task_ids={"t2"}) is None


def test_a_trigger_without_a_task_is_not_of_a_request_that_names_another_envelope() -> None:
    request = envelope(EV_TASK_CANCEL_REQUEST, event_data={"envelope_id": "00"})
    assert why_it_ends(request, envelope(EV_TEXT, envelope_id="01"), reader_id="b") is None


@pytest.mark.parametrize(
    ("ttl", "posted", "expires", "expected"),
    [
        (None, 1000, None, math.inf),
        (60, 1000, None, 50),
        (5, 1000, None, -5),
        # The clock here is behind the hub's: it is not stretched.
        (60, 1100, None, 60),
        (0, 1000, None, math.inf),
        (math.nan, 1000, None, math.inf),
        (60, 1000, 1030, 30),
        (None, 1000, 1030, 30),
        (None, None, 1030, math.inf),
        (60, None, None, 60),
    ],
)
def test_how_long_it_may_take(
    ttl: float | None, posted: float | None, expires: float | None, expected: float
) -> None:
    trigger = envelope(
        EV_TEXT,
        ttl_seconds=ttl,
        created_at="" if posted is None else iso_from_seconds(posted),
    )
    left = seconds_left(
        trigger,
        channel_expires_at=None if expires is None else iso_from_seconds(expires),
        now=1010,
    )
    assert left == expected


def test_a_time_that_cannot_be_read_is_none() -> None:
    trigger = envelope(EV_TEXT, ttl_seconds=60, created_at="yesterday")
    assert seconds_left(trigger, channel_expires_at="soon", now=1010) == 60
