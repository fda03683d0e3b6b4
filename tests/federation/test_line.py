"""The line to a peer: when it is called, and that a restart does not make it forget."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio

from trio_hub import Federation, Hub, LocalLink, MemoryKnowledgeStore, Peer
from trio_hub.errors import ConnectionLost
from trio_hub.hub import paths
from trio_hub.links import LinkEndpoint
from trio_hub.protocol.backoff import Backoff

BACKOFF = Backoff(base=10.0, cap=1000.0)


class BadLink:
    """Leads nowhere until somebody mends it, and writes down when it was tried."""

    def __init__(self, hub: Hub | None = None) -> None:
        self.tried: list[float] = []
        self.hub = hub

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[LinkEndpoint]:
        self.tried.append(trio.current_time())
        if self.hub is None:
            raise ConnectionLost("nobody is there")
        async with LocalLink(self.hub).connect() as endpoint:
            yield endpoint


def calling(hub: Hub, link: BadLink, name: str = "east") -> AbstractAsyncContextManager[Federation]:
    return Federation.open(
        hub,
        name,
        [Peer(name="west" if name == "east" else "east", link=link, exports="*", imports="*")],
        allow_unauthenticated=True,
        clock=trio.current_time,
        rng=random.Random(7),
        backoff=BACKOFF,
    )


async def _tries(link: BadLink, count: int) -> None:
    while len(link.tried) < count:  # noqa: ASYNC110  virtual seconds
        await trio.sleep(0.1)


async def test_waits_go_on_over_a_restart_where_they_were(autojump_clock: object) -> None:
    store, first, second = MemoryKnowledgeStore(), BadLink(), BadLink()
    async with Hub.open(store) as hub, calling(hub, first) as federation:
        await _tries(first, 6)
        while federation.health()[0].failures < 6:  # noqa: ASYNC110  virtual seconds
            await trio.sleep(0.1)
        assert "nobody is there" in federation.health()[0].problem
    began = trio.current_time()
    async with Hub.open(store) as hub, calling(hub, second) as federation:
        await _tries(second, 1)
        waited = trio.current_time() - began
        assert federation.health()[0].failures >= 6
    # Seeded: the seventh wait is a long one.
    assert waited > BACKOFF.base


async def test_success_makes_failures_forgotten(autojump_clock: object) -> None:
    store, link = MemoryKnowledgeStore(), BadLink()
    async with (
        Hub.open(MemoryKnowledgeStore()) as west,
        calling(west, BadLink(), "west"),
        Hub.open(store) as hub,
        calling(hub, link) as federation,
    ):
        await _tries(link, 3)
        link.hub = west
        await federation.wait_up("west")
        while await store.exists(paths.dial("west")):  # noqa: ASYNC110  virtual seconds
            await trio.sleep(0.1)
        assert federation.health()[0].failures == 0


@pytest.mark.parametrize("kept", [b"no json", b'{"failures": -1}'])
async def test_state_that_cannot_be_read_is_none(kept: bytes, autojump_clock: object) -> None:
    store, link = MemoryKnowledgeStore(), BadLink()
    async with store:
        await store.write(paths.dial("west"), kept)
        async with Hub.open(store) as hub, calling(hub, link):
            await _tries(link, 1)
            assert trio.current_time() < 1.0
