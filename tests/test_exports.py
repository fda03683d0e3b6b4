"""The public names: importable, documented, and nothing else beside them."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import trio_hub

#: The packages whose `__init__` re-exports; users import from the first, readers from the others.
RE_EXPORTING = [
    "trio_hub",
    "trio_hub.auth",
    "trio_hub.client",
    "trio_hub.federation",
    "trio_hub.hub",
    "trio_hub.links",
    "trio_hub.mcp",
    "trio_hub.metrics",
    "trio_hub.protocol.adapters",
    "trio_hub.protocol.workflow",
    "trio_hub.providers",
    "trio_hub.records",
    "trio_hub.stores",
    "trio_hub.testing",
]


def _public(name: str) -> dict[str, object]:
    module = importlib.import_module(name)
    # What is imported when it is asked for is in `dir()` only.
    values = {key: getattr(module, key) for key in dir(module) if not key.startswith("_")}
    return {key: it for key, it in values.items() if not isinstance(it, types.ModuleType)}


PUBLIC = [(name, key) for name in RE_EXPORTING for key in sorted(_public(name))]


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_what_is_exported_is_documented(module: str, name: str) -> None:
    value = _public(module)[name]
    if inspect.isclass(value) or inspect.isroutine(value):
        documentation = value.__doc__
        assert documentation, f"{module}.{name} has no docstring"
        # What attrs and Enum put there by themselves says nothing.
        assert not documentation.startswith(f"{name}("), f"{module}.{name} has no docstring"


@pytest.mark.parametrize("module", RE_EXPORTING)
def test_a_re_export_says_that_it_is_one(module: str) -> None:
    # `from .x import Y as Y` is the form that type checkers read as public.
    file = importlib.import_module(module).__file__
    assert file is not None
    stub = Path(file).with_suffix(".pyi")
    path = stub if stub.exists() else Path(file)
    hidden = [
        alias.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
        if alias.asname != alias.name
    ]
    assert hidden == []


@pytest.mark.parametrize("module", RE_EXPORTING)
def test_nothing_foreign_leaks(module: str) -> None:
    foreign = [
        f"{module}.{key} comes from {owner}"
        for key, value in _public(module).items()
        # An alias of a type, such as `Duration`, belongs to no module.
        if (inspect.isclass(value) or inspect.isroutine(value))
        and not (owner := value.__module__).startswith("trio_hub")
    ]
    assert foreign == []


def test_every_error_record_and_store_is_at_the_top() -> None:
    from trio_hub import errors

    top = set(_public("trio_hub"))
    classes = {name for name in errors.__all__ if inspect.isclass(getattr(errors, name))}
    assert classes <= top
    assert "__version__" in vars(trio_hub)


def _modules() -> Iterator[str]:
    for found in pkgutil.walk_packages(trio_hub.__path__, "trio_hub."):
        if found.name.endswith(("__main__", "store_contract")):
            continue
        yield found.name


@pytest.mark.parametrize("name", sorted(_modules()))
def test_every_module_says_what_it_is_and_its_all_is_true(name: str) -> None:
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip(), f"{name} has no docstring"
    for exported in getattr(module, "__all__", ()):
        assert hasattr(module, exported), f"{name}.__all__ names {exported}, which is not there"
        assert not exported.startswith("_"), f"{name}.__all__ names {exported}, which is private"
