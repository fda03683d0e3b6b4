"""
Not a question: fill a hub's store, so that the time to open it can be measured.

The envelopes are spread over 50 channels and posted from all of them at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.questions import many_channels

if TYPE_CHECKING:
    from benchmarks.plain_load import Generator


async def ask(generator: Generator, envelopes: int) -> dict[str, float]:
    """Post `envelopes` in all."""
    return await many_channels.ask(generator, channels=50, posts=envelopes)
