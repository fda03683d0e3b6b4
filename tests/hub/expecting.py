"""Hubs whose expectations are watched, for the tests of expectations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from trio_hub import (
    KnowledgeStore,
)

from .peer import House, Peer, open_house
from .test_listeners import Diary


def clock() -> float:
    """A wall clock that goes as Trio's does, so that a virtual one turns both."""
    return 1_800_000_000.0 + trio.current_time()


def expect(name: str, handler: str, seconds: float, **fields: Any) -> dict[str, Any]:
    return {"name": name, "on_violation": handler, "params": {"seconds": seconds}, **fields}


@asynccontextmanager
async def watched(
    store: KnowledgeStore | None = None, **options: Any
) -> AsyncIterator[tuple[House, Diary]]:
    diary = Diary()
    async with open_house(store, clock=clock, listeners=[diary], **options) as house:
        yield house, diary


async def three(house: House, **options: Any) -> tuple[Peer, Peer, Peer]:
    alice, bob = await house.join("alice"), await house.join("bob")
    return alice, bob, await house.join("carol", **options)


def fired(diary: Diary) -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (expectation.name, expectation.on_violation, violation.violator_ids)
        for _, expectation, violation in diary.of("on_expectation_fired")
    ]


async def event_types(house: House, channel_id: str) -> list[str]:
    return [it.event_type for it in await house.hub.read_wal(channel_id)]
