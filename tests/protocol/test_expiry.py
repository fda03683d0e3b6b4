"""When an envelope expires."""

from __future__ import annotations

import pytest

from trio_hub.protocol.expiry import expires_at
from trio_hub.records import EV_TEXT, Envelope

ACCEPTED_AT = 1_700_000_000.0
ENVELOPE_ID = f"{int(ACCEPTED_AT * 1000):012x}{'0' * 20}"


def envelope(ttl: float | None, created_at: str = "2023-11-14T22:13:20+00:00") -> Envelope:
    return Envelope(
        channel_id="c",
        sender_id="s",
        event_type=EV_TEXT,
        event_data={},
        envelope_id=ENVELOPE_ID,
        created_at=created_at,
        ttl_seconds=ttl,
    )


@pytest.mark.parametrize("ttl", [None, 0, -1, -1e300])
def test_without_a_ttl_above_0_it_never_does(ttl: float | None) -> None:
    assert expires_at(envelope(ttl)) is None


@pytest.mark.parametrize("ttl", [1, 0.25, 86_400])
def test_a_ttl_counts_from_when_the_hub_accepted_it(ttl: float) -> None:
    assert expires_at(envelope(ttl)) == ACCEPTED_AT + ttl


@pytest.mark.parametrize("created_at", ["", "yesterday"])
def test_where_no_time_is_said_the_id_says_it(created_at: str) -> None:
    assert expires_at(envelope(5, created_at)) == ACCEPTED_AT + 5


@pytest.mark.parametrize("ttl", [10**400, 1e308])
def test_a_ttl_beyond_all_dates_is_no_error(ttl: float) -> None:
    date = expires_at(envelope(ttl))
    assert date is not None
    assert date > ACCEPTED_AT + 1e14
