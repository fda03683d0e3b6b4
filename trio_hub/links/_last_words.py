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
from ._server_frames import CLOSE, TEXT, server_frame_head

__all__ = ["broken_how", "last_words"]

# RFC 6455, 7.4.1.
_BROKEN_BY_PEER = {1002: "not valid as WebSocket frames", 1007: "not valid UTF-8"}


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
    close = struct.pack("!H", code) + how.encode()
    return b"".join(
        (server_frame_head(TEXT, len(error)), error, server_frame_head(CLOSE, len(close)), close)
    )
