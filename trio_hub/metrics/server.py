"""
``/metrics``, ``/healthz`` and ``/readyz``, on a port of their own.

The two answers about health are for two readers. ``/healthz`` says whether the hub can do its
work at all: where it cannot, restarting it may help. ``/readyz`` says whether to send it new
work: a hub that drains is healthy and not ready.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from .._logging import get_logger
from .._nursery import open_plain_nursery
from ..errors import StoreError
from ..hub import Hub
from .http import HttpLimits, Request, Response, serve_http

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from .collector import HubCollector

__all__ = ["MetricsServer", "serve_metrics"]

log = get_logger(__name__)

# A disk that takes longer for a commit keeps nobody's post in time.
_PROBE_SECONDS = 5.0


@asynccontextmanager
async def serve_metrics(
    hub: Hub, host: str = "127.0.0.1", port: int = 0, *, limits: HttpLimits | None = None
) -> AsyncIterator[MetricsServer]:
    """
    Serve a hub's metrics and health over HTTP for as long as the block lasts.

    Whoever reaches the port can read them; they name agents and channels by id at most. Keep it
    inside the block of `Hub.open`.

    Args:
        hub: An open hub.
        host: The address to bind.
        port: 0 takes a free one; read it back from the server.
        limits: What peers may cost.

    Raises:
        ImportError: prometheus-client is not installed.
        OSError: The port cannot be bound.

    Cancellation: requests under way get no answer.
    """
    registry, collector = _make_registry(hub)
    listeners = await trio.open_tcp_listeners(port, host=host)
    server = MetricsServer(hub, registry, collector, listeners)
    async with open_plain_nursery() as nursery:
        nursery.start_soon(
            serve_http, listeners, server.answer, limits if limits is not None else HttpLimits()
        )
        log.info("serving metrics", url=server.url)
        try:
            yield server
        finally:
            nursery.cancel_scope.cancel()


class MetricsServer:
    """A running server, as `serve_metrics` gives it."""

    def __init__(
        self,
        hub: Hub,
        registry: CollectorRegistry,
        collector: HubCollector,
        listeners: list[trio.SocketListener],
    ) -> None:
        self._hub = hub
        self._collector = collector
        #: Add collectors of your own to it; they are asked in the hub's thread.
        self.registry = registry
        self._address = listeners[0].socket.getsockname()
        self._surveying = trio.Lock()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._address[1]
        return port

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        host = f"[{self._address[0]}]" if ":" in self._address[0] else self._address[0]
        return f"http://{host}:{self.port}"

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        match request.path:
            case "/metrics":
                return await self._metrics(request.accept)
            case "/healthz":
                return await self._health(for_new_work=False)
            case "/readyz":
                return await self._health(for_new_work=True)
        paths = "/metrics, /healthz and /readyz"
        return Response.of_json(404, {"ok": False, "error": f"there is {paths}"})

    async def _metrics(self, accept: str) -> Response:
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        # Many who ask at once cost no more than one at a time.
        async with self._surveying:
            await self._collector.survey()
            return Response(200, encode(self.registry), content_type)

    async def _health(self, *, for_new_work: bool) -> Response:
        problem = await self._problem()
        health = self._hub.health()
        wrong = [] if problem is None else [problem]
        if for_new_work and health.closing:
            wrong.append("the hub is closing")
        document: dict[str, Any] = {**health.as_dict(), "ok": not wrong, "wrong": wrong}
        return Response.of_json(503 if wrong else 200, document)

    async def _problem(self) -> str | None:
        """Say why posts are not kept, or return None. The store's last word is not old news."""
        with trio.move_on_after(_PROBE_SECONDS):
            try:
                await self._hub.probe()
            except StoreError as error:
                return f"the store keeps nothing: {error.message}"
            if self._hub.health().store.ok:
                return None
            return "the store says that its last commit failed"
        return f"a commit takes more than {_PROBE_SECONDS:g} s"


def _make_registry(hub: Hub) -> tuple[CollectorRegistry, HubCollector]:
    try:
        from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

        from .collector import HubCollector
    except ImportError as error:
        raise ImportError("metrics need prometheus-client: install trio_hub[metrics]") from error
    registry = CollectorRegistry()
    collector = HubCollector(hub)
    registry.register(collector)
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return registry, collector
