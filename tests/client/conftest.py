"""A client on a scripted hub."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from trio_hub.client import HubClient
from trio_hub.links import LocalLink
from trio_hub.wire.frames import Dialect

from .scripted_hub import PeerConnection, ScriptedHub

Connect = Callable[..., AbstractAsyncContextManager[tuple[HubClient, PeerConnection]]]


@pytest.fixture
def hub() -> ScriptedHub:
    return ScriptedHub()


@pytest.fixture
def connect(hub: ScriptedHub) -> Connect:
    """Open a client and give it to the test together with the hub's end of its connection."""

    @asynccontextmanager
    async def connect(
        dialect: Dialect = Dialect.BATCHED, **options: Any
    ) -> AsyncIterator[tuple[HubClient, PeerConnection]]:
        async with HubClient(LocalLink(hub, dialect=dialect), **options) as client:
            yield client, await hub.accepted()

    return connect
