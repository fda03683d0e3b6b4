"""The rows of a table of limits: from the class that has them, and its docstring."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any, NamedTuple

import attrs

__all__ = ["LimitRow", "limit_rows", "load"]


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
