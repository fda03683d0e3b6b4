"""
What operators have said of names, on disk: one record for each name.

It is kept by name and not by agent: it holds for whoever registers anew under the name, and may be
said before anybody has come. Beside the records stands a list of their names, so that of a record
that cannot be read any more it is still known that there was one.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

import attrs
import trio

from ..errors import FrameError, ProtocolError, StoreError
from ..ids import ID_PATTERN
from ..stores import Change, Delete, Put
from ..wire.validation import decode_strictly, encode
from .committer import Committer

__all__ = ["NAMES", "NAME_CHARACTERS_MAX", "BookWords", "NamedBook"]

#: What the list of names is called, below the root of a book.
NAMES = "names"

#: The longest name that an agent may register, and that operators may set a rule for or revoke: any
#: that one can have in earnest. It is shown to others and stands in the audit log, whole.
NAME_CHARACTERS_MAX = 1000


class _Named(Protocol):
    @property
    def name(self) -> str: ...


R = TypeVar("R", bound=_Named)


@attrs.frozen(kw_only=True)
class BookWords:
    """
    How a book speaks of what is in it.

    Attributes:
        record: One of them: "operator's rule".
        records: All of them, and what they are: "rules of operators".
        limit: The name of the limit of how many there may be.
        first: What to do first where there are too many: "clear one".
    """

    record: str
    records: str
    limit: str
    first: str


class NamedBook(Generic[R]):
    """
    Records by name.

    Args:
        committer: Writes what changes.
        root: The path below which they are kept.
        record: Their class.
        words: How to speak of them.
        lost: Makes what stands for one that cannot be read, from its name.
        on_change: Called with a name and its record, or None, in the moment in which that is
            durable and in force.
        names_max: Of how many names there may be one.
    """

    def __init__(
        self,
        committer: Committer,
        *,
        root: str,
        record: type[R],
        words: BookWords,
        lost: Callable[[str], R],
        on_change: Callable[[str, R | None], None],
        names_max: int,
    ) -> None:
        self._committer = committer
        self._root = root
        self._record = record
        self._words = words
        self._lost = lost
        self._on_change = on_change
        self._names_max = names_max
        self._records: dict[str, R] = {}
        # Names of which a change failed, and may be on disk all the same; written once more with
        # the next change, or the list of names would not be that of the records.
        self._in_doubt: set[str] = set()
        # The list of names is changed as a whole: one at a time, or a name is lost.
        self._lock = trio.Lock()

    def load(self, documents: Mapping[str, bytes]) -> tuple[list[str], list[str]]:
        """
        Take what the store holds below the root.

        Returns:
            One sentence for each document that cannot be read, and the names whose record is lost.
        """
        problems: list[str] = []
        names: tuple[str, ...] = ()
        for path, data in documents.items():
            try:
                if path == f"{self._root}/{NAMES}":
                    names = decode_strictly(data, tuple[str, ...], "list of names")
                else:
                    record = decode_strictly(data, self._record, self._words.record)
                    self._records[record.name] = record
            except FrameError as error:
                problems.append(f"{path} cannot be read: {error}")
        lost = [name for name in names if name not in self._records]
        self._records |= {name: self._lost(name) for name in lost}
        return problems, lost

    def __len__(self) -> int:
        return len(self._records)

    def find(self, name: str) -> R | None:
        """Return the record of a name, or None."""
        return self._records.get(name)

    def page(self, limit: int, after: str | None) -> tuple[tuple[R, ...], str | None]:
        """Return records sorted by name, so many at most, behind one; and where to go on."""
        names = sorted(self._records)
        start = 0 if after is None else bisect_right(names, after)
        shown = names[start : start + limit]
        return (
            tuple(self._records[name] for name in shown),
            shown[-1] if shown and start + limit < len(names) else None,
        )

    async def put(
        self, name: str, record: R | None, *, check: Callable[[], None] | None = None
    ) -> R | None:
        """
        Keep a record, or take it away (None). Durable, and in force, when it returns.

        Args:
            check: Called once no other change is under way; what it raises, this raises.

        Returns:
            What there was before.

        Raises:
            ProtocolError: Nobody can have such a name, or there are too many.
            StoreError: It could not be kept, as far as is known.

        Cancellation: it may or may not be kept.
        """
        if not name or len(name) > NAME_CHARACTERS_MAX or ID_PATTERN.fullmatch(name):
            raise ProtocolError(
                f"{name[:40]!r} is no name: {self._words.records} are for names of agents, which "
                f"are no ids and have at most {NAME_CHARACTERS_MAX} characters"
            )
        async with self._lock:
            if check is not None:
                check()
            before = self._records.get(name)
            after = {**self._records}
            if record is None:
                after.pop(name, None)
            else:
                after[name] = record
            if len(after) > max(self._names_max, len(self._records)):
                raise ProtocolError(
                    f"there are {self._words.records} for {len(self._records)} names, and "
                    f"{self._words.limit} allows no more: {self._words.first} first"
                )
            touched = self._in_doubt | {name}

            def keep() -> None:
                self._records = after
                self._in_doubt -= touched
                self._on_change(name, record)

            def doubt(_error: StoreError) -> None:
                self._in_doubt |= touched

            await self._committer.submit(self._changes(after, touched), keep, doubt).wait()
            return before

    def _changes(self, records: Mapping[str, R], touched: set[str]) -> list[Change]:
        changes: list[Change] = [Put(f"{self._root}/{NAMES}", encode(sorted(records)))]
        for name in sorted(touched):
            # A name may hold anything, and be longer than a part of a path.
            path = f"{self._root}/{hashlib.sha256(name.encode()).hexdigest()}"
            record = records.get(name)
            changes.append(Delete(path) if record is None else Put(path, encode(record)))
        return changes
