"""Going through what a hub shows a page at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

__all__ = ["through"]

T = TypeVar("T")


async def through(
    ask: Callable[[int, str | None], Awaitable[tuple[Sequence[T], str | None]]],
    *,
    page: int,
    limit: int | None = None,
    after: str | None = None,
) -> AsyncIterator[T]:
    """
    Yield what stands on all pages.

    Args:
        ask: Asked for so many, behind something; returns them, and behind what to go on (None:
            that was all).
        page: So many at a time.
        limit: So many in all; None is all that there are.
        after: Behind what to begin.
    """
    left = limit
    while left is None or left > 0:
        items, after = await ask(page if left is None else min(left, page), after)
        for item in items:
            yield item
        if after is None:
            return
        left = None if left is None else left - len(items)
