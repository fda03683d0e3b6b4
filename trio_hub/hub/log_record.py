"""The records of a channel's log: envelopes, as they stand there and go out to recipients."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..errors import FrameError, TooLarge
from ..records import Envelope
from ..wire.validation import decode_strictly, encode

__all__ = ["LogRecord", "read_record", "write_records"]


@attrs.frozen
class LogRecord:
    """
    One record of a channel's log.

    Attributes:
        envelope: None where the record cannot be read; `raw` is empty then.
        raw: The envelope as it stands in the log, and goes out to its recipients.
    """

    position: int
    envelope: Envelope | None
    raw: bytes


def read_record(position: int, raw: bytes) -> LogRecord:
    """Return the record that stands at a position."""
    try:
        return LogRecord(position, decode_strictly(raw, Envelope, "envelope"), raw)
    except FrameError:
        # Its checksum is right, so it was written so: by a newer hub, or by hand.
        return LogRecord(position, None, b"")


def write_records(envelopes: Sequence[Envelope], start: int, bytes_max: int) -> list[LogRecord]:
    """
    Return what is to be appended to a log.

    Args:
        start: The position of the first.
        bytes_max: How large one may be.

    Raises:
        TooLarge: One is larger.
    """
    records = []
    for position, envelope in enumerate(envelopes, start):
        raw = encode(envelope)
        if len(raw) > bytes_max:
            raise TooLarge(
                f"the envelope has {len(raw)} bytes, and {bytes_max} are allowed; send less, or a "
                "reference to where the rest is"
            )
        records.append(LogRecord(position, envelope, raw))
    return records
