"""
Every limit of the reference, generated from its tables: a default, a unit, a reason, and a case.

A limit that is new needs all four: give its field a `unit` in its metadata and a line among its
class's attributes, and write its case.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from trio.testing import MockClock

from trio_hub import ServerLimits, serve_ws

from . import delivery_cases, hub_cases, link_cases, rule_cases
from .registry import CASES

DOCS = Path(__file__).parents[2] / "docs"
MODULES = (delivery_cases, hub_cases, link_cases, rule_cases)


def _limit_rows() -> Any:
    """The code that writes the tables; it is no package's."""
    spec = importlib.util.spec_from_file_location("limit_rows", DOCS / "_ext" / "limit_rows.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLES = _limit_rows()


def _limits() -> Iterator[Any]:
    page = (DOCS / "reference" / "limits.md").read_text()
    for path in re.findall(r"^:::\{limits\} ([\w.]+)$", page, re.MULTILINE):
        cls = TABLES.load(path)
        for row in TABLES.limit_rows(cls):
            yield pytest.param(cls, row, id=f"{cls.__name__}.{row.name}")


LIMITS = list(_limits())
every_limit = pytest.mark.parametrize(("cls", "row"), LIMITS)


def test_there_are_tables_and_cases() -> None:
    assert len(LIMITS) > 50
    assert {it.run.__module__ for it in CASES.values()} == {it.__name__ for it in MODULES}


@every_limit
def test_it_has_a_default_a_unit_and_a_reason(cls: type, row: Any) -> None:
    assert row.default is not None or "None" in row.reason, "None is a default that needs a word"
    assert row.unit, "say in the metadata of its field in what it is counted"
    assert len(row.reason.split()) > 4, "say among the attributes of its class why it is what it is"


@every_limit
def test_it_has_a_case(cls: type, row: Any) -> None:
    assert (cls, row.name) in CASES, f"{cls.__name__}.{row.name} has no case: write one"


def test_there_is_no_case_without_a_limit() -> None:
    known = {(it.values[0], it.values[1].name) for it in LIMITS}
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


@every_limit
def test_what_is_no_number_of_that_kind_is_refused_where_it_is_written(cls: type, row: Any) -> None:
    with pytest.raises(ValueError, match=rf"{row.name}|duration|base|outbox"):
        attrs.evolve(cls(), **{row.name: "soon" if row.unit == "a duration" else -1})


def _cases(*, virtual: bool) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "run",
        [
            pytest.param(it.run, id=f"{cls.__name__}.{name}")
            for (cls, name), it in CASES.items()
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
