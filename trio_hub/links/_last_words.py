"""
What a peer is told whose bytes broke the WebSocket: invalid UTF-8, a frame that cannot be.

WebSocket libraries drop such a connection without a word, or with a few in a close frame that
nobody logs, so that the author of the peer sees a network problem where there is a bug. We say
which, as an error frame and as a close frame.
"""

from __future__ import annotations

import struct

from ..wire.codec import encode_frame
from ..wire.frames import Dialect, ErrorFrame

__all__ = ["broken_how", "last_words"]

# RFC 6455: 5.2 for the frame, 7.4.1 for the codes.
_TEXT, _CLOSE = 0x81, 0x88
_BROKEN_BY_PEER = {1002: "not valid as WebSocket frames", 1007: "not valid UTF-8"}
_SHORT_BYTES_MAX = 125


def broken_how(code: int) -> str | None:
    """Return what was wrong with a peer's bytes, for the close codes that say that something was."""
    return _BROKEN_BY_PEER.get(code)


def last_words(code: int, reason: str | None, dialect: Dialect) -> bytes:
    """
    Return what a hub sends before it closes, for codes where `broken_how` knows something.

    Args:
        code: The close code.
        reason: What the library found.
        dialect: Of the connection.
    """
    how = _BROKEN_BY_PEER[code]
    why = f"what this connection sent was {how}: {reason}"
    error = encode_frame(ErrorFrame(code="protocol_error", message=why), dialect)
    return _server_frame(_TEXT, error) + _server_frame(
        _CLOSE, struct.pack("!H", code) + how.encode()
    )


def _server_frame(opcode: int, payload: bytes) -> bytes:
    if len(payload) <= _SHORT_BYTES_MAX:
        return bytes([opcode, len(payload)]) + payload
    return bytes([opcode, 126]) + struct.pack("!H", len(payload)) + payload
