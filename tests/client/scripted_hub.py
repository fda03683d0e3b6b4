"""A hub that says what a test tells it to say, over a real link in memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import trio

from trio_hub.errors import ConnectionLost, NetworkError
from trio_hub.links import LinkEndpoint
from trio_hub.records import EV_TEXT, Envelope
from trio_hub.wire.codec import decode_message, encode_frame
from trio_hub.wire.frames import (
    ErrorFrame,
    Frame,
    HelloFrame,
    NotifyFrame,
    PingFrame,
    PongFrame,
    RequestFrame,
    ResponseFrame,
    WelcomeFrame,
)

__all__ = ["PeerConnection", "ScriptedHub", "text_for"]

FrameT = TypeVar("FrameT")

_NUMBERS = itertools.count(1)


def text_for(
    recipient_id: str,
    text: str = "hello",
    *,
    channel_id: str = "c1",
    envelope_id: str = "",
    event_type: str = EV_TEXT,
    attempt: int = 1,
) -> NotifyFrame:
    """Make a notify. Ids sort in the order in which they are made."""
    envelope = Envelope(
        channel_id=channel_id,
        sender_id="somebody",
        event_type=event_type,
        event_data={"text": text},
        envelope_id=envelope_id or f"{next(_NUMBERS):032x}",
    )
    return NotifyFrame(envelope=envelope, recipient_id=recipient_id, attempt=attempt)


class PeerConnection:
    """The hub's end of one connection, in the hands of a test."""

    def __init__(self, endpoint: LinkEndpoint) -> None:
        self.endpoint = endpoint
        self.arrived: trio.MemoryReceiveChannel[Frame]
        self.arriving: trio.MemorySendChannel[Frame]
        self.arriving, self.arrived = trio.open_memory_channel[Frame](10_000)

    def send(self, *frames: Frame) -> None:
        for frame in frames:
            self.endpoint.push_nowait(encode_frame(frame, self.endpoint.dialect))

    def answer(self, request: RequestFrame, result: object) -> None:
        raw = msgspec.Raw(msgspec.json.encode(result))
        self.send(ResponseFrame(request_id=request.request_id, ok=True, result=raw))

    def refuse(self, request: RequestFrame, error: NetworkError) -> None:
        self.send(
            ResponseFrame(
                request_id=request.request_id,
                ok=False,
                error_code=error.code,
                error_message=error.message,
                retry_after_seconds=error.retry_after_seconds,
            )
        )

    def cut(self) -> None:
        self.endpoint.cut("the test cuts")

    async def next(self, kind: type[FrameT]) -> FrameT:
        """Return the next frame, which must be a `kind`."""
        with trio.fail_after(600):
            frame = await self.arrived.receive()
        assert isinstance(frame, kind), f"expected a {kind.__name__}, got {frame}"
        return frame

    async def next_request(self, op: str) -> RequestFrame:
        request = await self.next(RequestFrame)
        assert request.op == op, f"expected {op}, got {request}"
        return request

    def nothing_came(self) -> bool:
        return self.arrived.statistics().current_buffer_used == 0


class ScriptedHub:
    """
    Answers what it has an answer for in `answers` (op -> function of the parameters), welcomes
    every hello unless `welcomes` says otherwise, and leaves the rest to the test.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[Any], object]] = {
            "register": self._stamp,
            "names_for": lambda params: {one: f"name of {one}" for one in params["agent_ids"]},
            "report_turn_failure": lambda _params: None,
            "can_send": lambda _params: True,
            "find_envelope_by_causation": lambda _params: None,
        }
        self.welcomes: Callable[[HelloFrame], WelcomeFrame | ErrorFrame | None] = self.welcome
        self.hellos: list[HelloFrame] = []
        self.accept: Callable[[], bool] = lambda: True
        self._waiting: trio.MemoryReceiveChannel[PeerConnection]
        self._new: trio.MemorySendChannel[PeerConnection]
        self._new, self._waiting = trio.open_memory_channel[PeerConnection](100)

    @property
    def auth_schemes(self) -> tuple[str, ...]:
        return ("none",)

    @staticmethod
    def _stamp(params: Any) -> object:
        passport = {**params["passport"], "agent_id": "id-" + params["passport"]["name"]}
        passport["auth"] = {**passport["auth"], "claim": {}}
        return passport

    @staticmethod
    def welcome(hello: HelloFrame) -> WelcomeFrame:
        return WelcomeFrame(
            endpoint_id="e", hub_time="", name=hello.name, agent_id="id-" + hello.name, epoch="e1"
        )

    async def accepted(self) -> PeerConnection:
        """Return the next connection that a client has opened."""
        with trio.fail_after(600):
            return await self._waiting.receive()

    async def serve(self, endpoint: LinkEndpoint) -> None:
        if not self.accept():
            return
        connection = PeerConnection(endpoint)
        self._new.send_nowait(connection)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.write_out)
            try:
                while True:
                    for frame in decode_message(await endpoint.receive(), endpoint.dialect):
                        assert not isinstance(frame, NetworkError)
                        self._take(connection, frame)
            except ConnectionLost:
                nursery.cancel_scope.cancel()

    def _take(self, connection: PeerConnection, frame: Frame) -> None:
        if isinstance(frame, PingFrame):
            connection.send(PongFrame())
        elif isinstance(frame, HelloFrame):
            self.hellos.append(frame)
            answer = self.welcomes(frame)
            if answer is not None:
                connection.send(answer)
        elif isinstance(frame, RequestFrame) and frame.op in self.answers:
            params = msgspec.json.decode(frame.params)
            connection.answer(frame, self.answers[frame.op](params))
        else:
            connection.arriving.send_nowait(frame)
