"""A hub beside a server of models, and what tests of providers need around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from trio_hub import (
    DeliveryPolicy,
    Hub,
    HubClient,
    HubListener,
    LocalLink,
    MemoryKnowledgeStore,
)
from trio_hub.client import Turn

from .apis import Api
from .model_server import ModelServer, Reply, model_server

__all__ = ["LEFT_TO_THE_COLLECTOR", "Failures", "HubOfModels", "opened_hub", "silent"]

#: The SDKs close a stream's response at its end, and leave their own generators over it to the
#: garbage collector.
LEFT_TO_THE_COLLECTOR = pytest.mark.filterwarnings(
    "ignore:Async generator .* was garbage collected:ResourceWarning"
)


async def silent(_turn: Turn) -> None:
    return None


class Failures(HubListener):
    """What hubs are told of turns that failed."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.failed = trio.Event()

    async def on_turn_failed(self, *about: Any) -> None:
        self.reasons.append(str(about))
        self.failed.set()


@attrs.frozen
class HubOfModels:
    """A hub with a client, and a server of models with the SDK of its provider."""

    hub: Hub
    client: HubClient
    server: ModelServer
    sdk: Any


@asynccontextmanager
async def opened_hub(
    api: Api, *script: Reply, listener: HubListener | None = None
) -> AsyncIterator[HubOfModels]:
    """Open them; the models answer by the script."""
    async with (
        model_server(*script) as server,
        api.client(server.url) as sdk,
        Hub.open(
            MemoryKnowledgeStore(),
            listeners=[listener] if listener is not None else [],
            delivery=DeliveryPolicy(max_attempts=2),
        ) as hub,
        HubClient(LocalLink(hub)) as client,
    ):
        yield HubOfModels(hub, client, server, sdk)
