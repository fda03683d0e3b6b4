"""
The frames that need no parser: text messages in one frame, whole in what was read.

Nearly everything that agents say to each other is such a frame, and to take one apart in place
costs a tenth of what a general parser does. Anything else (fragments, large messages, control
frames, whatever is broken) is passed on as it came, so what is valid is still for the library to
say: here is only known how long a frame is.
"""

from __future__ import annotations

# The function that it uses itself: in C, where that was built.
from websockets.frames import apply_mask  # type: ignore[attr-defined]

__all__ = ["WholeTexts"]

# RFC 6455, 5.2.
_FIN, _OPCODE, _MASKED, _LENGTH = 0x80, 0x0F, 0x80, 0x7F
_CONTINUATION, _TEXT, _BINARY = 0x0, 0x1, 0x2
_WHOLE_TEXT = _FIN | _TEXT
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
        self._mask = _MASKED if masked else 0
        # The beginning of a head, less than which nothing can be said of a frame.
        self._head = b""
        # How much of the present frame goes past, to the library.
        self._passing = 0
        self._in_fragments = False

    def split(self, data: bytes) -> list[str | bytes]:
        """Take bytes as they were read; return each text, and what is for the library, in order."""
        pieces: list[str | bytes] = []
        if self._head:
            data, self._head = self._head + data, b""
        at, end = 0, len(data)
        passed = 0  # From here on, nothing is among the pieces yet.
        while at < end:
            if self._passing:
                step = min(self._passing, end - at)
                self._passing -= step
                at += step
                continue
            # A call for each of these steps would cost as much as all of them.
            start, second, size = at + 2, 0, 0
            if start <= end:
                second = data[at + 1]
                size = second & _LENGTH
                if size >= _TWO_BYTES:
                    width = 2 if size == _TWO_BYTES else 8
                    size = int.from_bytes(data[start : start + width])
                    start += width
                if second & _MASKED:
                    start += _MASK_BYTES
            if start > end:
                self._head = data[at:]
                end = at
                break
            stop = start + size
            if (
                data[at] == _WHOLE_TEXT
                and stop <= end
                and second & _MASKED == self._mask
                and not self._in_fragments
            ):
                payload = data[start:stop]
                if self._mask:
                    payload = apply_mask(payload, data[start - _MASK_BYTES : start])
                try:
                    text = payload.decode()
                except UnicodeDecodeError:
                    pass  # It is for the library to end the connection.
                else:
                    if passed < at:
                        pieces.append(data[passed:at])
                    pieces.append(text)
                    at = passed = stop
                    continue
            self._note_fragment(data[at])
            self._passing = stop - at
        if passed < end:
            pieces.append(data[passed:end])
        return pieces

    def _note_fragment(self, first_byte: int) -> None:
        opcode = first_byte & _OPCODE
        if opcode in (_CONTINUATION, _TEXT, _BINARY):
            self._in_fragments = not first_byte & _FIN
