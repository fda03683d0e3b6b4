"""
Messages to frames and back, in either dialect.

Decoding peeks at ``kind`` and then decodes that frame typed (msgspec cannot decode a union of
attrs classes). What is big stays as it came: a request's ``params`` and a response's ``result``
are raw JSON until somebody who knows their type wants them, and an envelope that is already
encoded is spliced into its notify frame as it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter

import attrs
import msgspec

from ..errors import FrameError
from .frames import (
    EXTENSIONS,
    Dialect,
    ErrorFrame,
    Frame,
    HelloFrame,
    NotifyFrame,
    PingFrame,
    PongFrame,
    ReceiptFrame,
    RequestFrame,
    ResponseFrame,
    WelcomeFrame,
)
from .validation import decode_strictly, encode, forget_frames

__all__ = [
    "decode_message",
    "encode_frame",
    "encode_notify",
    "encode_request",
    "encode_result",
    "iter_frames",
    "join_frames",
]

_FRAME_CLASSES: dict[str, type[Frame]] = {
    cls.kind: cls
    for cls in (
        HelloFrame,
        WelcomeFrame,
        RequestFrame,
        ResponseFrame,
        NotifyFrame,
        ReceiptFrame,
        ErrorFrame,
        PingFrame,
        PongFrame,
    )
}

# What they are called in errors.
_FRAME_NAMES = {kind: f"{kind} frame" for kind in _FRAME_CLASSES}

_NEWLINE = b"\n"

# What a frame is written from: the names of its fields, and what gets their values.
_Layout = tuple[tuple[str, ...], Callable[[Frame], tuple[object, ...]]]


def _layouts(hidden: Mapping[str, frozenset[str]]) -> dict[type[Frame], _Layout]:
    """Return how each kind of frame is written, without those fields of it."""
    layouts: dict[type[Frame], _Layout] = {}
    for kind, frame_class in _FRAME_CLASSES.items():
        fields = [field.name for field in attrs.fields(frame_class)]
        names = ("kind", *(name for name in fields if name not in hidden.get(kind, ())))
        layouts[frame_class] = names, attrgetter(*names) if len(names) > 1 else _only_kind
    return layouts


def _only_kind(frame: Frame) -> tuple[object, ...]:
    return (frame.kind,)


_PLAIN_LAYOUTS = _layouts(EXTENSIONS)
_BATCHED_LAYOUTS = _layouts({})


@attrs.frozen
class _Kind:
    kind: str


@attrs.frozen
class _RequestId:
    request_id: str


_peek = msgspec.json.Decoder(_Kind).decode


def decode_message(message: str | bytes, dialect: Dialect) -> list[Frame | FrameError]:
    """
    Read the frames of one message, in order.

    A frame that cannot be read is its `FrameError` in the list, so that its neighbours are not
    harmed; the error carries the `request_id` where that much of a request could be read.

    Args:
        message: The payload of a text message; a binary one (`bytes`) is itself an error.
    """
    return list(iter_frames(message, dialect))


def iter_frames(message: str | bytes, dialect: Dialect) -> Iterable[Frame | FrameError]:
    """
    Read the frames of one message one by one, as `decode_message` does.

    A message of some MiB can hold a million frames. Who takes them from a stranger must be able
    to do something else between two of them, and to stop.
    """
    if isinstance(message, bytes):
        return (FrameError("a binary message: frames travel in text messages only"),)
    if dialect is Dialect.PLAIN:
        return (_decode_frame(message),)
    return _iter_lines(message)


def _iter_lines(message: str) -> Iterator[Frame | FrameError]:
    start = 0
    while start < len(message):
        stop = message.find("\n", start)
        if stop < 0:
            stop = len(message)
        if stop > start:
            yield _decode_frame(message[start:stop])
        start = stop + 1


def _decode_frame(text: str) -> Frame | FrameError:
    try:
        kind = _peek(text).kind
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        try:
            decode_strictly(text, _Kind, "frame")
        except FrameError as error:
            return _handed_on(error)
        raise AssertionError("a frame that could not be read could be read") from None
    frame_class = _FRAME_CLASSES.get(kind)
    if frame_class is None:
        return FrameError(
            f"unknown frame kind {kind[:40]!r}", problems=(f"known: {', '.join(_FRAME_CLASSES)}",)
        )
    try:
        return decode_strictly(text, frame_class, _FRAME_NAMES[kind])
    except FrameError as error:
        if frame_class is RequestFrame:
            error.request_id = _request_id_in(text)
        return _handed_on(error)


def _handed_on(error: FrameError) -> FrameError:
    """Return an error without what it was raised from: whoever keeps it may be among that."""
    forget_frames(error)
    return error


def _request_id_in(text: str) -> str | None:
    try:
        return msgspec.json.decode(text, type=_RequestId).request_id
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def encode_frame(frame: Frame, dialect: Dialect) -> bytes:
    """Write one frame. In the plain dialect, what AG2 does not know of is left out."""
    layouts = _PLAIN_LAYOUTS if dialect is Dialect.PLAIN else _BATCHED_LAYOUTS
    names, values_of = layouts[type(frame)]
    return encode(dict(zip(names, values_of(frame), strict=True)))


def encode_request(request_id: str, op: str, params: object) -> bytes:
    """Write a request, the same in both dialects. `params` is the operation's attrs class."""
    return encode({"kind": "request", "request_id": request_id, "op": op, "params": params})


def encode_notify(envelope_json: bytes, recipient_id: str, attempt: int, dialect: Dialect) -> bytes:
    """Write a notify around an envelope that is already encoded. `recipient_id` is an agent id."""
    if dialect is Dialect.PLAIN:
        return b'{"kind":"notify","recipient_id":"%b","envelope":%b}' % (
            recipient_id.encode(),
            envelope_json,
        )
    return b'{"kind":"notify","recipient_id":"%b","attempt":%d,"envelope":%b}' % (
        recipient_id.encode(),
        attempt,
        envelope_json,
    )


def encode_result(request_id: str, result_json: bytes, *, epoch: str = "") -> bytes:
    """Write a successful response around a result that is already encoded."""
    return b'{"kind":"response","request_id":%b,"ok":true,"result":%b%b}' % (
        encode(request_id),
        result_json,
        b',"epoch":%b' % encode(epoch) if epoch else b"",
    )


def join_frames(frames: Iterable[bytes], dialect: Dialect, message_bytes_max: int) -> list[bytes]:
    """
    Put encoded frames into as few messages as the dialect and the limit allow, in order.

    A single frame over the limit stands alone in its message: what is too large is refused
    before it is encoded, not here.
    """
    if dialect is Dialect.PLAIN:
        return list(frames)
    messages: list[bytes] = []
    batch: list[bytes] = []
    size = 0
    for frame in frames:
        if batch and size + len(frame) + 1 > message_bytes_max:
            messages.append(_NEWLINE.join(batch))
            batch, size = [], 0
        batch.append(frame)
        size += len(frame) + 1
    if batch:
        messages.append(_NEWLINE.join(batch))
    return messages
