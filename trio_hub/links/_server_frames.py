"""
WebSocket frames as a server sends them: unmasked, so a head and the payload as it is.

A hub writes one for every message, and five bytes need no library. What a client sends is masked,
and what is received has to be checked; both are left to the libraries.
"""

from __future__ import annotations

import struct

__all__ = ["CLOSE", "TEXT", "server_frame_head"]

# RFC 6455, 5.2: the last (and only) frame of a message, and its kind.
TEXT, CLOSE = 0x81, 0x88

_ONE_BYTE_MAX, _TWO_BYTES_MAX = 125, 65535
_two_bytes = struct.Struct("!BBH").pack
_eight_bytes = struct.Struct("!BBQ").pack


def server_frame_head(first_byte: int, size: int) -> bytes:
    """Return what stands before a payload of so many bytes."""
    if size <= _ONE_BYTE_MAX:
        return bytes((first_byte, size))
    if size <= _TWO_BYTES_MAX:
        return _two_bytes(first_byte, 126, size)
    return _eight_bytes(first_byte, 127, size)
