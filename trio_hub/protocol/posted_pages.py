"""
Pages of what was posted: the part of `PostedIndex` that is long ago, in few bytes.

A page holds some hundred posts, sorted by the digest of what they are found by. It is made once
and never changed, so the bytes in memory are the bytes that can be kept. `PageShelf` finds a
digest among any number of them: what was never posted is told by a filter, without a look at the
pages; what the filter lets through (what was posted, and a few in a thousand of the rest) is
looked up, and the page decides.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import attrs

__all__ = ["CAUSE_VALUE", "DIGEST_BYTES", "KEY_VALUE", "PageShelf", "PostedPage"]

DIGEST_BYTES: Final = 16
#: What a page says of a key, and of a cause.
KEY_VALUE: Final = 32
CAUSE_VALUE: Final = 8
_HEAD: Final = struct.Struct(">QQII")
# Bits of a filter for each entry that it has room for.
_BITS_PER_ENTRY: Final = 16
_SMALLEST_ROW: Final = 4096


@attrs.frozen
class PostedPage:
    """
    What was posted at the positions from `start` to `stop` (exclusive).

    Attributes:
        keys: Entries of a digest and `KEY_VALUE` bytes, sorted.
        causes: Entries of a digest and `CAUSE_VALUE` bytes, sorted.
    """

    start: int
    stop: int
    keys: bytes = attrs.field(repr=False)
    causes: bytes = attrs.field(repr=False)

    @classmethod
    def of(
        cls, start: int, stop: int, keys: Mapping[bytes, bytes], causes: Mapping[bytes, bytes]
    ) -> PostedPage:
        """Make a page of digests and what each stands for."""
        return cls(start, stop, _sorted(keys), _sorted(causes))

    def encode(self) -> bytes:
        """Return the page as bytes."""
        head = _HEAD.pack(self.start, self.stop, len(self.keys), len(self.causes))
        return b"".join((head, self.keys, self.causes))

    @classmethod
    def decode(cls, data: bytes) -> PostedPage:
        """
        Return the page that `encode` made bytes of.

        Raises:
            ValueError: It is none.
        """
        try:
            start, stop, keys, causes = _HEAD.unpack_from(data)
        except struct.error as error:
            raise ValueError(f"no page: {error}") from error
        middle = _HEAD.size + keys
        if (
            len(data) != middle + causes
            or keys % (DIGEST_BYTES + KEY_VALUE)
            or causes % (DIGEST_BYTES + CAUSE_VALUE)
        ):
            raise ValueError(f"no page: {len(data)} bytes for {keys} and {causes}")
        return cls(start, stop, data[_HEAD.size : middle], data[middle:])

    def __len__(self) -> int:
        keys = len(self.keys) // (DIGEST_BYTES + KEY_VALUE)
        return keys + len(self.causes) // (DIGEST_BYTES + CAUSE_VALUE)

    def digests(self) -> Iterator[bytes]:
        """Return everything that it can be asked for."""
        for entries, value in ((self.keys, KEY_VALUE), (self.causes, CAUSE_VALUE)):
            for at in range(0, len(entries), DIGEST_BYTES + value):
                yield entries[at : at + DIGEST_BYTES]

    def entries(self) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
        """Return keys and causes as they were before they were a page."""
        return _apart(self.keys, KEY_VALUE), _apart(self.causes, CAUSE_VALUE)


class PageShelf:
    """
    Pages, in the order of their positions.

    They stand in rows, each with one filter and room for twice as many as the one before, so
    nothing that is there has to be gone over again when more comes.
    """

    __slots__ = ("_rows", "pages")

    def __init__(self) -> None:
        self.pages: list[PostedPage] = []
        self._rows: list[_Row] = []

    def add(self, page: PostedPage) -> None:
        """Take the next page."""
        self.pages.append(page)
        count = len(page)
        if not self._rows or not self._rows[-1].has_room_for(count):
            room = 2 * self._rows[-1].room if self._rows else _SMALLEST_ROW
            self._rows.append(_Row(max(room, count)))
        self._rows[-1].add(page, count)

    def key(self, digest: bytes) -> bytes | None:
        """Return what a key stands for; the first time that it was used counts."""
        for page in self._candidates(digest):
            value = _find(page.keys, digest, KEY_VALUE)
            if value is not None:
                return value
        return None

    def cause(self, digest: bytes) -> bytes | None:
        """Return what a cause stands for; the first time that it was used counts."""
        for page in self._candidates(digest):
            value = _find(page.causes, digest, CAUSE_VALUE)
            if value is not None:
                return value
        return None

    def _candidates(self, digest: bytes) -> Iterable[PostedPage]:
        if not self._rows:
            return ()
        return self._looked_through(int.from_bytes(digest[:12], "big"))

    def _looked_through(self, bits: int) -> Iterator[PostedPage]:
        for row in self._rows:
            if row.may_have(bits):
                yield from row.pages


class _Row:
    """Some pages and their filter: three bits for each entry."""

    __slots__ = ("_count", "_filter", "_mask", "pages", "room")

    def __init__(self, room: int) -> None:
        size = 1 << (room * _BITS_PER_ENTRY - 1).bit_length()
        self.room = room
        self.pages: list[PostedPage] = []
        self._count = 0
        self._mask = size - 1
        self._filter = bytearray(size >> 3)

    def has_room_for(self, count: int) -> bool:
        return self._count + count <= self.room

    def add(self, page: PostedPage, count: int) -> None:
        self.pages.append(page)
        self._count += count
        mask, bits_of = self._mask, self._filter
        for digest in page.digests():
            bits = int.from_bytes(digest[:12], "big")
            for at in (bits & mask, (bits >> 32) & mask, (bits >> 64) & mask):
                bits_of[at >> 3] |= 1 << (at & 7)

    def may_have(self, bits: int) -> bool:
        mask, bits_of = self._mask, self._filter
        for at in (bits & mask, (bits >> 32) & mask, (bits >> 64) & mask):
            if not bits_of[at >> 3] >> (at & 7) & 1:
                return False
        return True


def _sorted(entries: Mapping[bytes, bytes]) -> bytes:
    return b"".join(digest + entries[digest] for digest in sorted(entries))


def _apart(entries: bytes, value: int) -> dict[bytes, bytes]:
    width = DIGEST_BYTES + value
    return {
        entries[at : at + DIGEST_BYTES]: entries[at + DIGEST_BYTES : at + width]
        for at in range(0, len(entries), width)
    }


def _find(entries: bytes, digest: bytes, value: int) -> bytes | None:
    width = DIGEST_BYTES + value
    low, high = 0, len(entries) // width
    while low < high:
        middle = (low + high) // 2
        at = middle * width
        found = entries[at : at + DIGEST_BYTES]
        if found == digest:
            return entries[at + DIGEST_BYTES : at + width]
        if found < digest:
            low = middle + 1
        else:
            high = middle
    return None
