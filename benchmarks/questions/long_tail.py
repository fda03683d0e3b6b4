"""
How long does the last page of a long channel take to read?

The last fifty envelopes, once by their position (`read_wal`) and once from the end (`read_tail`,
which only this project's hub knows).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.plain_load import median_ms
from benchmarks.questions.millionth import fill

if TYPE_CHECKING:
    from benchmarks.plain_load import Generator

_PAGE = 50


async def ask(generator: Generator, envelopes: int, repeats: int) -> dict[str, float]:
    """Fill a channel with `envelopes`, and read its last page `repeats` times; medians count."""
    alice = await generator.agent("alice")
    bob = await generator.agent("bob")
    channel_id = await alice.open("conversation", bob)

    await fill(alice, bob, channel_id, envelopes)

    async def by_position() -> None:
        # The invite, its ack and `opened` stand before the posts.
        since = envelopes + 3 - _PAGE
        page = await alice.call("read_wal", channel_id=channel_id, since=since)
        assert len(page) == _PAGE, len(page)

    async def from_the_end() -> None:
        tail = await alice.call("read_tail", channel_id=channel_id, limit=_PAGE)
        assert len(tail["envelopes"]) == _PAGE, len(tail["envelopes"])

    return {
        "last_50_by_position_ms": await median_ms(by_position, repeats),
        "last_50_from_the_end_ms": await median_ms(from_the_end, repeats),
    }
