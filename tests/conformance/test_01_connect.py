"""Connecting: heartbeats, names, and the one connection that bears one."""

from __future__ import annotations

from .conftest import OpenHouse


async def test_a_ping_is_answered_at_once_before_anything_else(hub_house: OpenHouse) -> None:
    async with hub_house() as house:
        peer = await house.peer()
        peer.send("ping")
        assert await peer.expect("pong") == {"kind": "pong"}
        peer.send("pong")
        assert await peer.quiet() == []


async def test_a_hello_is_welcomed_with_the_hubs_time(hub_house: OpenHouse) -> None:
    async with hub_house(clock=lambda: 1_767_225_600.0) as house:
        first = await house.join("alice")
        first.cut()
        await first.gone()
        peer = await house.peer()
        welcome = await peer.hello("alice")
        assert welcome["hub_time"] == "2026-01-01T00:00:00+00:00"
        assert welcome["endpoint_id"]


async def test_a_hello_of_an_unknown_name_is_an_error_and_may_be_followed_by_a_register(
    hub_house: OpenHouse,
) -> None:
    async with hub_house() as house:
        peer = await house.peer()
        peer.send("hello", name="alice")
        assert (await peer.expect("error"))["code"] == "not_found"
        await peer.register("alice")


async def test_the_later_of_two_connections_bears_the_name(hub_house: OpenHouse) -> None:
    async with hub_house() as house:
        first = await house.join("alice")
        await house.back("alice")
        assert (await first.expect("error"))["code"] == "taken_over"
