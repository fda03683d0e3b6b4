"""What the archive has of a channel's records: one line for each, whether it can be read or not."""

from __future__ import annotations

from ..wire.validation import encode
from .log_record import LogRecord

__all__ = ["retired_line", "trimmed_line"]


def retired_line(record: LogRecord) -> bytes:
    """Return what stands of a record in the file of a channel that has ended."""
    return record.raw or _unreadable(record)


def trimmed_line(record: LogRecord) -> tuple[str, bytes]:
    """Return an envelope's id, and what stands of it in the file of what was trimmed."""
    if record.envelope is None:
        return "", _unreadable(record)
    return record.envelope.envelope_id, b'{"position":%d,"envelope":%b}' % (
        record.position,
        record.raw,
    )


def _unreadable(record: LogRecord) -> bytes:
    """Say that there was a record which cannot be read."""
    return encode({"position": record.position, "unreadable": True})
