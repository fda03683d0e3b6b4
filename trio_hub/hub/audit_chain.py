"""
The chain that holds the audit log together.

Each record ends with its own hash, over everything that stands before it in its bytes, and among
that is the hash of the record before. Whoever changes, removes or inserts a record has to write
every later one anew. Nothing in the log itself can tell that all of it was written anew, or that
its end was cut off: keep its *head* (number of records and last hash) somewhere else from time to
time, and compare.
"""

from __future__ import annotations

import hashlib
from typing import Any

import attrs

from ..errors import FrameError
from ..records import AuditRecord
from ..wire.validation import decode_strictly, encode

__all__ = ["ChainCheck", "decode_record", "seal"]

_HASH_BYTES = 32
# So that a hash of these bytes in another role is another hash.
_ROLE = b"trio_hub audit"
_SEAL = b',"hash":"%b"}'
_SEAL_LENGTH = len(_SEAL % (b"0" * 2 * _HASH_BYTES))


@attrs.frozen(kw_only=True)
class _Unsealed:
    """An `AuditRecord` without its hash, in the order in which it is written."""

    position: int
    at: str
    kind: str
    agent_id: str | None
    channel_id: str | None
    by: str | None
    details: dict[str, Any]
    previous: str


def seal(record: AuditRecord) -> tuple[bytes, AuditRecord]:
    """Return a record with its hash, as it goes into the log and as a value."""
    fields = attrs.asdict(record, recurse=False)
    del fields["hash"]
    body = encode(_Unsealed(**fields))[:-1]
    own = _hash(body)
    return body + _SEAL % own.encode(), attrs.evolve(record, hash=own)


def decode_record(raw: bytes) -> AuditRecord:
    """Read a record of the log. Raises `FrameError` where it is none."""
    return decode_strictly(raw, AuditRecord, "audit record")


class ChainCheck:
    """
    Takes the records of a log one by one and finds the first that does not belong there.

    Attributes:
        records: How many were good.
        head: The hash of the last good one.
        problem: What is wrong with the record at position `records`, or None.
    """

    def __init__(self) -> None:
        self.records = 0
        self.head = ""
        self.problem: str | None = None

    def add(self, raw: bytes | None) -> bool:
        """Take the next record, None where it cannot be read; False once something is wrong."""
        if self.problem is None:
            self.problem = self._problem_of(raw)
        if self.problem is not None or raw is None:
            return False
        self.records += 1
        self.head = _own_hash(raw)
        return True

    def _problem_of(self, raw: bytes | None) -> str | None:
        if raw is None:
            return "it cannot be read: its checksum is wrong"
        body, own = raw[:-_SEAL_LENGTH], _own_hash(raw)
        if _SEAL % own.encode() != raw[-_SEAL_LENGTH:] or _hash(body) != own:
            return "it was changed: its hash is not that of its content"
        try:
            record = decode_record(raw)
        except FrameError as error:
            return f"it is no audit record: {error.message}"
        if record.position != self.records:
            return f"it was written as record {record.position}: records are missing or were moved"
        if record.previous != self.head:
            return "it does not follow the record before it: one was removed, or written anew"
        return None


def _hash(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=_HASH_BYTES, person=_ROLE).hexdigest()


def _own_hash(raw: bytes) -> str:
    return raw[-2 - 2 * _HASH_BYTES : -2].decode("latin-1")
