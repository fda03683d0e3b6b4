"""
The frames of the wire: nine kinds, the same in both dialects.

The *plain* dialect is AG2 1.2's: one JSON object in one WebSocket text message. An AG2 reader
refuses a field that it does not know, so what we add to a frame (named in `EXTENSIONS`) is only
ever sent in the *batched* dialect, which both sides have agreed upon.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Final, Literal

import attrs
import msgspec

from ..records import Envelope

__all__ = [
    "BATCHED_SUBPROTOCOL",
    "CLIENT_CHARACTERS_MAX",
    "EXTENSIONS",
    "Dialect",
    "ErrorFrame",
    "Frame",
    "HelloFrame",
    "NotifyFrame",
    "PingFrame",
    "PongFrame",
    "ReceiptFrame",
    "RequestFrame",
    "ResponseFrame",
    "WelcomeFrame",
]

#: What a client offers in ``Sec-WebSocket-Protocol`` to speak the batched dialect.
BATCHED_SUBPROTOCOL: Final = "trio-hub.v1"

#: What a client may call itself in its hellos: a random word, which is kept with its bindings.
CLIENT_CHARACTERS_MAX: Final = 64

_EMPTY_OBJECT = msgspec.Raw(b"{}")
_NULL = msgspec.Raw(b"null")


class Dialect(StrEnum):
    """How frames are put into messages: one by one, or many at once, divided by newlines."""

    PLAIN = "plain"
    BATCHED = "batched"


@attrs.frozen(kw_only=True)
class HelloFrame:
    """
    Client to hub: bind a known identity to this connection.

    Attributes:
        since_envelope_id: What was processed: None replays nothing, "" everything unacked, an
            id that one and all before it in its own channel; or {channel id: envelope id}.
        epoch: The epoch of the log that those ids came from, where the client knows it.
        client: What the client calls itself, the same over all its connections; "" is nothing. It
            is nobody else's business, so let it be long and random.
        connection: Which of its connections this is; each has a higher number than those before.
            A hello that the hub reads late takes nothing from a later connection.
    """

    kind: ClassVar[str] = "hello"
    name: str
    auth_scheme: str = "none"
    auth_claim: dict[str, object] = attrs.field(factory=dict, repr=False)
    since_envelope_id: str | dict[str, str] | None = None
    epoch: str | None = None
    client: str = attrs.field(
        default="", repr=False, validator=attrs.validators.max_len(CLIENT_CHARACTERS_MAX)
    )
    connection: int = 0


@attrs.frozen(kw_only=True)
class WelcomeFrame:
    """
    Hub to client: the identity is bound.

    Attributes:
        name: Whose hello this answers.
        epoch: The identity of the hub's log.
        position_lost: The hello's epoch is not this log's: what it said it had processed was
            not believed, and everything unacked is replayed.
    """

    kind: ClassVar[str] = "welcome"
    endpoint_id: str
    hub_time: str
    name: str = ""
    agent_id: str = ""
    epoch: str = ""
    position_lost: bool = False


@attrs.frozen(kw_only=True)
class RequestFrame:
    """Client to hub: call the operation `op`; the answer carries the same `request_id`."""

    kind: ClassVar[str] = "request"
    request_id: str
    op: str
    params: msgspec.Raw = _EMPTY_OBJECT


@attrs.frozen(kw_only=True)
class ResponseFrame:
    """
    Hub to client: how an operation ended.

    Attributes:
        epoch: To ``register``: the identity of the log in which the new identity's deliveries
            begin, as a welcome tells it to those who come back.
    """

    kind: ClassVar[str] = "response"
    request_id: str
    ok: bool
    result: msgspec.Raw = _NULL
    error_code: str = ""
    error_message: str = ""
    retry_after_seconds: float | None = None
    epoch: str = ""


@attrs.frozen(kw_only=True)
class NotifyFrame:
    """Hub to client: an envelope for `recipient_id`; the `attempt`-th time that it is sent."""

    kind: ClassVar[str] = "notify"
    envelope: Envelope
    recipient_id: str = ""
    attempt: int = 1


@attrs.frozen(kw_only=True)
class ReceiptFrame:
    """Client to hub: what became of a notify. ``progress`` asks for more time."""

    kind: ClassVar[str] = "receipt"
    envelope_id: str
    status: Literal["ack", "nack", "progress"]
    recipient_id: str = ""
    channel_id: str = ""
    reason: str = ""


@attrs.frozen(kw_only=True)
class ErrorFrame:
    """Hub to client, outside request and response: a refused hello, a frame that was none."""

    kind: ClassVar[str] = "error"
    code: str
    message: str
    envelope_id: str | None = None
    name: str = ""
    retry_after_seconds: float | None = None


@attrs.frozen(kw_only=True)
class PingFrame:
    """Are you there?"""

    kind: ClassVar[str] = "ping"


@attrs.frozen(kw_only=True)
class PongFrame:
    """Yes."""

    kind: ClassVar[str] = "pong"


Frame = (
    HelloFrame
    | WelcomeFrame
    | RequestFrame
    | ResponseFrame
    | NotifyFrame
    | ReceiptFrame
    | ErrorFrame
    | PingFrame
    | PongFrame
)

#: What AG2 does not know of, by kind of frame. Accepted from anybody, sent in no plain message.
EXTENSIONS: Final[dict[str, frozenset[str]]] = {
    "hello": frozenset({"epoch", "client", "connection"}),
    "welcome": frozenset({"name", "agent_id", "epoch", "position_lost"}),
    "response": frozenset({"retry_after_seconds", "epoch"}),
    "notify": frozenset({"attempt"}),
    "error": frozenset({"name", "retry_after_seconds"}),
}
