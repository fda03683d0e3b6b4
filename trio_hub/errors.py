"""
Every error of the network: what was wrong, whose fault it is, and what to do next.

The table first, then the classes; the wire frame, the exception, the log line and the
reference page all come from these entries::

    NetworkError                 error            the family
    ├── NotFoundError            not_found        no such agent, channel, task
    ├── AccessDeniedError        access_denied    a rule, or not yours
    ├── AuthError                auth_failed      the credential, not the caller's intent
    │   └── AgentRevoked         auth_failed      ... which is good, but an operator shut the name out
    ├── ProtocolError            protocol_error   the peer's author made a mistake
    │   └── FrameError           protocol_error   ... in the very form of a frame
    ├── Conflict                 conflict         somebody else was first; read again
    ├── TooLarge                 too_large        over a limit of bytes; ask for less
    ├── InboxFull                inbox_full       the recipient has too much unsettled
    ├── RateLimited              rate_limited     the caller goes too fast
    ├── StoreError               store_error      the disk; the outcome may be unknown
    │   ├── DamagedRecord        store_error      bytes that are not those that were written
    │   └── RecordsTrimmed       store_error      records that are not kept any more
    ├── HubClosing               hub_closing      the hub drains; come back
    ├── TakenOver                taken_over       another connection holds this name now
    ├── PositionLost             position_lost    the log was restored from an older state
    └── ConnectionLost           connection_lost  the link; never sent on the wire

A code that a peer has never heard of still reads well as text, so messages are whole
sentences. A timeout is always `trio.TooSlowError`, never one of these.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ERRORS_BY_CODE",
    "AccessDeniedError",
    "AgentRevoked",
    "AuthError",
    "Conflict",
    "ConnectionLost",
    "DamagedRecord",
    "FrameError",
    "HubClosing",
    "InboxFull",
    "NetworkError",
    "NotFoundError",
    "PositionLost",
    "ProtocolError",
    "RateLimited",
    "RecordsTrimmed",
    "StoreError",
    "TakenOver",
    "TooLarge",
    "error_from_code",
]


class NetworkError(Exception):
    """
    The family of everything that can go wrong between agents and hubs.

    Args:
        message: A sentence for people: what was wrong, with which id, what to do next.
        retry_after_seconds: With a retryable error, how long to wait before trying again.
    """

    code: ClassVar[str] = "error"
    #: Whether the same call may succeed later (posts: under the same idempotency key).
    retryable: ClassVar[bool] = False
    #: Who can do something about it; a word for the reference page and for logs.
    acts: ClassVar[str] = "operator"

    def __init__(self, message: str = "", *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_seconds = retry_after_seconds


class NotFoundError(NetworkError):
    """No agent, channel or task of that id or name (or none that the caller may see)."""

    code = "not_found"
    acts = "caller"


class AccessDeniedError(NetworkError):
    """A rule forbids it, or the caller acts for somebody that it is not."""

    code = "access_denied"
    acts = "caller"


class AuthError(NetworkError):
    """The credential was refused. Raise it from an `AuthAdapter` to refuse one."""

    code = "auth_failed"
    acts = "operator, client"


class AgentRevoked(AuthError):
    """An operator has shut this agent out, until one reinstates it. Its credential is good."""

    acts = "operator"


class ProtocolError(NetworkError):
    """What was sent breaks a protocol: the channel's, the connection's, or the wire's."""

    code = "protocol_error"
    acts = "author of the peer"


class FrameError(ProtocolError):
    """
    Bytes that are no frame, or a frame whose fields are wrong.

    Args:
        problems: Every field that was wrong, each as one short sentence.
        request_id: The request it was found in, where that much could be read.
    """

    def __init__(
        self, message: str, *, problems: tuple[str, ...] = (), request_id: str | None = None
    ) -> None:
        super().__init__("; ".join((message, *problems)) if problems else message)
        self.problems = problems
        self.request_id = request_id


class Conflict(NetworkError):
    """Somebody else was first, or has what was asked for. Nothing was changed; read it again."""

    code = "conflict"
    acts = "caller"


class TooLarge(NetworkError):
    """A message, payload or answer over a limit of bytes. It says how to ask for less."""

    code = "too_large"
    acts = "caller"


class InboxFull(NetworkError):
    """The recipient has as many unsettled envelopes as its rule allows. Nothing was posted."""

    code = "inbox_full"
    retryable = True
    acts = "caller"


class RateLimited(NetworkError):
    """The caller's token bucket is empty; wait `retry_after_seconds`."""

    code = "rate_limited"
    retryable = True
    acts = "caller"


class StoreError(NetworkError):
    """
    The store could not keep or read something. For a post the outcome is unknown: it may be
    on disk or not. Post again under the same idempotency key to find out without doing it twice.
    """

    code = "store_error"
    retryable = True
    acts = "operator"


class DamagedRecord(StoreError):
    """
    A record whose bytes are not those that were written.

    Args:
        path: The log it stands in.
        position: Where in the log.
    """

    retryable = False

    def __init__(self, message: str, *, path: str, position: int) -> None:
        super().__init__(message)
        self.path = path
        self.position = position


class RecordsTrimmed(StoreError):
    """
    Records that were asked for were trimmed: the log begins behind them. Read from `first` on.

    Args:
        path: The log.
        first: The position of the first record that it still has.
    """

    retryable = False
    acts = "caller"

    def __init__(self, message: str, *, path: str, first: int) -> None:
        super().__init__(message)
        self.path = path
        self.first = first


class HubClosing(NetworkError):
    """The hub drains and takes nothing new. What it accepted is safe; come back later."""

    code = "hub_closing"
    retryable = True
    acts = "client"


class TakenOver(NetworkError):
    """Another connection attached under this name. Do not reconnect by yourself."""

    code = "taken_over"
    acts = "operator"


class PositionLost(NetworkError):
    """The log that a position was given in is not this one. Everything unacked is redelivered."""

    code = "position_lost"
    acts = "client"


class ConnectionLost(NetworkError):
    """The link went down before the answer came. Try again under the same idempotency key."""

    code = "connection_lost"
    retryable = True
    acts = "client"


def _family(cls: type[NetworkError]) -> list[type[NetworkError]]:
    return [cls, *(leaf for child in cls.__subclasses__() for leaf in _family(child))]


#: Code on the wire -> class to raise for it. Where two share a code, the broader one.
ERRORS_BY_CODE: dict[str, type[NetworkError]] = {
    cls.code: cls for cls in reversed(_family(NetworkError))
}


def error_from_code(
    code: str, message: str, *, retry_after_seconds: float | None = None
) -> NetworkError:
    """
    Build the exception that a peer's error code stands for.

    An unknown code gives a plain `NetworkError` whose message names it, so that nothing a
    newer peer says is hidden.
    """
    cls = ERRORS_BY_CODE.get(code)
    if cls is None:
        return NetworkError(f"{message} [{code}]", retry_after_seconds=retry_after_seconds)
    return cls(message, retry_after_seconds=retry_after_seconds)
