"""
No fixed bound is forgotten: what is named as one has a row, or a word on why nobody meets it.

And whatever bounds something has such a name: numbers in validators are constants.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import trio_hub

from .internal import INTERNAL, KITS
from .tables import ROWS, bound_modules, bounds

PACKAGE = Path(trio_hub.__file__).parent
#: What compares with a number that somebody chose, and how many such numbers are no choice.
VALIDATORS = {"le", "lt", "max_len"}
QUEUES = {"open_memory_channel", "CapacityLimiter", "Semaphore"}


def _modules() -> Iterator[tuple[str, str]]:
    """Every module of the package, by its name below it, with its source."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if not name.startswith(KITS):
            yield name, path.read_text()


def _named() -> set[str]:
    return {
        f"{module}.{name}" for module, source in _modules() for name, _ in ROWS.bound_names(source)
    }


def _with_rows() -> set[str]:
    return {f"{module.__name__.removeprefix('trio_hub.')}.{row.name}" for module, row in bounds()}


def test_what_is_named_as_a_bound_has_a_row_or_a_reason_to_have_none() -> None:
    missing = _named() - _with_rows() - INTERNAL.keys()
    assert missing == set(), "who may meet it? see tests/limits/internal.py"


def test_nothing_is_excused_that_has_a_row_or_is_gone() -> None:
    assert INTERNAL.keys() & _with_rows() == set()
    assert INTERNAL.keys() - _named() == set()
    assert all(INTERNAL.values())


def test_a_new_bound_is_found() -> None:
    source = "QUEUE_EVENTS_MAX = 7\n_MAX_DEPTH: int = 2\nMAXIMAL = TIMEOUT_SECONDS = 1\n"
    assert [name for name, _ in ROWS.bound_names(source)] == ["QUEUE_EVENTS_MAX", "_MAX_DEPTH"]


def test_every_module_with_a_table_has_a_bound_and_each_is_there_once() -> None:
    counts = Counter(module for module, _ in bounds())
    assert set(counts) == set(bound_modules())
    assert len(bound_modules()) == len(set(bound_modules()))
    names = Counter(row.name for _, row in bounds())
    assert [name for name, count in names.items() if count > 1] == []


def _literals(source: str) -> Iterator[str]:
    """What a validator or a queue is given as a number, instead of a constant with a name."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.value if isinstance(node.func, ast.Subscript) else node.func
        name = ast.unparse(called).rpartition(".")[2]
        for argument in node.args[:1]:
            if not isinstance(argument, ast.Constant) or not isinstance(
                argument.value, int | float
            ):
                continue
            if name in VALIDATORS or (name in QUEUES and argument.value > 1):
                yield f"{node.lineno}: {ast.unparse(node)}"


def test_numbers_that_bound_something_have_names() -> None:
    found = [f"{module}:{it}" for module, source in _modules() for it in _literals(source)]
    assert found == []


@pytest.mark.parametrize(
    "source", ["max_len(20)", "attrs.validators.le(7.5)", "trio.open_memory_channel[str](16)"]
)
def test_a_number_without_a_name_is_found(source: str) -> None:
    assert list(_literals(source)) == [f"1: {source}"]
