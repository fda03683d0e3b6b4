"""What the rule of an agent limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from trio_hub import HubListener, InboxBlock, LimitsBlock, RateBlock, Rule
from trio_hub.errors import AccessDeniedError, InboxFull, RateLimited

from ..hub.peer import House, Peer, open_house
from .hub_cases import hub_time, observes
from .registry import case


class Pressure(HubListener):
    def __init__(self) -> None:
        self.heard: list[int] = []

    async def on_inbox_pressure(self, agent_id: str, pending: int, cap: int) -> None:
        self.heard.append(pending)


@asynccontextmanager
async def limited(
    *listeners: HubListener, **limits: Any
) -> AsyncIterator[tuple[House, Peer, Peer]]:
    """Let Alice and Bob in, both of whom such a rule holds for."""
    rule = Rule(limits=LimitsBlock(**limits))
    async with open_house(clock=hub_time, listeners=listeners) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        for peer in (alice, bob):
            await house.hub.set_rule(peer.id, rule)
        yield house, alice, bob


@case(LimitsBlock, "max_concurrent_channels")
async def channels() -> None:
    async with limited(max_concurrent_channels=2) as (_, alice, bob):
        first = await alice.open("conversation", bob)
        await alice.open("conversation", bob)
        with pytest.raises(AccessDeniedError):
            await alice.open("conversation", bob)
        await alice.request("close_channel", channel_id=first)
        await alice.open("conversation", bob)


@case(LimitsBlock, "max_concurrent_tasks")
async def tasks() -> None:
    async with limited(max_concurrent_tasks=2) as (_, alice, _bob):
        for number in range(2):
            await observes(alice, number, "running")
        with pytest.raises(AccessDeniedError):
            await observes(alice, 2, "running")
        await alice.request("update_task", task_id="t0", state="completed")
        await observes(alice, 2, "running")


@case(LimitsBlock, "channel_ttl_default", virtual=True)
async def channel_ttl() -> None:
    async with limited(channel_ttl_default="100s") as (house, alice, bob):
        channel_id = await alice.open("conversation", bob)
        await trio.sleep(99)
        assert house.hub.get_channel(channel_id).state == "active"
        await trio.sleep(2)
        assert house.hub.get_channel(channel_id).state == "expired"


@case(LimitsBlock, "task_ttl_default", virtual=True)
async def task_ttl() -> None:
    async with limited(task_ttl_default="100s") as (_, alice, _bob):
        await observes(alice, 0, "running")
        for seconds in (99, 2):
            await trio.sleep(seconds)
            assert (await alice.request("get_task", task_id="t0"))["state"] == "running"
        rule = await alice.request("get_rule", agent_id=alice.id)
        assert rule["limits"]["task_ttl_default"] == "100s"


@case(LimitsBlock, "delegation_depth")
async def delegation_depth() -> None:
    async with limited(delegation_depth=2) as (_, alice, bob):
        channel_id = await alice.open("conversation", bob)
        await alice.say(channel_id, "deep", depth=2)
        with pytest.raises(AccessDeniedError):
            await alice.say(channel_id, "deeper", depth=3)


@case(RateBlock, "burst", virtual=True)
async def burst() -> None:
    async with limited(rate=RateBlock(per_minute=60, burst=2)) as (_, alice, bob):
        channel_id = await alice.open("conversation", bob)
        for _ in range(2):
            await alice.say(channel_id, "at once")
        with pytest.raises(RateLimited):
            await alice.say(channel_id, "one more")


@case(RateBlock, "per_minute", virtual=True)
async def per_minute() -> None:
    async with limited(rate=RateBlock(per_minute=60, burst=1)) as (_, alice, bob):
        channel_id = await alice.open("conversation", bob)
        await alice.say(channel_id, "first")
        await trio.sleep(0.99)
        with pytest.raises(RateLimited):
            await alice.say(channel_id, "too soon")
        await trio.sleep(0.02)
        await alice.say(channel_id, "second")


@case(InboxBlock, "max_pending")
async def max_pending() -> None:
    async with limited(inbox=InboxBlock(max_pending=2)) as (_, alice, bob):
        channel_id = await alice.open("conversation", bob)
        await bob.quiet()
        bob.acks = False
        for _ in range(2):
            await alice.say(channel_id, "waits")
        with pytest.raises(InboxFull):
            await alice.say(channel_id, "one more")


@case(InboxBlock, "high_water")
async def high_water() -> None:
    pressure = Pressure()
    async with limited(pressure, inbox=InboxBlock(max_pending=100, high_water=2)) as talk:
        _, alice, bob = talk
        channel_id = await alice.open("conversation", bob)
        await bob.quiet()
        bob.acks = False
        for heard in ([], [2], [2]):
            await alice.say(channel_id, "waits")
            await bob.quiet()
            assert pressure.heard == heard
