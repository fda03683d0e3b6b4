"""
What any hub that keeps the promises of wire.md does, seen from outside, frame by frame.

Numbered by topic: 01 connect, 02 post, 03 deliver, 04 resume, 05 auth, 06 restart. Each test runs
in the dialect that AG2 speaks and in ours, in memory and over a socket. A test whose docstring
begins with "AG2" holds a promise that AG2 1.2.1 was seen to break.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest

from trio_hub.wire.frames import Dialect

from ..hub.peer import House, open_house

OpenHouse = Callable[..., AbstractAsyncContextManager[House]]


@pytest.fixture(
    params=[(over, dialect) for over in ("local", "ws") for dialect in Dialect],
    ids=lambda it: f"{it[0]}-{it[1]}",
)
def hub_house(request: pytest.FixtureRequest) -> OpenHouse:
    """`open_house` through one of the four doors."""
    over, dialect = request.param
    return partial(open_house, over=over, dialect=dialect)
