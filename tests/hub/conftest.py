"""The doors that the tests of the hub come through."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from trio_hub.wire.frames import Dialect

from .peer import open_house

OpenHouse = Callable[..., object]


@pytest.fixture(
    params=[
        ("local", Dialect.BATCHED),
        ("local", Dialect.PLAIN),
        ("ws", Dialect.BATCHED),
        ("ws", Dialect.PLAIN),
    ],
    ids=lambda it: f"{it[0]}-{it[1]}",
)
def any_house(request: pytest.FixtureRequest) -> OpenHouse:
    """`open_house` through one of the doors."""
    over, dialect = request.param
    return partial(open_house, over=over, dialect=dialect)
