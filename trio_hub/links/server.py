"""
Serving a hub over WebSocket.

One nursery holds every connection, and in it each connection has one of its own. What a peer
does wrong, from a port scan to half a TLS handshake, ends in that inner nursery.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from .._logging import get_logger
from .._nursery import open_plain_nursery
from ..errors import AuthError, NetworkError
from ..records import ClientCertificate, ConnectionFacts
from ._tcp import TcpStream
from ._tls import accept_tls, let_go_of_tls
from .address import address_of
from .base import EndpointServer
from .endpoint import Side
from .handshakes import HandshakeFailure, HandshakeWatcher, Opening
from .limits import LinkLimits, ServerLimits
from .transport import Transport, TransportName, choose_transport
from .upgrade import CertificateAuditor, Doorman
from .ws import WsLinkEndpoint

__all__ = ["WsServer", "serve_ws"]

_log = get_logger("trio_hub.links")

_WILDCARD_HOSTS = {None, "", "0.0.0.0", "::"}  # noqa: S104 - recognised, not bound


@asynccontextmanager
async def serve_ws(
    hub: EndpointServer,
    host: str | None,
    port: int,
    *,
    ssl_context: ssl.SSLContext | None = None,
    limits: LinkLimits | None = None,
    allow_unauthenticated: bool = False,
    server_limits: ServerLimits | None = None,
    max_connections: int | None = None,
    max_connections_per_address: int | None = None,
    transport: TransportName = "auto",
) -> AsyncIterator[WsServer]:
    """
    Serve `hub` to WebSocket clients for as long as the block lasts.

    Leaving the block stops accepting, tells every client that this server goes away (close code
    1001), waits for them no longer than `close_timeout_seconds`, and cancels what is left.

    Args:
        hub: Who talks with the clients.
        host: The address to bind. Several (``"localhost"``, None for all) share no port when
            `port` is 0.
        port: 0 takes a free one; read it back from the server.
        ssl_context: For ``wss://``. Where it asks clients for certificates (`verify_mode`), the
            hub sees those that are good; `ClientCertAuth` lets agents in by them.
        limits: What each connection may cost.
        allow_unauthenticated: Serve a hub that accepts the scheme "none" beyond loopback, where
            anybody who reaches the port can be anybody.
        server_limits: What all of them may cost together.
        max_connections: In place of its `connections_max`.
        max_connections_per_address: In place of its `connections_per_address_max`. Behind a proxy
            everybody has the proxy's address, so let the proxy count.
        transport: Which library speaks WebSocket; "auto" takes the fastest one installed.

    Raises:
        ValueError: The hub accepts "none" and `host` is not loopback, or a limit is none.
        ImportError: The transport's library is not installed.
        OSError: The port cannot be bound.

    Cancellation: connections end without the goodbye.
    """
    if "none" in hub.auth_schemes and not _is_loopback(host):
        if not allow_unauthenticated:
            raise ValueError(
                f"this hub accepts the auth scheme 'none', so anybody who reaches {host!r} could "
                "act as any agent: give it an AuthRegistry without NoAuth, bind a loopback "
                "address, or pass allow_unauthenticated=True"
            )
        _log.warning("serving without authentication beyond loopback", host=host)
    chosen = choose_transport(transport)
    counts = server_limits if server_limits is not None else ServerLimits()
    if max_connections is not None:
        counts = attrs.evolve(counts, connections_max=max_connections)
    if max_connections_per_address is not None:
        counts = attrs.evolve(counts, connections_per_address_max=max_connections_per_address)
    listeners = await trio.open_tcp_listeners(port, host=host, backlog=counts.backlog_max)
    server = WsServer(
        hub,
        listeners,
        host=host,
        ssl_context=ssl_context,
        limits=limits if limits is not None else LinkLimits(),
        server_limits=counts,
        transport=chosen,
    )
    async with open_plain_nursery() as connections:
        await connections.start(server.accept, connections)
        try:
            yield server
        finally:
            try:
                await server.close_all()
            finally:
                connections.cancel_scope.cancel()


class WsServer:
    """A running server, as `serve_ws` gives it."""

    def __init__(
        self,
        hub: EndpointServer,
        listeners: list[trio.SocketListener],
        *,
        host: str | None,
        ssl_context: ssl.SSLContext | None,
        limits: LinkLimits,
        server_limits: ServerLimits,
        transport: Transport,
    ) -> None:
        self._hub = hub
        self._watcher = hub if isinstance(hub, HandshakeWatcher) else None
        self._listeners = listeners
        self._host = host
        self._ssl_context = ssl_context
        self._limits = limits
        self._server_limits = server_limits
        self._per_address: Counter[str] = Counter()
        self._transport = transport
        self._endpoints: set[WsLinkEndpoint] = set()
        self._openings: set[Opening] = set()
        self._accepting = trio.CancelScope()
        self._closing = False
        self._connection_count = 0
        self._refused_count = 0
        self._all_gone = trio.Event()

    def __repr__(self) -> str:
        return f"<WsServer {self.url}, {self._connection_count} connections>"

    @property
    def sockets(self) -> list[trio.socket.SocketType]:
        """The listening sockets; ``sockets[0].getsockname()[1]`` is the port."""
        return [listener.socket for listener in self._listeners]

    @property
    def port(self) -> int:
        """The port of the first listening socket."""
        port: int = self.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the hub."""
        host = self._host
        if host in _WILDCARD_HOSTS or host is None:
            v6 = self.sockets[0].family == trio.socket.AF_INET6
            host = "::1" if v6 else "127.0.0.1"
        scheme = "ws" if self._ssl_context is None else "wss"
        return (
            f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"
        )

    @property
    def transport(self) -> str:
        """The name of the transport that was chosen."""
        return self._transport.name

    @property
    def connection_count(self) -> int:
        """Connections that are open or opening."""
        return self._connection_count

    @property
    def refused_count(self) -> int:
        """Connections that were refused because there were too many."""
        return self._refused_count

    async def accept(
        self, connections: trio.Nursery, *, task_status: trio.TaskStatus[object]
    ) -> None:
        """Take connections into the nursery until `close_all`. For `serve_ws`."""
        with self._accepting:
            await trio.serve_listeners(
                self._own_connection,
                self._listeners,
                handler_nursery=connections,
                task_status=task_status,
            )

    async def close_all(self) -> None:
        """
        Stop accepting, and close every connection with code 1001, in a bounded time.

        Cancellation: whatever is left open is for the owner's nursery to cancel.
        """
        self._closing = True
        self._accepting.cancel()
        for opening in self._openings:
            opening.scope.cancel()
        for endpoint in self._endpoints:
            endpoint.close_soon(1001, "going away")
        with trio.move_on_after(self._limits.close_timeout_seconds):
            while self._connection_count:
                await self._all_gone.wait()

    async def _own_connection(self, accepted: trio.SocketStream) -> None:
        peer = _peer_of(accepted)
        address = address_of(peer)
        if not self._has_place_for(address):
            self._refused_count += 1
            self._failed(peer, HandshakeFailure.NO_PLACE)
            await trio.aclose_forcefully(accepted)
            return
        tcp = TcpStream(accepted)
        opening = Opening(
            peer,
            tcp,
            expects_tls=self._ssl_context is not None,
            seconds=self._limits.open_timeout_seconds,
        )
        self._connection_count += 1
        self._per_address[address] += 1
        try:
            async with trio.open_nursery() as nursery:
                endpoint = await self._open(opening, tcp, nursery)
                if endpoint is not None:
                    await self._serve(endpoint)
                nursery.cancel_scope.cancel()
        except* NetworkError as group:
            _log.debug("connection ended", peer=peer, reason=str(_first_leaf(group)))
        except* Exception:
            _log.exception("a connection failed; it alone is closed", peer=peer)
        finally:
            self._connection_count -= 1
            self._per_address[address] -= 1
            if not self._per_address[address]:
                del self._per_address[address]
            if not self._connection_count:
                self._all_gone.set()
                self._all_gone = trio.Event()
            if opening.tls is not None:
                let_go_of_tls(opening.tls)
            await trio.aclose_forcefully(tcp)

    def _has_place_for(self, address: str) -> bool:
        if self._closing or self._connection_count >= self._server_limits.connections_max:
            return False
        limit = self._server_limits.connections_per_address_max
        return limit is None or self._per_address.get(address, 0) < limit

    async def _open(
        self, opening: Opening, tcp: TcpStream, nursery: trio.Nursery
    ) -> WsLinkEndpoint | None:
        self._openings.add(opening)
        if self._watcher is not None:
            self._watcher.handshake_begun(opening)
        try:
            with opening.scope:
                return await self._shake_hands(opening, tcp, nursery)
        except NetworkError as error:
            self._failed(opening.peer, opening.failure(error), _openssl_reason(error))
            raise
        finally:
            self._openings.discard(opening)
            if self._watcher is not None:
                self._watcher.handshake_over(opening)
        self._failed(opening.peer, opening.failure(None))
        return None

    async def _shake_hands(
        self, opening: Opening, tcp: TcpStream, nursery: trio.Nursery
    ) -> WsLinkEndpoint:
        peer = opening.peer
        doorman = Doorman(self._hub, peer)
        raw, certificate = await self._secure(tcp, peer)
        if raw is not tcp:
            opening.tls = raw
        stream = await self._transport.accept(
            raw, nursery, peer=peer, limits=self._limits, admit=doorman.admit
        )
        endpoint = WsLinkEndpoint(stream, side=Side.HUB, limits=self._limits)
        endpoint.facts = ConnectionFacts(peer=peer, certificate=certificate, bearer=doorman.bearer)
        return endpoint

    def _failed(self, peer: str, failure: HandshakeFailure, detail: str = "") -> None:
        if self._closing:
            return  # It is this end that broke it off.
        if self._watcher is not None:
            self._watcher.handshake_failed(peer, failure, detail)
        else:
            _log.debug("handshake failed", peer=peer, reason=failure.value, detail=detail)

    async def _secure(
        self, tcp: TcpStream, peer: str
    ) -> tuple[trio.abc.Stream, ClientCertificate | None]:
        if self._ssl_context is None:
            return tcp, None
        try:
            return await accept_tls(tcp, self._ssl_context, peer)
        except AuthError as error:
            if isinstance(self._hub, CertificateAuditor):
                await self._hub.certificate_refused(peer, error.message)
            raise

    async def _serve(self, endpoint: WsLinkEndpoint) -> None:
        self._endpoints.add(endpoint)
        if self._closing:
            endpoint.close_soon(1001, "going away")
        try:
            await self._hub.serve(endpoint)
        except Exception:
            endpoint.close_soon(1011, "internal error")
            raise
        finally:
            self._endpoints.discard(endpoint)
            await endpoint.aclose()


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return host is not None and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _peer_of(tcp: trio.SocketStream) -> str:
    try:
        address, port, *_ = tcp.socket.getpeername()
    except OSError:  # It has left already.
        return "unknown"
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _first_leaf(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


def _openssl_reason(error: BaseException) -> str:
    """Return what OpenSSL calls a fault: a name out of a table of its own, or ""."""
    cause = error.__cause__
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return cause.reason or ""
        cause = cause.__cause__
    return ""
