"""
What was posted before: by which idempotency key, and because of which envelope.

Both indexes are rebuilt from the log when a channel is loaded, so they live as long as it does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import attrs
import msgspec

from ..errors import ProtocolError
from ..records import Envelope

__all__ = ["PostedIndex"]

_FINGERPRINT_BYTES = 16
_encode = msgspec.json.Encoder(order="deterministic").encode


@attrs.frozen
class _Post:
    envelope_id: str
    fingerprint: bytes


class PostedIndex:
    """Finds earlier posts of one channel, by sender and key or by sender and cause."""

    __slots__ = ("_by_cause", "_by_key")

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, str], _Post] = {}
        self._by_cause: dict[tuple[str, str], int] = {}

    def add(self, position: int, envelope: Envelope) -> None:
        """Remember an accepted envelope. The first of a key or a cause is the one that counts."""
        if envelope.idempotency_key is not None:
            key = (envelope.sender_id, envelope.idempotency_key)
            self._by_key.setdefault(key, _Post(envelope.envelope_id, _fingerprint(envelope)))
        if envelope.causation_id is not None:
            self._by_cause.setdefault((envelope.sender_id, envelope.causation_id), position)

    def duplicate_of(self, envelope: Envelope) -> str | None:
        """
        Return the id of the envelope that was posted first under this one's key, or None.

        Raises:
            ProtocolError: The key stands for something else.
        """
        if envelope.idempotency_key is None:
            return None
        post = self._by_key.get((envelope.sender_id, envelope.idempotency_key))
        if post is None:
            return None
        if post.fingerprint != _fingerprint(envelope):
            raise ProtocolError(
                f"idempotency key {envelope.idempotency_key!r} of {envelope.sender_id} in channel "
                f"{envelope.channel_id} was used for other content (envelope {post.envelope_id}); "
                "a new post needs a new key"
            )
        return post.envelope_id

    def knows_key_of(self, envelope: Envelope) -> bool:
        """Whether something was posted under this one's key, whatever it was."""
        return (
            envelope.idempotency_key is not None
            and (envelope.sender_id, envelope.idempotency_key) in self._by_key
        )

    def id_by_key(self, senders: Iterable[str], key: str) -> str | None:
        """Return the id of what any of `senders` posted under a key, or None."""
        posts = (self._by_key.get((sender, key)) for sender in senders)
        return next((post.envelope_id for post in posts if post is not None), None)

    def position_by_cause(self, sender_id: str, causation_id: str) -> int | None:
        """Return where the first envelope that `sender_id` posted because of another stands."""
        return self._by_cause.get((sender_id, causation_id))


def _fingerprint(envelope: Envelope) -> bytes:
    """
    Say what was said, in few bytes. The trace is left out: a retry may be a span of its own.
    """
    said = (
        envelope.audience,
        envelope.event_type,
        envelope.event_data,
        envelope.task_id,
        envelope.causation_id,
        envelope.priority,
        envelope.depth,
        envelope.ttl_seconds,
    )
    return hashlib.blake2b(_encode(said), digest_size=_FINGERPRINT_BYTES).digest()
