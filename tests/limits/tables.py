"""What stands in the tables of the reference: read from the page, with the code that writes them."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["ROWS", "bound_modules", "bounds", "limits"]

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference" / "limits.md").read_text()


def _limit_rows() -> Any:
    """The code that writes the tables; it is no package's."""
    spec = importlib.util.spec_from_file_location("limit_rows", DOCS / "_ext" / "limit_rows.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ROWS = _limit_rows()


def limits() -> Iterator[tuple[type, Any]]:
    """Yield the limits that can be set: their class, and their row."""
    for path in re.findall(r"^:::\{limits\} ([\w.]+)$", PAGE, re.MULTILINE):
        cls = ROWS.load(path)
        for row in ROWS.limit_rows(cls):
            yield cls, row


def bound_modules() -> list[ModuleType]:
    """Return the modules whose fixed bounds have a table."""
    blocks = re.findall(r"^:::\{bounds\}([^:]*)^:::$", PAGE, re.MULTILINE)
    return [importlib.import_module(name) for block in blocks for name in block.split()]


def bounds() -> Iterator[tuple[ModuleType, Any]]:
    """Yield the fixed bounds: their module, and their row."""
    for module in bound_modules():
        for row in ROWS.bound_rows(module):
            yield module, row
