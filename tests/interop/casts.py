"""Who plays which part: every mix of the two sides but the one that is ours alone."""

from __future__ import annotations

import pytest

__all__ = ["MIXES", "members", "pairs"]

#: (whose hub, whose asker, whose answerer). All of AG2 is the control: what it shows is AG2's own
#: behaviour, and ours is held against it by the very same lines.
MIXES = [
    ("ag2", "ag2", "ag2"),
    ("ours", "ag2", "ag2"),
    ("ours", "ag2", "ours"),
    ("ours", "ours", "ag2"),
    ("ag2", "ours", "ag2"),
    ("ag2", "ag2", "ours"),
    ("ag2", "ours", "ours"),
]
pairs = pytest.mark.parametrize(
    ("hub", "asker", "answerer"),
    [pytest.param(*cast, id=f"{cast[0]}_hub-{cast[1]}-{cast[2]}") for cast in MIXES],
)
#: (whose hub, whose client), where one party has all the lines.
members = pytest.mark.parametrize(
    ("hub", "side"),
    [
        pytest.param("ag2", "ag2", id="ag2_hub-ag2"),
        pytest.param("ours", "ag2", id="our_hub-ag2"),
        pytest.param("ag2", "ours", id="ag2_hub-ours"),
    ],
)
