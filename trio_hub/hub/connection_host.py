"""What a connection needs of its hub, whatever that is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from ..auth import Credential
from ..errors import NetworkError
from ..wire.frames import HelloFrame, ReceiptFrame, WelcomeFrame
from ..wire.operations import Operation
from ..wire.params import PostEnvelope
from .channel import Posted
from .turn import Turn

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["ConnectionHost", "Greeting", "Handler"]


@attrs.frozen
class Greeting:
    """
    What comes of a hello.

    Attributes:
        welcome: The answer.
        processed: Channel id -> the position up to which the client has processed it.
        replays: Whether what is unsettled is delivered again, or only what comes from now on.
        credential: What was shown, where that may end.
    """

    welcome: WelcomeFrame
    processed: dict[str, int]
    replays: bool
    credential: Credential | None


#: Carries out an operation: its result, or something to await for it.
Handler = Callable[["Connection", Any], Any | Awaitable[Any]]


class ConnectionHost(Protocol):
    """What a connection needs of its hub."""

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """The handler of every operation but ``post_envelope``."""
        ...

    @property
    def epoch(self) -> str:
        """The identity of the hub's logs."""
        ...

    @property
    def turn(self) -> Turn:
        """In which receipts are taken."""
        ...

    @property
    def requests_in_flight_max(self) -> int:
        """How many unanswered requests one connection may have."""
        ...

    @property
    def request_bytes_in_flight_max(self) -> int:
        """How many bytes the unanswered requests of one connection may have."""
        ...

    @property
    def malformed_frames_per_minute(self) -> int:
        """How many frames that are none one connection may send."""
        ...

    def authorize(self, connection: Connection, operation: Operation, params: Any) -> None:
        """Raise `AccessDeniedError` where the connection may not do that."""
        ...

    def refused(self, what: str, error: NetworkError) -> None:
        """Count what a peer is refused: a "request", a "hello", a "frame", its "connection"."""
        ...

    def post(self, connection: Connection, params: PostEnvelope) -> Awaitable[Posted]:
        """Post an envelope; what is returned may be told once the ticket is durable."""
        ...

    async def hello(self, connection: Connection, frame: HelloFrame) -> Greeting:
        """Check a credential, and look up where the identity's deliveries begin."""
        ...

    def begin_deliveries(self, connection: Connection, greeting: Greeting) -> None:
        """Bind an identity that has been welcomed, and deliver to it."""
        ...

    def receipt(self, frame: ReceiptFrame) -> None:
        """Take a receipt of an identity that is bound to the connection it came from."""
        ...

    def room_again(self, connection: Connection) -> None:
        """The connection's outbox has room again."""
        ...

    def released(self, connection: Connection) -> None:
        """The connection has ended."""
        ...
