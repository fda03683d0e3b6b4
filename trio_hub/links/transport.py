"""
Who speaks WebSocket for us: one of two libraries, behind one small protocol.

trio-websocket is always there. `websockets` comes with the extra ``trio_hub[fast]``: its sans-I/O
protocol over Trio's streams costs a hub less than half for each message. Both keep the same
promises, and a peer cannot tell which one it talks with.

A transport's library is imported only when it is chosen.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from typing import Literal, Protocol

import attrs
import trio

from .base import MessageStream
from .limits import LinkLimits
from .upgrade import Admit, admit_everybody

__all__ = [
    "AUTO_ORDER",
    "TRANSPORTS",
    "Target",
    "Transport",
    "TransportName",
    "choose_transport",
    "installed_version",
]

TransportName = Literal["auto", "trio-websocket", "websockets"]

#: What can be asked for.
TRANSPORTS: tuple[TransportName, ...] = ("auto", "trio-websocket", "websockets")

#: What "auto" tries, the fastest first. The last one is a dependency and always there.
AUTO_ORDER: Sequence[TransportName] = ("websockets", "trio-websocket")

# Module, and what the library must be: distribution, first major version that has what we use.
_MODULES = {
    "trio-websocket": ("._trio_websocket", "trio-websocket", 0),
    "websockets": ("._websockets", "websockets", 14),
}


@attrs.frozen(kw_only=True)
class Target:
    """
    What a client asks of a server in the handshake.

    Attributes:
        secure: Whether TLS is below.
        host: As in the URL, without brackets.
        port: As in the URL, or the scheme's.
        resource: Path and query.
        headers: More HTTP headers to send.
        subprotocols: What to offer.
    """

    secure: bool
    host: str
    port: int
    resource: str
    headers: Sequence[tuple[str, str]] = ()
    subprotocols: Sequence[str] = ()

    @property
    def peer(self) -> str:
        """The server, for logs."""
        return f"{self.host}:{self.port}"


class Transport(Protocol):
    """
    How a byte stream becomes a stream of messages.

    The byte stream stays the caller's until one of these has returned: where it raises, the
    caller closes it. Then the message stream owns it. The nursery lives as long as the stream,
    and is cancelled after it has been closed.
    """

    @property
    def name(self) -> str:
        """What it is called in options and logs."""
        ...

    async def accept(
        self,
        raw: trio.abc.Stream,
        nursery: trio.Nursery,
        *,
        peer: str,
        limits: LinkLimits,
        admit: Admit = admit_everybody,
    ) -> MessageStream:
        """
        Shake hands with a client.

        Args:
            admit: Asked before the WebSocket is opened; what it refuses is answered by HTTP.

        Raises:
            ConnectionLost: It hung up, or did not speak WebSocket.
            AuthError: It was refused, and told.

        Cancellation: the byte stream can only be closed.
        """
        ...

    async def connect(
        self, raw: trio.abc.Stream, nursery: trio.Nursery, *, target: Target, limits: LinkLimits
    ) -> MessageStream:
        """
        Shake hands with a server.

        Raises:
            ConnectionLost: It hung up, did not speak WebSocket, or refused.
            AuthError: It refused with the HTTP status for that.

        Cancellation: the byte stream can only be closed.
        """
        ...


def choose_transport(name: str = "auto") -> Transport:
    """
    Return the transport of that name; for "auto", the fastest one that is installed.

    Raises:
        ValueError: There is none of that name.
        ImportError: Its library is not installed, or too old; says what to install.
    """
    if name not in TRANSPORTS:
        raise ValueError(f"unknown transport {name!r}: it can be {', '.join(TRANSPORTS)}")
    if name != "auto":
        problem = _problem_with(name)
        if problem is not None:
            raise ImportError(problem)
        return _load(name)
    return _load(next(found for found in AUTO_ORDER if _problem_with(found) is None))


@cache
def installed_version(distribution: str) -> str | None:
    """Return the version of a library, or None. It is asked of the disk once for each library."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _problem_with(name: str) -> str | None:
    _, distribution, major_min = _MODULES[name]
    version = installed_version(distribution)
    if version is None:
        return f"the transport {name!r} needs {distribution}: install trio_hub[fast]"
    major = version.partition(".")[0]
    if major.isdigit() and int(major) < major_min:
        return (
            f"the transport {name!r} needs {distribution} {major_min} or newer, and {version} is "
            "installed: install trio_hub[fast]"
        )
    return None


def _load(name: str) -> Transport:
    module = importlib.import_module(_MODULES[name][0], __package__)
    transport: Transport = module.TRANSPORT
    return transport
