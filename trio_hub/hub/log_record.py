"""The records of a channel's log: envelopes, as they stand there and go out to recipients."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import msgspec

from ..errors import FrameError, TooLarge
from ..records import Envelope
from ..records.envelope import Priority
from ..wire.validation import decode_strictly, encode

__all__ = ["EnvelopeHead", "LogRecord", "read_head", "read_record", "write_records"]


class EnvelopeHead(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    An envelope whose content is left as it stands: a third of the work, where that is not looked at.

    It has all fields, so that what is no envelope is no head of one either.
    """

    channel_id: str
    sender_id: str
    audience: tuple[str, ...] | None = None
    event_type: str
    event_data: msgspec.Raw
    envelope_id: str = ""
    task_id: str | None = None
    causation_id: str | None = None
    trace_id: str | None = None
    priority: Priority = "normal"
    depth: int = 0
    idempotency_key: str | None = None
    created_at: str = ""
    ttl_seconds: int | float | None = None


_OBJECT = ord("{")
_decode_head = msgspec.json.Decoder(EnvelopeHead).decode


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


def read_head(raw: bytes) -> EnvelopeHead | None:
    """Return what `read_record` would, without the content; None where it cannot be read."""
    try:
        head = _decode_head(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return head if memoryview(head.event_data)[0] == _OBJECT else None


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
