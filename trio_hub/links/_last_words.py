"""
What a peer is told whose bytes broke the WebSocket: invalid UTF-8, a frame that cannot be.

trio-websocket drops such a connection without a word, so that the author of the peer sees a
network problem where there is a bug. We say which, as an error frame and as a close frame.
"""

from __future__ import annotations

import struct

import trio_websocket

from ..wire.codec import encode_frame
from ..wire.frames import Dialect, ErrorFrame

__all__ = ["last_words"]

# RFC 6455: 5.2 for the frame, 7.4.1 for the codes.
_TEXT, _CLOSE = 0x81, 0x88
_BROKEN_BY_PEER = {1002: "not valid as WebSocket frames", 1007: "not valid UTF-8"}
_SHORT_BYTES_MAX = 125


def last_words(websocket: trio_websocket.WebSocketConnection, dialect: Dialect) -> bytes:
    """Return the bytes to send before the socket is closed; none where the close was in order."""
    close = websocket.closed
    if close is None or close.code not in _BROKEN_BY_PEER:
        return b""
    why = f"what this connection sent was {_BROKEN_BY_PEER[close.code]}: {close.reason}"
    error = encode_frame(ErrorFrame(code="protocol_error", message=why), dialect)
    return _server_frame(_TEXT, error) + _server_frame(
        _CLOSE, struct.pack("!H", close.code) + _BROKEN_BY_PEER[close.code].encode()
    )


def _server_frame(opcode: int, payload: bytes) -> bytes:
    if len(payload) <= _SHORT_BYTES_MAX:
        return bytes([opcode, len(payload)]) + payload
    return bytes([opcode, 126]) + struct.pack("!H", len(payload)) + payload
