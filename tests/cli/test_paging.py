"""`through`: what stands on all pages, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from trio_hub.cli.paging import through

LETTERS = list("abcdefg")


class Shelf:
    """Answers with pages of LETTERS, and notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, str | None]] = []

    async def page(self, most: int, after: str | None) -> tuple[Sequence[str], str | None]:
        self.asked.append((most, after))
        start = 0 if after is None else LETTERS.index(after) + 1
        end = start + most
        return LETTERS[start:end], LETTERS[end - 1] if end < len(LETTERS) else None


async def test_all_pages_are_asked_for_one_behind_the_other() -> None:
    shelf = Shelf()
    assert [letter async for letter in through(shelf.page, page=3)] == LETTERS
    assert shelf.asked == [(3, None), (3, "c"), (3, "f")]


@pytest.mark.parametrize(
    ("limit", "asked"),
    [
        (0, []),
        (2, [(2, None)]),
        (3, [(3, None)]),
        (4, [(3, None), (1, "c")]),
        (50, [(3, None), (3, "c"), (3, "f")]),
    ],
)
async def test_no_more_is_asked_for_than_the_limit(
    limit: int, asked: list[tuple[int, str | None]]
) -> None:
    shelf = Shelf()
    got = [letter async for letter in through(shelf.page, page=3, limit=limit)]
    assert got == LETTERS[:limit]
    assert shelf.asked == asked


async def test_it_begins_behind_what_it_is_told() -> None:
    shelf = Shelf()
    assert [letter async for letter in through(shelf.page, page=10, after="e")] == ["f", "g"]
