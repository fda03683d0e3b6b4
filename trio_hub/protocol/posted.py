"""
What was posted before: by which idempotency key, and because of which envelope.

Both indexes are made from the log when a channel is loaded, or from a snapshot and what came
after it, so they live as long as the log does. What was posted last stands in dictionaries; as
soon as that is a page full, it becomes a page (`PostedPage`), which takes a tenth of the memory.
Posts are found by digests of 128 bits, in both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from ..errors import ProtocolError
from ..ids import ID_PATTERN
from ..records import Envelope
from .posted_pages import CAUSE_VALUE, DIGEST_BYTES, PageShelf, PostedPage

__all__ = ["PAGE_ENTRIES", "PostedIndex"]

_FINGERPRINT_BYTES = 16
# Digests that are remembered, and of what: a key may be as long as an envelope, and hundreds of
# those would be gigabytes.
_REMEMBERED_MAX = 256
_REMEMBERED_BYTES_MAX = 256
#: Entries that a page is made of; making one takes about as many microseconds.
PAGE_ENTRIES: Final = 512

_encode = msgspec.json.Encoder(order="deterministic").encode


class PostedIndex:
    """
    Finds earlier posts of one channel, by sender and key or by sender and cause.

    Attributes:
        length: How many records of the log are in it.
    """

    __slots__ = ("_by_cause", "_by_key", "_odd", "_shelf", "_start", "length")

    def __init__(self) -> None:
        self.length = 0
        self._shelf = PageShelf()
        # Where the last page ends, and what came after it: digest -> what a page says of it.
        self._start = 0
        self._by_key: dict[bytes, bytes] = {}
        self._by_cause: dict[bytes, bytes] = {}
        # Posts under ids that no hub has minted: they fit in no page.
        self._odd: dict[bytes, tuple[bytes, str]] = {}

    def add(self, envelope: Envelope) -> None:
        """Remember the next envelope. The first of a key or a cause is the one that counts."""
        if envelope.idempotency_key is not None:
            key = _digests[envelope.sender_id, envelope.idempotency_key]
            if self._post(key) is None:
                self._remember(key, envelope)
        if envelope.causation_id is not None:
            cause = _digests[envelope.sender_id, envelope.causation_id]
            if self._position(cause) is None:
                self._by_cause[cause] = self.length.to_bytes(CAUSE_VALUE, "big")
        self.length += 1
        if len(self._by_key) + len(self._by_cause) >= PAGE_ENTRIES:
            self._shelf.add(self.rest())
            self._start = self.length
            self._by_key, self._by_cause = {}, {}

    def skip(self, count: int = 1) -> None:
        """Take note of records that nothing can be made of."""
        self.length += count

    # Keeping it

    @property
    def can_be_kept(self) -> bool:
        """Whether pages and `rest` are all of it."""
        return not self._odd

    @property
    def pages(self) -> Sequence[PostedPage]:
        """What stands in pages, which never change. What was posted after them is in `rest`."""
        return self._shelf.pages

    def rest(self) -> PostedPage:
        """Return what stands in no page yet, as a page."""
        return PostedPage.of(self._start, self.length, self._by_key, self._by_cause)

    def restore(self, page: PostedPage) -> None:
        """
        Take the next page of an index that was kept.

        Raises:
            ValueError: It is not the next one.
        """
        if page.start != self.length or page.stop < page.start:
            raise ValueError(f"posts {page.start} to {page.stop} do not follow {self.length}")
        self._shelf.add(page)
        self._start = self.length = page.stop

    def restore_rest(self, page: PostedPage) -> None:
        """
        Take what stood in no page when the index was kept.

        Raises:
            ValueError: It does not follow the pages.
        """
        if page.start != self.length or page.stop < page.start:
            raise ValueError(f"posts {page.start} to {page.stop} do not follow {self.length}")
        self._by_key, self._by_cause = page.entries()
        self.length = page.stop

    # Finding

    def duplicate_of(self, envelope: Envelope) -> str | None:
        """
        Return the id of the envelope that was posted first under this one's key, or None.

        Raises:
            ProtocolError: The key stands for something else.
        """
        if envelope.idempotency_key is None:
            return None
        post = self._post(_digests[envelope.sender_id, envelope.idempotency_key])
        if post is None:
            return None
        fingerprint, envelope_id = post
        if fingerprint != _fingerprint(envelope):
            raise ProtocolError(
                f"idempotency key {envelope.idempotency_key!r} of {envelope.sender_id} in channel "
                f"{envelope.channel_id} was used for other content (envelope {envelope_id}); "
                "a new post needs a new key"
            )
        return envelope_id

    def knows_key_of(self, envelope: Envelope) -> bool:
        """Whether something was posted under this one's key, whatever it was."""
        return (
            envelope.idempotency_key is not None
            and self._post(_digests[envelope.sender_id, envelope.idempotency_key]) is not None
        )

    def id_by_key(self, senders: Iterable[str], key: str) -> str | None:
        """Return the id of what any of `senders` posted under a key, or None."""
        posts = (self._post(_digests[sender, key]) for sender in senders)
        return next((post[1] for post in posts if post is not None), None)

    def position_by_cause(self, sender_id: str, causation_id: str) -> int | None:
        """Return where the first envelope that `sender_id` posted because of another stands."""
        position = self._position(_digests[sender_id, causation_id])
        return None if position is None else int.from_bytes(position, "big")

    def _remember(self, key: bytes, envelope: Envelope) -> None:
        fingerprint, envelope_id = _fingerprint(envelope), envelope.envelope_id
        if ID_PATTERN.fullmatch(envelope_id):
            self._by_key[key] = fingerprint + bytes.fromhex(envelope_id)
        else:
            self._odd[key] = fingerprint, envelope_id

    def _post(self, key: bytes) -> tuple[bytes, str] | None:
        """Return what was said first under a key, in few bytes, and its id."""
        found = self._by_key.get(key) or self._shelf.key(key)
        if found is not None:
            return found[:_FINGERPRINT_BYTES], found[_FINGERPRINT_BYTES:].hex()
        return self._odd.get(key)

    def _position(self, cause: bytes) -> bytes | None:
        return self._by_cause.get(cause) or self._shelf.cause(cause)


class _Digests(dict[tuple[str, str], bytes]):
    """
    What a sender's key or cause is found by, by the two: no two of them share it.

    A post asks for its key three times (was it there, is it the same, it is there now), so some are
    remembered, if they are short.
    """

    def __missing__(self, of: tuple[str, str]) -> bytes:
        sender_id, name = of
        said = f"{len(sender_id)}:{sender_id}{name}".encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(said, digest_size=DIGEST_BYTES).digest()
        if len(said) <= _REMEMBERED_BYTES_MAX:
            if len(self) >= _REMEMBERED_MAX:
                self.clear()
            self[of] = digest
        return digest


_digests = _Digests()


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
