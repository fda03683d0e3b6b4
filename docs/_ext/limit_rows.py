"""
The rows of tables of limits: from the class that has them, and its docstring; and of fixed bounds,
from the modules that have them, and the comments that stand above them.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import attrs

__all__ = ["LimitRow", "bound_names", "bound_rows", "limit_rows", "load"]


class LimitRow(NamedTuple):
    """One limit; "" is what the code does not say."""

    name: str
    default: Any
    unit: str
    reason: str


def load(path: str) -> Any:
    """Return what a dotted path names."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def limit_rows(cls: Any) -> list[LimitRow]:
    """Return every limit of a class; what a block in it limits is in a table of its own."""
    reasons = _attributes_in(inspect.getdoc(cls) or "")
    defaults = cls()
    return [
        LimitRow(
            field.name,
            getattr(defaults, field.name),
            field.metadata.get("unit", ""),
            reasons.get(field.name, ""),
        )
        for field in attrs.fields(cls)
        if not attrs.has(type(getattr(defaults, field.name))) and not field.metadata.get("choice")
    ]


def bound_names(source: str) -> Iterator[tuple[str, int]]:
    """Yield every constant of a module that is named as a bound, private ones too, with its line."""
    for node in ast.parse(source).body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        for target in targets:
            if isinstance(target, ast.Name) and re.search(r"(^|_)(MAX|MIN)(_|$)", target.id):
                yield target.id, node.lineno


def bound_rows(module: ModuleType) -> list[LimitRow]:
    """
    Return every fixed bound of a module: what is public and named ``<what>_<unit>_MAX``, or MIN.

    The reason is the comment above it, whose lines begin with ``#:``.
    """
    source = inspect.getsource(module)
    lines = source.splitlines()
    return [
        LimitRow(name, getattr(module, name), _unit_in(name), _comment_above(lines, line))
        for name, line in bound_names(source)
        if not name.startswith("_")
    ]


def _unit_in(name: str) -> str:
    match = re.fullmatch(r"(?:[A-Z0-9_]+_)?([A-Z]+)_(?:MAX|MIN)", name)
    return match[1].lower() if match else ""


def _comment_above(lines: list[str], line: int) -> str:
    found: list[str] = []
    for text in reversed(lines[: line - 1]):
        if not text.startswith("#: "):
            break
        found.insert(0, text.removeprefix("#: "))
    return " ".join(found)


def _attributes_in(doc: str) -> dict[str, str]:
    _, _, block = doc.partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in block.splitlines():
        match = re.match(r" {4}(\w+): (.*)", line)
        if match:
            name = match[1]
            found[name] = match[2]
        elif line.strip() and name:
            found[name] += " " + line.strip()
        elif not line.strip():
            break
    return found
