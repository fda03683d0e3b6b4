"""
Parse it or answer one typed error, never another exception: the decoder's half of the invariant.

`check` takes any message through all that stands between a socket and the hub: frames out of the
message, parameters out of a request, and the error that goes back.
"""

from __future__ import annotations

from typing import get_args

from trio_hub.errors import FrameError
from trio_hub.wire.codec import decode_message, encode_frame
from trio_hub.wire.frames import Dialect, ErrorFrame, Frame, RequestFrame, ResponseFrame
from trio_hub.wire.operations import OPERATIONS
from trio_hub.wire.validation import decode_strictly, encode

__all__ = ["check"]

_FRAMES: tuple[type, ...] = get_args(Frame)
# However large the message: an answer is help, not an amplifier.
_ANSWER_BYTES_MAX = 20_000


def check(message: str | bytes) -> int:
    """
    Check the invariant, and return how many frames were good.

    Raises:
        AssertionError: It does not hold.
        Exception: Anything that the decoder should not have raised.
    """
    good = 0
    # A message of one line is read in the same way in both dialects.
    one_line = isinstance(message, str) and message and "\n" not in message
    for dialect in (Dialect.BATCHED,) if one_line else tuple(Dialect):
        found = decode_message(message, dialect)
        if isinstance(message, bytes) or dialect is Dialect.PLAIN:
            assert len(found) == 1, "one message, one answer"
        else:
            assert len(found) == sum(1 for line in message.split("\n") if line), "one for each line"
        for frame in found:
            if isinstance(frame, FrameError):
                _check_error(frame, dialect)
                continue
            assert isinstance(frame, _FRAMES), frame
            good += 1
            if isinstance(frame, RequestFrame):
                _check_params(frame, dialect)
    return good


def _check_params(frame: RequestFrame, dialect: Dialect) -> None:
    operation = OPERATIONS.get(frame.op)
    if operation is None:
        return
    try:
        params = decode_strictly(frame.params, operation.params, f"params of {frame.op}")
    except FrameError as error:
        _check_error(error, dialect)
        return
    assert isinstance(params, operation.params)
    # What was taken in can be written down again, whatever it is made of.
    encode(params)


def _check_error(error: FrameError, dialect: Dialect) -> None:
    assert error.code == "protocol_error"
    assert error.message
    answer: Frame = ErrorFrame(code=error.code, message=error.message)
    if error.request_id is not None:
        answer = ResponseFrame(
            request_id=error.request_id,
            ok=False,
            error_code=error.code,
            error_message=error.message,
        )
    sent = encode_frame(answer, dialect)
    rest = 0 if error.request_id is None else 6 * len(error.request_id)
    assert len(sent) < _ANSWER_BYTES_MAX + rest, f"an answer of {len(sent)} bytes"
    (read,) = decode_message(sent.decode(), dialect)
    assert read == answer, "the peer reads what was written"
