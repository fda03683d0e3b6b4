"""Two hubs over real sockets, joined with each other, and agents at both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio

from trio_hub import (
    AgentClient,
    DeliveryPolicy,
    Envelope,
    Federation,
    Hub,
    HubClient,
    HubLimits,
    HubListener,
    KnowledgeStore,
    MemoryKnowledgeStore,
    Passport,
    Peer,
    Turn,
    WsLink,
    serve_ws,
)
from trio_hub.links.base import Link
from trio_hub.protocol.backoff import Backoff
from trio_hub.records import EV_TEXT, KeptLetter

PATIENCE_SECONDS = 20.0
QUICK = Backoff(base=0.01, cap=0.05)

Answer = Callable[[Turn], Awaitable[Any]]


async def silence(_turn: Turn) -> None:
    """Say nothing."""


async def shout(turn: Turn) -> str:
    """Answer in capitals."""
    return turn.text.upper()


class _News(HubListener):
    """Wakes whoever waits for something to happen at a hub."""

    def __init__(self) -> None:
        self.event = trio.Event()

    def _ring(self) -> None:
        self.event.set()
        self.event = trio.Event()

    async def on_agent_event(self, *_: Any) -> None:
        self._ring()

    async def on_channel_event(self, *_: Any) -> None:
        self._ring()

    async def on_envelope_posted(self, *_: Any) -> None:
        self._ring()

    async def on_dead_letter(self, letter: KeptLetter) -> None:
        self._ring()


class Town:
    """One hub, served on a socket, with its federation and a client for its agents."""

    def __init__(self, name: str, hub: Hub, url: str, news: _News) -> None:
        self.name, self.hub, self.url = name, hub, url
        self.client: HubClient
        self.federation: Federation
        self._news = news

    async def agent(self, name: str, answer: Answer = silence) -> AgentClient:
        return await self.client.register(answer, Passport(name=name))

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so that comes with an event of the hub."""
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                news = self._news.event
                if condition():
                    return
                await news.wait()

    async def knows(self, *names: str) -> None:
        await self.until(lambda: all(self.hub.find_agent_id(it) for it in names))

    def texts(self, channel_id: str) -> Awaitable[list[str]]:
        """Return what was said in a channel, as this hub has it."""
        return self._texts(channel_id)

    async def _texts(self, channel_id: str) -> list[str]:
        if self.hub.find_channel(channel_id) is None:
            return []
        log = await self.hub.read_wal(channel_id)
        return [it.text for it in log if it.event_type == EV_TEXT]

    @property
    def letters(self) -> list[KeptLetter]:
        return list(self.hub.list_dead_letters(None).letters)


@asynccontextmanager
async def town(
    name: str,
    *,
    store: KnowledgeStore | None = None,
    port: int = 0,
    peers: dict[str, Link] | None = None,
    exports: tuple[str, ...] = ("*",),
    imports: tuple[str, ...] = ("*",),
    **options: Any,
) -> AsyncIterator[Town]:
    """Open one hub; without peers, it is joined with others later."""
    news = _News()
    policy = DeliveryPolicy(backoff=QUICK)
    async with (
        Hub.open(
            store if store is not None else MemoryKnowledgeStore(),
            delivery=policy,
            listeners=[news],
            **options,
        ) as hub,
        serve_ws(hub, "127.0.0.1", port) as server,
    ):
        opened = Town(name, hub, server.url, news)
        async with AsyncExitStack() as stack:
            if peers is not None:
                opened.federation = await stack.enter_async_context(
                    joined(opened, peers, exports=exports, imports=imports)
                )
            opened.client = await stack.enter_async_context(HubClient(WsLink(server.url)))
            yield opened


@asynccontextmanager
async def joined(
    at: Town,
    peers: dict[str, Link],
    *,
    exports: tuple[str, ...] = ("*",),
    imports: tuple[str, ...] = ("*",),
    **options: Any,
) -> AsyncIterator[Federation]:
    """Join a hub with others."""
    async with Federation.open(
        at.hub,
        at.name,
        [Peer(name=it, link=link, exports=exports, imports=imports) for it, link in peers.items()],
        allow_unauthenticated=True,
        backoff=QUICK,
        **options,
    ) as federation:
        yield federation


@asynccontextmanager
async def two_towns(
    *, limits: HubLimits | None = None, **east_lists: tuple[str, ...]
) -> AsyncIterator[tuple[Town, Town]]:
    """East and west, each with a line to the other that is up. Limits and lists are east's."""
    async with (
        town("east", limits=limits) as east,
        town("west") as west,
        joined(east, {"west": WsLink(west.url)}, **east_lists) as east.federation,
        joined(west, {"east": WsLink(east.url)}) as west.federation,
    ):
        with trio.fail_after(PATIENCE_SECONDS):
            await east.federation.wait_up("west")
            await west.federation.wait_up("east")
        yield east, west


async def heard(agent: AgentClient, channel_id: str, text: str) -> Envelope:
    """Wait until an agent has got a text."""
    return await agent.wait_for_channel_event(
        channel_id=channel_id,
        predicate=lambda it: it.event_type == EV_TEXT and it.text == text,
        timeout=PATIENCE_SECONDS,
    )
