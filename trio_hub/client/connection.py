"""
One connection to a hub: who gets which frame.

The reader sorts what arrives: answers to their calls, welcomes and refusals to the hello that
they answer, envelopes to the identity that they are for. It never waits for any of them, so a
handler may ask the hub for something while the next envelope is already being read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from .._logging import get_logger
from ..errors import (
    ConnectionLost,
    FrameError,
    HubClosing,
    NetworkError,
    TakenOver,
    TooLarge,
    error_from_code,
)
from ..wire.codec import decode_message, encode_frame
from ..wire.frames import (
    Dialect,
    ErrorFrame,
    Frame,
    HelloFrame,
    NotifyFrame,
    PingFrame,
    PongFrame,
    ResponseFrame,
    WelcomeFrame,
)

if TYPE_CHECKING:
    from ..links.endpoint import LinkEndpoint

__all__ = ["Connection", "FrameSink"]

_log = get_logger("trio_hub.client")


class FrameSink(Protocol):
    """Whoever owns connections. None of these may block or raise."""

    def on_response(self, frame: ResponseFrame) -> None:
        """An answer came."""
        ...

    def on_notify(self, frame: NotifyFrame) -> None:
        """An envelope came."""
        ...

    def on_error(self, connection: Connection, frame: ErrorFrame) -> None:
        """An error came that answers nothing."""
        ...


@attrs.define(eq=False)
class _Handshake:
    on_welcome: Callable[[WelcomeFrame], None]
    answered: trio.Event = attrs.field(factory=trio.Event)
    error: NetworkError | None = None


class Connection:
    """
    The client's side of one endpoint, from its first frame to its last.

    Args:
        endpoint: Opened and closed by somebody else.
        sink: Gets what is no answer to a hello.
        client: What the client calls itself to the hub.
        number: Which of its connections this is.
    """

    def __init__(
        self, endpoint: LinkEndpoint, sink: FrameSink, *, client: str, number: int
    ) -> None:
        self._endpoint = endpoint
        self._sink = sink
        self._client = client
        self._number = number
        # In the batched dialect the answer to a hello names it; in the plain one the hub answers
        # in order, and all of them stand under the empty name.
        self._handshakes: dict[str, deque[_Handshake]] = {}
        self._pong = trio.Event()
        #: Why the connection is gone; None while it lives.
        self.lost: NetworkError | None = None
        #: What the hub said when it began to close; None as long as it has not.
        self.closing: NetworkError | None = None

    @property
    def dialect(self) -> Dialect:
        """The dialect spoken here."""
        return self._endpoint.dialect

    def send(self, frame: Frame) -> None:
        """Put a frame into the outbox. Never waits; on a connection that is gone, does nothing."""
        self.send_encoded(encode_frame(frame, self.dialect))

    def send_encoded(self, frame: bytes) -> None:
        """Put an encoded frame into the outbox."""
        if self.lost is None:
            self._endpoint.push_nowait(frame)

    @property
    def frame_bytes_max(self) -> int:
        """The largest frame that the hub takes."""
        return self._endpoint.frame_bytes_max

    async def wait_for_room(self) -> None:
        """
        Return once the outbox has room, or once the connection is gone.

        Cancellation: changes nothing.
        """
        await self._endpoint.outbox.wait_for_room()

    def close_soon(self) -> None:
        """Close once what stands in the outbox has been written."""
        self._endpoint.close_soon()

    def fail(self, error: NetworkError) -> None:
        """Let everybody know that the connection is gone. Only the first reason counts."""
        if self.lost is not None:
            return
        # Its traceback refers to frames that refer to this: a circle, for the collector to free.
        self.lost = error.with_traceback(None)
        for waiting in self._handshakes.values():
            for handshake in waiting:
                handshake.error = ConnectionLost(f"no answer to the hello: {error}")
                handshake.answered.set()
        self._handshakes.clear()
        self._pong.set()

    async def ping(self) -> None:
        """
        Return once the hub has shown that it is there and talks, or once the connection is gone.

        Cancellation: nothing happens.
        """
        self.send(PingFrame())
        await self._pong.wait()

    async def hello(self, frame: HelloFrame, on_welcome: Callable[[WelcomeFrame], None]) -> None:
        """
        Bind an identity, or learn why not.

        Args:
            on_welcome: Called with the welcome before the next frame is read.

        Raises:
            NetworkError: What the hub refused it with, or `ConnectionLost`.

        Cancellation: the hub may or may not have bound it; its answer will be passed over.
        """
        if self.lost is not None:
            raise ConnectionLost(f"no hello was sent: {self.lost}")
        frame = attrs.evolve(frame, client=self._client, connection=self._number)
        handshake = _Handshake(on_welcome)
        self._handshakes.setdefault(self._key(frame.name), deque()).append(handshake)
        self.send(frame)
        await handshake.answered.wait()
        if handshake.error is not None:
            raise handshake.error

    async def read(self) -> None:
        """
        Sort frames until the peer is gone.

        Raises:
            ConnectionLost: It is.

        Cancellation: no frame is lost half-way.
        """
        while True:
            try:
                message = await self._endpoint.receive()
            except TooLarge as error:
                _log.warning("a message from the hub was dropped", reason=str(error))
                continue
            for frame in decode_message(message, self.dialect):
                self._sort(frame)

    def _sort(self, frame: Frame | FrameError) -> None:
        match frame:
            case NotifyFrame():
                self._sink.on_notify(frame)
            case ResponseFrame():
                self._sink.on_response(frame)
            case WelcomeFrame():
                self._answer_hello(frame.name, frame)
            case ErrorFrame():
                if _answers_nothing(frame) or not self._answer_hello(frame.name, frame):
                    self._sink.on_error(self, frame)
            case PingFrame():
                self.send(PongFrame())
            case PongFrame():
                self._pong.set()
            case FrameError():
                _log.warning("the hub sent what is no frame", problem=frame.message[:500])
            case _:
                _log.warning("the hub sent a frame that only clients send", kind=frame.kind)

    def _key(self, name: str) -> str:
        return name if self.dialect is Dialect.BATCHED else ""

    def _answer_hello(self, name: str, frame: WelcomeFrame | ErrorFrame) -> bool:
        key = self._key(name)
        waiting = self._handshakes.get(key)
        if not waiting:
            return False
        handshake = waiting.popleft()
        if not waiting:
            del self._handshakes[key]
        if isinstance(frame, WelcomeFrame):
            handshake.on_welcome(frame)
        else:
            handshake.error = error_from_code(
                frame.code, frame.message, retry_after_seconds=frame.retry_after_seconds
            )
        handshake.answered.set()
        return True


def _answers_nothing(frame: ErrorFrame) -> bool:
    # Said about an identity that is bound already, or about the hub as a whole.
    return frame.code == TakenOver.code or (frame.code == HubClosing.code and not frame.name)
