"""
Every limit of the reference, generated from its tables: a default, a unit, a reason, and a case.

A limit that is new needs all four: give its field a `unit` in its metadata and a line among its
class's attributes, and write its case. A bound that is fixed needs a value, a unit in its name, a
comment above it, and a case; `test_bounds` finds those that have no row.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import attrs
import pytest
from trio.testing import MockClock

from trio_hub import ServerLimits, serve_ws

from . import (
    delivery_cases,
    hub_cases,
    inside_cases,
    link_cases,
    outside_cases,
    request_cases,
    rule_cases,
    text_cases,
)
from .registry import CASES
from .tables import bounds, limits

MODULES = (
    delivery_cases,
    hub_cases,
    inside_cases,
    link_cases,
    outside_cases,
    request_cases,
    rule_cases,
    text_cases,
)
Owner = type | ModuleType


def _params(rows: Any) -> list[Any]:
    return [pytest.param(owner, row, id=f"{owner.__name__}.{row.name}") for owner, row in rows]


LIMITS, BOUNDS = _params(limits()), _params(bounds())
every_limit = pytest.mark.parametrize(("owner", "row"), LIMITS + BOUNDS)
every_limit_that_can_be_set = pytest.mark.parametrize(("cls", "row"), LIMITS)


def test_there_are_tables_and_cases() -> None:
    assert len(LIMITS) > 50
    assert len(BOUNDS) > 50
    assert {it.run.__module__ for it in CASES.values()} == {it.__name__ for it in MODULES}


@every_limit
def test_it_has_a_default_a_unit_and_a_reason(owner: Owner, row: Any) -> None:
    assert row.default is not None or "None" in row.reason, "None is a default that needs a word"
    assert row.unit, "say in the metadata of its field, or in its name, in what it is counted"
    assert len(row.reason.split()) > 4, "say why: in its class's attributes, or above it (#:)"


@every_limit
def test_it_has_a_case(owner: Owner, row: Any) -> None:
    assert (owner, row.name) in CASES, f"{owner.__name__}.{row.name} has no case: write one"


def test_there_is_no_case_without_a_limit() -> None:
    known = {(it.values[0], it.values[1].name) for it in LIMITS + BOUNDS}
    assert set(CASES) <= known


def test_a_number_that_a_port_is_served_with_is_a_limit_by_another_name() -> None:
    numbers = [
        name
        for name, it in inspect.signature(serve_ws).parameters.items()
        if re.search(r"\b(int|float)\b", it.annotation) and name != "port"
    ]
    assert numbers
    fields = attrs.fields_dict(ServerLimits)
    assert {f"{name.removeprefix('max_')}_max" for name in numbers} <= fields.keys()


@every_limit_that_can_be_set
def test_what_is_no_number_of_that_kind_is_refused_where_it_is_written(cls: type, row: Any) -> None:
    with pytest.raises(ValueError, match=rf"{row.name}|duration|base|outbox"):
        attrs.evolve(cls(), **{row.name: "soon" if row.unit == "a duration" else -1})


def _cases(*, virtual: bool) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "run",
        [
            pytest.param(it.run, id=f"{owner.__name__}.{name}")
            for (owner, name), it in CASES.items()
            if it.virtual == virtual
        ],
    )


@_cases(virtual=False)
async def test_what_is_at_it_passes_and_one_past_it_does_not(run: Callable[[], Any]) -> None:
    await run()


@_cases(virtual=True)
async def test_what_is_in_time_passes_and_later_does_not(
    run: Callable[[], Any], autojump_clock: MockClock
) -> None:
    await run()
