"""What is listed: in order, in pieces, so many at most, and never more than an answer holds."""

from __future__ import annotations

from typing import Any

import pytest

from trio_hub import HubLimits, LinkLimits, MemoryKnowledgeStore
from trio_hub.errors import ProtocolError, TooLarge
from trio_hub.hub.log_reader import RECORDS_AT_ONCE
from trio_hub.testing import FaultyStore
from trio_hub.wire.frames import Dialect

from .peer import Peer, open_house

AGENTS = 600  # More than are looked at at once, twice over.


def names(listed: list[dict[str, Any]]) -> list[str]:
    return [it["name"] for it in listed]


async def pages(peer: Peer, op: str, place: Any, **params: Any) -> list[dict[str, Any]]:
    """Read a list to its end, page by page."""
    found: list[dict[str, Any]] = []
    while page := await peer.request(op, **params):
        found += page
        params["after"] = place(page[-1])
    return found


async def test_many_agents_are_listed_in_order_and_to_the_last_one() -> None:
    async with open_house(limits=HubLimits(agents_per_answer_max=70)) as house:
        alice = await house.peer()
        registered = [f"agent-{number * 7919 % AGENTS:03}" for number in range(AGENTS)]
        for name in registered:
            await alice.register(name)
        everybody = await pages(alice, "list_agents", lambda it: it["agent_id"], limit=100)
        assert names(everybody) == registered
        first = await alice.request("list_agents", sort_by="name", limit=3)
        assert names(first) == ["agent-000", "agent-001", "agent-002"]
        of_them = await alice.request("list_agents", query="AGENT-59", sort_by="name")
        assert names(of_them) == [f"agent-59{number}" for number in range(10)]
        earliest = await alice.request("list_agents", sort_by="created_at", limit=5)
        assert names(earliest) == registered[:5]
        assert await alice.request("list_agents", limit=0) == []


@pytest.mark.parametrize(
    ("op", "params"),
    [
        ("list_agents", {"sort_by": "age"}),
        ("list_agents", {"sort_by": "name", "after": "x"}),
        ("list_channels", {"after": "nowhere"}),
    ],
)
async def test_an_order_that_there_is_not_is_refused(op: str, params: dict[str, Any]) -> None:
    async with open_house() as house:
        alice = await house.join("alice")
        with pytest.raises(ProtocolError, match=r"sort_by|after"):
            await alice.request(op, **params)


async def test_channels_are_listed_once_each_and_those_that_ended_can_be_left_out() -> None:
    async with open_house() as house:
        alice = await house.peer()
        for name in ("alice", "bob"):
            await alice.register(name)
        bob = alice.ids["bob"]
        opened = []
        for _ in range(5):
            metadata = await alice.request(
                "create_channel",
                creator_id=alice.ids["alice"],
                manifest_type="conversation",
                participants=[bob],
            )
            opened.append(metadata["channel_id"])
        for channel_id in opened[:3]:
            await alice.request("close_channel", channel_id=channel_id)

        def place(it: dict[str, Any]) -> str:
            return f"{it['created_at']} {it['channel_id']}"

        listed = await pages(alice, "list_channels", place, limit=2)
        assert {it["channel_id"] for it in listed} == set(opened)
        assert len(listed) == 5
        going_on = await alice.request("list_channels", include_terminal=False, limit=2)
        assert {it["channel_id"] for it in going_on} == set(opened[3:])


async def test_of_a_long_log_no_more_is_read_than_can_be_answered() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    small = LinkLimits(message_bytes_max=40_000, plain_message_bytes_max=40_000)
    async with open_house(store, dialect=Dialect.PLAIN, link_limits=small) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        for number in range(300):
            await alice.say(channel_id, f"{number:03} {'x' * 1000}")
        read: list[int] = []
        read_page = store.read_page

        async def counted(path: str, start: int, stop: int, bytes_max: int) -> list[bytes]:
            records = await read_page(path, start, stop, bytes_max)
            read.append(len(records))
            return records

        store.read_page = counted  # type: ignore[method-assign]
        with pytest.raises(TooLarge, match="since and until"):
            await alice.request("read_wal", channel_id=channel_id)
        # The first portion was more than enough, and there are two more.
        assert read == [RECORDS_AT_ONCE]
        everything = await alice.request("read_wal", channel_id=channel_id, since=290, until=300)
        assert len(everything) == 10
        assert await alice.request("read_wal", channel_id=channel_id, since=1000) == []


async def test_a_list_that_is_too_large_for_an_answer_is_refused() -> None:
    small = LinkLimits(message_bytes_max=40_000, plain_message_bytes_max=10_000)
    async with open_house(dialect=Dialect.PLAIN, link_limits=small) as house:
        alice = await house.peer()
        for number in range(130):
            await alice.register(f"agent-{number}")
        with pytest.raises(TooLarge, match="limit"):
            await alice.request("list_agents", limit=None)
        assert len(await alice.request("list_agents", limit=10)) == 10
