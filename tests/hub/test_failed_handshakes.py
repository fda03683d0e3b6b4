"""Whoever fails to come in is counted, and fills neither the disk nor anybody's queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_hub import HubListener
from trio_hub.links.handshakes import HandshakeFailure

from .peer import House, open_house


class Listener(HubListener):
    def __init__(self) -> None:
        self.told: list[Mapping[str, Any]] = []

    async def on_connection_event(
        self, connection_id: str, kind: str, payload: Mapping[str, Any]
    ) -> None:
        if kind == "handshakes_failed":
            self.told.append(payload)


async def summaries(house: House) -> list[Mapping[str, Any]]:
    page = await house.hub.audit.query(kind="handshakes_failed", limit=1_000)
    return [record.details for record in page.records]


def knock(house: House, number: int, failure: HandshakeFailure = HandshakeFailure.NO_TLS) -> None:
    """Fail from one of 65,536 addresses."""
    house.hub.handshake_failed(f"10.0.{number // 256}.{number % 256}:4711", failure)


async def test_a_flood_is_one_record_a_minute(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="trio_hub")
    listener = Listener()
    async with open_house(listeners=[listener]) as house:
        for number in range(5_000):
            knock(house, number % 2_000)
        knock(house, 7, HandshakeFailure.TOO_SLOW)
        assert await summaries(house) == []
        assert house.hub.figures().handshakes_failed == {"no_tls": 5_000, "too_slow": 1}
        await trio.sleep(60.1)
        (summary,) = await summaries(house)
        assert summary["reasons"] == {"no_tls": 5_000, "too_slow": 1}
        assert len(summary["addresses"]) == 10
        assert summary["addresses"]["10.0.0.7"] == 4
        assert sum(summary["addresses"].values()) + summary["elsewhere"] == 5_001
        assert listener.told == [summary]
        lines = [it for it in caplog.records if it.getMessage().startswith("handshake")]
        assert len(lines) == 10 + 1
        # A quiet minute leaves nothing, and the next one that is not begins anew.
        await trio.sleep(120)
        assert len(await summaries(house)) == 1
        knock(house, 1)
        await trio.sleep(60.1)
        assert (await summaries(house))[1]["reasons"] == {"no_tls": 1}
        assert house.hub.figures().handshakes_failed["no_tls"] == 5_001


async def test_a_hub_that_drains_sums_up_what_it_has(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        knock(house, 1)
        await house.hub.drain()
        (summary,) = await summaries(house)
        assert summary["addresses"] == {"10.0.0.1": 1}
        # The minute that had begun ends without another record.
        knock(house, 2)
        await trio.sleep(59)
        await house.hub.drain()
        await trio.sleep(120)
        assert [it["addresses"] for it in (await summaries(house))[1:]] == [{"10.0.0.2": 1}]


@pytest.mark.parametrize(
    "failure",
    [HandshakeFailure.SAID_NOTHING, HandshakeFailure.CERTIFICATE, HandshakeFailure.CREDENTIAL],
)
async def test_what_has_a_record_of_its_own_or_tries_nothing_is_only_counted(
    failure: HandshakeFailure, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        knock(house, 1, failure)
        await trio.sleep(120)
        assert house.hub.figures().handshakes_failed == {failure.value: 1}
        assert await summaries(house) == []
