"""
Pages of what was posted: the part of `PostedIndex` that is long ago, in few bytes.

A page holds some hundred posts, sorted by the digest of what they are found by. It is made once
and never changed, so the bytes in memory are the bytes that can be kept. `PageShelf` finds a
digest among any number of them: what was never posted is told by a filter, without a look at the
pages; what the filter lets through (what was posted, and a few in a thousand of the rest) is
looked up, and the page decides.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Mapping
from typing import Final

import attrs

__all__ = ["CAUSE_VALUE", "DIGEST_BYTES", "KEY_VALUE", "PageShelf", "PostedPage"]

DIGEST_BYTES: Final = 16
#: What a page says of a key, and of a cause.
KEY_VALUE: Final = 32
CAUSE_VALUE: Final = 8
_HEAD: Final = struct.Struct(">QQII")
# Bytes of a filter for each entry that it has room for.
_BYTES_PER_ENTRY: Final = 2
_SMALLEST_ROW: Final = 4096
# What filters look at of a digest: two numbers, as memory has them.
_WORDS: Final = struct.Struct("=II")
# What an entry sets in a byte: three of its bits. The highest byte of a word says which.
_TRIPLES: Final = [sum(1 << bit for bit in it) for it in itertools.combinations(range(8), 3)]
_MARKS: Final = tuple(_TRIPLES[number % len(_TRIPLES)] for number in range(256))


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

    def words(self) -> Iterator[tuple[list[int], list[int]]]:
        """Return the first and the second word of everything that it can be asked for."""
        for entries, value in ((self.keys, KEY_VALUE), (self.causes, CAUSE_VALUE)):
            words, width = memoryview(entries).cast("I"), (DIGEST_BYTES + value) // 4
            yield words[::width].tolist(), words[1::width].tolist()

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
        for row in self._rows_with(digest):
            for page in row.pages:
                value = _find(page.keys, digest, KEY_VALUE)
                if value is not None:
                    return value
        return None

    def cause(self, digest: bytes) -> bytes | None:
        """Return what a cause stands for; the first time that it was used counts."""
        for row in self._rows_with(digest):
            for page in row.pages:
                value = _find(page.causes, digest, CAUSE_VALUE)
                if value is not None:
                    return value
        return None

    def _rows_with(self, digest: bytes) -> list[_Row]:
        first, second = _WORDS.unpack_from(digest)
        return [row for row in self._rows if row.may_have(first, second)]


class _Row:
    """
    Some pages and their filter: for each entry three bits in each of two bytes.

    A channel's first use after a restart fills its filters, so that is a step or two for an entry.
    """

    __slots__ = ("_count", "_filter", "_mask", "pages", "room")

    def __init__(self, room: int) -> None:
        size = 1 << (room * _BYTES_PER_ENTRY - 1).bit_length()
        self.room = room
        self.pages: list[PostedPage] = []
        self._count = 0
        self._mask = size - 1
        self._filter = bytearray(size)

    def has_room_for(self, count: int) -> bool:
        return self._count + count <= self.room

    def add(self, page: PostedPage, count: int) -> None:
        self.pages.append(page)
        self._count += count
        mask, filled, marks = self._mask, self._filter, _MARKS
        for both in page.words():
            for words in both:
                for word in words:
                    filled[word & mask] |= marks[word >> 24]

    def may_have(self, first: int, second: int) -> bool:
        mask, filled = self._mask, self._filter
        mark = _MARKS[first >> 24]
        if filled[first & mask] & mark != mark:
            return False
        mark = _MARKS[second >> 24]
        return filled[second & mask] & mark == mark


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
