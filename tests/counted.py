"""Ids that count how often they are compared, for tests of what long lists of them cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class CountedId(str):
    """An id; to look it up in a tuple compares it with all before it, in a set with hardly any."""

    __slots__ = ()

    compared: ClassVar[int] = 0

    def __eq__(self, other: object) -> bool:
        CountedId.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def many_ids(count: int, prefix: str = "agent") -> tuple[CountedId, ...]:
    """Return so many, none of them the object that an earlier call made of the same text."""
    return tuple(CountedId(f"{prefix}-{number}") for number in range(count))


@contextmanager
def compared_at_most(times: int) -> Iterator[None]:
    """Expect no more comparisons than that within the block."""
    CountedId.compared = 0
    yield
    assert CountedId.compared <= times
