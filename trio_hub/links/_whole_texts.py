"""
The frames that need no library: text messages in one frame, whole in what was read.

Nearly everything that agents say to each other is such a frame, and to take one apart in place
costs a tenth of what a general parser does. Anything else (fragments, large messages, control
frames, whatever is broken) is passed on as it came, so what is valid is still for the library to
say: here is only known how long a frame is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

__all__ = ["WholeTexts"]

# RFC 6455, 5.2.
_FIN, _OPCODE, _MASKED, _LENGTH = 0x80, 0x0F, 0x80, 0x7F
_CONTINUATION, _TEXT, _BINARY = 0x0, 0x1, 0x2
# Lengths from here on say how many bytes the real length has.
_TWO_BYTES = 126
_MASK_BYTES = 4


class WholeTexts:
    """
    Tells the frames of one direction apart.

    Args:
        masked: Whether frames are masked, as those of a client are.
    """

    def __init__(self, *, masked: bool) -> None:
        self._masked = masked
        # The beginning of a head, less than which nothing can be said of a frame.
        self._head = b""
        # How much of the present frame goes past, to the library.
        self._passing = 0
        self._in_fragments = False

    def split(self, data: bytes) -> Iterator[str | bytes]:
        """
        Take bytes as they were read; yield each text, and what is for the library, in order.

        It must be taken to its end before the next call.
        """
        data = self._head + data
        self._head = b""
        at, end = 0, len(data)
        passed = 0  # From here on, nothing has been yielded yet.
        while at < end:
            if self._passing:
                step = min(self._passing, end - at)
                self._passing -= step
                at += step
                continue
            start, size = _measure(data, at)
            if start > end:
                self._head = data[at:]
                end = at
                break
            if (
                data[at] == _FIN | _TEXT
                and not self._in_fragments
                and start + size <= end
                and bool(data[at + 1] & _MASKED) is self._masked
                and (text := self._decoded(data, start, size)) is not None
            ):
                if passed < at:
                    yield data[passed:at]
                yield text
                at = passed = start + size
                continue
            self._note_fragment(data[at])
            self._passing = start - at + size
        if passed < end:
            yield data[passed:end]

    def _decoded(self, data: bytes, start: int, size: int) -> str | None:
        payload = data[start : start + size]
        if self._masked:
            payload = _unmasked(payload, data[start - _MASK_BYTES : start])
        try:
            return payload.decode()
        except UnicodeDecodeError:
            return None  # It is for the library to end the connection.

    def _note_fragment(self, first_byte: int) -> None:
        opcode = first_byte & _OPCODE
        if opcode in (_CONTINUATION, _TEXT, _BINARY):
            self._in_fragments = not first_byte & _FIN


def _measure(data: bytes, at: int) -> tuple[int, int]:
    """Return where the payload of the frame at `at` starts (past the end: unknown) and its size."""
    end = len(data)
    start = at + 2
    if start > end:
        return start, 0
    second = data[at + 1]
    size = second & _LENGTH
    if size >= _TWO_BYTES:
        width = 2 if size == _TWO_BYTES else 8
        size = int.from_bytes(data[start : start + width])
        start += width
    if second & _MASKED:
        start += _MASK_BYTES
    return start, size


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // _MASK_BYTES + 1))[:size]
    order = sys.byteorder
    return (int.from_bytes(payload, order) ^ int.from_bytes(key, order)).to_bytes(size, order)
