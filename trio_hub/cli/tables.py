"""Showing rows to people: a table in a terminal, plain columns where the output goes elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["print_table", "printable"]


def printable(text: str) -> str:
    """Keep what peers wrote from moving the cursor or making lines of its own."""
    return text if text.isprintable() else repr(text)[1:-1]


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below their columns' names, ids whole; peers' texts are made printable."""
    safe = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415,RUF100 - slow, and for terminals only
        from rich.table import Table  # noqa: PLC0415,RUF100
        from rich.text import Text  # noqa: PLC0415,RUF100

        table = Table(*columns, header_style="bold")
        for row in safe:
            table.add_row(*(Text(cell, overflow="fold") for cell in row))
        Console().print(table)
        return
    widths = [max(map(len, cells)) for cells in zip(columns, *safe, strict=True)]
    for row in ([name.upper() for name in columns], *safe):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())
