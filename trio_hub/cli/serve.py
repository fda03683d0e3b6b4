"""
``serve``: a hub as a program.

It says ``trio_hub listening on URL`` on stdout once it accepts connections, and nothing else;
its log goes to stderr. The first SIGTERM or Ctrl-C drains it.
"""

from __future__ import annotations

import gc
import ipaddress
import ssl
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import attrs
import trio

from .._logging import get_logger
from .._nursery import open_plain_nursery
from ..auth import AuthRegistry
from ..errors import NetworkError, StoreError
from ..hub import Hub, HubLimits
from ..links import ServerLimits, TransportName, choose_transport, serve_ws
from ..links.server import WsServer
from ..links.transport import TRANSPORTS
from ..records import Duration
from ..stores import DiskKnowledgeStore, KnowledgeStore, MemoryKnowledgeStore
from . import options as o
from ._stdout import silence_stdout
from .command import Command, CommandError
from .credentials import (
    CREDENTIAL_OPTIONS,
    Credentials,
    CredentialSettings,
    make_credentials,
)
from .federation import FEDERATION_OPTION, FederationSettings
from .logs import LOG_FORMATS, LOG_LEVELS, configure_logging
from .retention import RETENTION_OPTIONS, make_retention
from .signals import Stop, stopped_by_signals
from .tls import serving_context

__all__ = ["SERVE", "ServeSettings", "serve"]

_log = get_logger(__name__)

# Objects made and not freed until the youngest are looked through; then in tens of that.
_COLLECTOR_THRESHOLDS = (20_000, 20, 20)

_DESCRIPTION = """\
Serve a hub to which agents connect over WebSocket.

The first line on stdout is `trio_hub listening on ws://HOST:PORT` (or wss), once it accepts
connections; the log goes to stderr. SIGTERM and Ctrl-C end it in good order, with status 0;
a second one ends it at once. Nothing acknowledged is lost either way.
"""

_EPILOG = """\
Every option can stand in the --config file under its name, without the dashes in front:

  port = 9000
  data = "hub-data"            # paths are relative to the file
  keys = "keys.toml"
  operators = ["ops"]          # on the command line: --operator ops, once for each
  log-format = "json"

  [federation]                 # hubs to be joined with
  name = "east"

  [federation.peers.west]
  url = "wss://west.example.org"
  key-file = "west.key"        # the key of hub:east there
  exports = ["*"]              # who of ours may be known there
  imports = ["support-*"]      # who of theirs may be known here

The --keys file says who may connect. `trio_hub keys add alice --keys keys.toml` makes a key and
writes its hash there; a line `alice = "a long random secret"` does as well.
"""

OPTIONS = (
    o.Option(
        name="host", kind=o.text("HOST"), default="127.0.0.1", help="the address to listen on"
    ),
    o.Option(
        name="port", kind=o.port, default=8765, help="the port to listen on; 0 takes a free one"
    ),
    o.Option(
        name="data",
        kind=o.path("DIR"),
        instead_of="memory",
        help="the directory to keep everything in (default: trio_hub in your user data directory)",
    ),
    o.Option(
        name="memory",
        kind=o.flag,
        default=False,
        instead_of="data",
        help="keep everything in memory: it is gone when the hub ends",
    ),
    *CREDENTIAL_OPTIONS,
    o.Option(
        name="tls-cert",
        kind=o.path("FILE"),
        help="certificate chain in PEM form; the hub then speaks wss://",
    ),
    o.Option(
        name="tls-key",
        kind=o.path("FILE"),
        help="private key of --tls-cert, where it is not in the same file",
    ),
    o.Option(
        name="allow-unauthenticated",
        kind=o.flag,
        default=False,
        negatable=True,
        help="where no credentials are asked for, let anybody connect from other machines, as anybody",
    ),
    o.Option(
        name="transport",
        kind=o.choice(*TRANSPORTS),
        default="auto",
        help="the library that speaks WebSocket; auto takes the fastest one installed",
    ),
    o.Option(
        name="max-connections",
        kind=o.count,
        default=ServerLimits().connections_max,
        help="how many connections there may be in all; each takes a file descriptor",
    ),
    o.Option(
        name="max-connections-per-address",
        kind=o.count,
        help="how many connections one address may have; leave it out behind a proxy",
    ),
    o.Option(
        name="behind-proxy",
        kind=o.flag,
        default=False,
        negatable=True,
        help="all agents come with a proxy's address: make none wait for what others there got wrong",
    ),
    o.Option(
        name="operators",
        typed="operator",
        kind=o.texts("NAME"),
        default=(),
        help="an agent that may look after the hub (dead-letters, health); once for each",
    ),
    o.Option(
        name="allow-unauthenticated-operators",
        kind=o.flag,
        default=False,
        negatable=True,
        help="where no credentials are asked for, believe whoever says to be an operator",
    ),
    o.Option(
        name="metrics-port",
        kind=o.port,
        help="serve /metrics, /healthz and /readyz over HTTP on this port; 0 takes a free one",
    ),
    o.Option(
        name="metrics-host",
        kind=o.text("HOST"),
        default="127.0.0.1",
        help="the address for --metrics-port; whoever reaches it can read them",
    ),
    *RETENTION_OPTIONS,
    FEDERATION_OPTION,
    o.Option(name="log-level", kind=o.choice(*LOG_LEVELS), default="info", help="the least to log"),
    o.Option(name="log-format", kind=o.choice(*LOG_FORMATS), default="text", help="how to log"),
)


@attrs.frozen(kw_only=True)
class ServeSettings(CredentialSettings):
    """What ``serve`` was asked for; see `OPTIONS`."""

    host: str
    port: int
    data: Path | None
    memory: bool
    tls_cert: Path | None
    tls_key: Path | None
    allow_unauthenticated: bool
    operators: Sequence[str]
    allow_unauthenticated_operators: bool
    transport: TransportName
    max_connections: int
    max_connections_per_address: int | None
    behind_proxy: bool
    metrics_port: int | None
    metrics_host: str
    retain_ended: Duration | None
    retain_ended_max: int | None
    retain_records: Duration | None
    retain_records_max: int | None
    retain_records_bytes: int | None
    archive: Path | None
    federation: FederationSettings | None
    log_level: str
    log_format: str


async def serve(
    settings: ServeSettings, credentials: Credentials, tls: ssl.SSLContext | None
) -> None:
    """
    Serve a hub until a signal comes.

    Args:
        credentials: What they are checked by; as long as this serves, it follows its files.

    Raises:
        CommandError: The data directory is in use, the port is taken, ...

    Cancellation: clients are not told, and nothing acknowledged is lost.
    """
    async with stopped_by_signals(second_ends_at_once=True) as stop:
        with stop.scope:
            await _check_address(settings, credentials)
            async with open_plain_nursery() as nursery, AsyncExitStack() as stack:
                # Before the nursery waits for its tasks, which have no end of their own.
                stack.callback(nursery.cancel_scope.cancel)
                credentials.follow(nursery)
                hub = await _open_hub(settings, credentials.registry, stack)
                _spare_the_collector()
                server = await _open_server(settings, hub, tls, stack)
                await _open_metrics(settings, hub, stack)
                await _join(settings, hub, stack)
                stop.started = True
                _announce(server, settings.host)
                await _until_stopped(hub, server, stop)
    _log.info("stopped")


async def _open_hub(settings: ServeSettings, auth: AuthRegistry, stack: AsyncExitStack) -> Hub:
    store = _make_store(settings)
    retention = make_retention(attrs.asdict(settings, recurse=False))
    limits = HubLimits()
    if settings.behind_proxy:
        limits = attrs.evolve(
            limits,
            failed_authentications_per_minute=None,
            failed_authentications_per_address_per_minute=None,
        )
    try:
        return await stack.enter_async_context(
            Hub.open(
                store,
                auth=auth,
                limits=limits,
                operators=settings.operators,
                allow_unauthenticated_operators=settings.allow_unauthenticated_operators,
                retention=retention,
                archive=settings.archive,
            )
        )
    except (StoreError, OSError) as error:
        raise CommandError(str(error)) from error


def _spare_the_collector() -> None:
    """
    Look for garbage less often.

    Of what a hub makes for an envelope nearly nothing is part of a cycle. With Python's own
    thresholds, looking for what is takes a tenth of the hub's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)


async def _check_address(settings: ServeSettings, credentials: Credentials) -> None:
    """
    See whether the address can be served, before a store is opened that may take its time.

    It can still be taken when it is served; then it is said later.
    """
    try:
        listeners = await trio.open_tcp_listeners(settings.port, host=settings.host)
    except (OSError, UnicodeError) as error:
        raise _unusable(settings, error) from error
    addresses = [listener.socket.getsockname()[0] for listener in listeners]
    for listener in listeners:
        await listener.aclose()
    # A zone ("%eth0") is for link-local addresses only.
    local = all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in addresses)
    if not credentials.are_wanted and not local and not settings.allow_unauthenticated:
        raise _unauthenticated(settings)


async def _open_server(
    settings: ServeSettings, hub: Hub, tls: ssl.SSLContext | None, stack: AsyncExitStack
) -> WsServer:
    server = serve_ws(
        hub,
        settings.host,
        settings.port,
        ssl_context=tls,
        allow_unauthenticated=settings.allow_unauthenticated,
        transport=settings.transport,
        max_connections=settings.max_connections,
        max_connections_per_address=settings.max_connections_per_address,
    )
    try:
        return await stack.enter_async_context(server)
    except OSError as error:
        raise _unusable(settings, error) from error
    except ValueError as error:
        # A name of loopback that the server does not know for one.
        raise _unauthenticated(settings) from error


async def _open_metrics(settings: ServeSettings, hub: Hub, stack: AsyncExitStack) -> None:
    if settings.metrics_port is None:
        return
    from ..metrics import serve_metrics  # noqa: PLC0415,RUF100 - it brings an HTTP server

    host, port = settings.metrics_host, settings.metrics_port
    try:
        await stack.enter_async_context(serve_metrics(hub, host, port))
    except ImportError as error:
        raise CommandError(f"--metrics-port: {error}") from error
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CommandError(f"cannot serve metrics on {host} port {port}: {reason}") from error


async def _join(settings: ServeSettings, hub: Hub, stack: AsyncExitStack) -> None:
    if settings.federation is None:
        return
    from ..federation import Federation  # noqa: PLC0415,RUF100 - it stands on the client

    of = settings.federation
    federation = Federation.open(
        hub, of.name, of.peers, allow_unauthenticated=of.allow_unauthenticated
    )
    try:
        await stack.enter_async_context(federation)
    except NetworkError as error:
        raise CommandError(f"cannot join other hubs: {error}") from error


def _unusable(settings: ServeSettings, error: OSError | UnicodeError) -> CommandError:
    reason = getattr(error, "strerror", None) or str(error)
    return CommandError(f"cannot listen on {settings.host} port {settings.port}: {reason}")


def _unauthenticated(settings: ServeSettings) -> CommandError:
    return CommandError(
        f"without --keys, anybody who reaches {settings.host} could act as any agent: give "
        "--keys FILE (or --jwt-keys, or --client-ca), listen on 127.0.0.1, or insist with "
        "--allow-unauthenticated"
    )


async def _until_stopped(hub: Hub, server: WsServer, stop: Stop) -> None:
    health = hub.health()
    _log.info(
        "serving",
        url=server.url,
        transport=server.transport,
        auth=list(hub.auth_schemes),
        durable=health.store.durable,
        agents=health.agents,
        channels=health.channels,
    )
    async with open_plain_nursery() as nursery:
        nursery.start_soon(_stop_when_drained, hub, stop)
        await stop.wished.wait()
        nursery.cancel_scope.cancel()
    # Before the links close: so clients hear that the hub will be back, and get their answers.
    await hub.drain()


async def _stop_when_drained(hub: Hub, stop: Stop) -> None:
    await hub.wait_draining()
    _log.info("stopping", reason="an operator asked for it")
    stop.wished.set()


def _announce(server: WsServer, host: str) -> None:
    scheme = server.url.partition(":")[0]
    shown = f"[{host}]" if ":" in host else host
    try:
        print(f"trio_hub listening on {scheme}://{shown}:{server.port}", flush=True)
    except OSError:
        silence_stdout()


def _make_store(settings: ServeSettings) -> KnowledgeStore:
    if settings.memory:
        return MemoryKnowledgeStore()
    return DiskKnowledgeStore(settings.data or _user_data())


def _user_data() -> Path:
    import platformdirs  # noqa: PLC0415,RUF100 - a hub that is told where does not ask

    return platformdirs.user_data_path("trio_hub", appauthor=False)


def _add_arguments(parser: ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file of these options")
    for option in OPTIONS:
        option.add_to(parser)


def _run(arguments: Namespace) -> int:
    typed = {
        name: value for name, value in vars(arguments).items() if name not in ("run", "config")
    }
    if typed.get("memory") and "data" in typed:
        raise CommandError("--memory keeps nothing in the directory that --data names: give one")
    settings = ServeSettings(**o.merge(OPTIONS, typed, arguments.config))
    try:
        choose_transport(settings.transport)
    except ImportError as error:
        raise CommandError(str(error)) from error
    credentials = make_credentials(settings)
    if (
        settings.operators
        and not credentials.are_wanted
        and not settings.allow_unauthenticated_operators
    ):
        raise CommandError(
            f"--operator {settings.operators[0]}: without --keys, anybody could act as an "
            "operator: give --keys FILE (or --jwt-keys, or --client-ca), or insist with "
            "--allow-unauthenticated-operators"
        )
    if (
        settings.federation is not None
        and not credentials.are_wanted
        and not settings.federation.allow_unauthenticated
    ):
        raise CommandError(
            "federation: without --keys, anybody could act as a peer of this hub: give --keys "
            "FILE (or --jwt-keys, or --client-ca), or insist with allow-unauthenticated = true in the table"
        )
    tls = serving_context(settings.tls_cert, settings.tls_key, settings.client_ca)
    configure_logging(level=settings.log_level, format=settings.log_format)
    trio.run(serve, settings, credentials, tls)
    return 0


SERVE = Command(
    description=_DESCRIPTION,
    add_arguments=_add_arguments,
    run=_run,
)
