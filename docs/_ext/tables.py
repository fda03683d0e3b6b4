"""
Tables of the reference that come from the code itself, so that they cannot drift.

``{operations}``, ``{errors}``, ``{metrics}``, ``{limits}`` (with a class), ``{bounds}`` (with modules)
and ``{states}`` (with a table's name).
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable
from typing import ClassVar

import attrs
from docutils import nodes
from docutils.statemachine import StringList
from limit_rows import bound_rows, limit_rows, load
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from trio_hub.errors import ERRORS_BY_CODE
from trio_hub.metrics import METRICS
from trio_hub.wire.operations import OPERATIONS


class TableDirective(SphinxDirective):
    """A directive that writes a list table."""

    header: ClassVar[tuple[str, ...]] = ()

    def rows(self) -> Iterable[tuple[str, ...]]:
        """Return the rows, as Markdown."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Write the table as Markdown and have it parsed."""
        lines = [_row(self.header), _row(tuple("---" for _ in self.header))]
        lines += [_row(row) for row in self.rows()]
        parent = nodes.container()
        self.state.nested_parse(StringList(lines, source=self.name), 0, parent)
        return parent.children


class Operations(TableDirective):
    """Every operation of the wire."""

    header = ("operation", "parameters", "result", "who", "what it does")

    def rows(self) -> Iterable[tuple[str, ...]]:
        for it in OPERATIONS.values():
            names = []
            for field in attrs.fields(it.params):
                optional = "" if field.default is attrs.NOTHING else "?"
                names.append(f"`{field.name}{optional}`")
            yield (f"`{it.name}`", ", ".join(names), it.result, f"{it.caller}", it.summary)


class Errors(TableDirective):
    """Every error code."""

    header = ("code", "class", "try again?", "who acts", "meaning")

    def rows(self) -> Iterable[tuple[str, ...]]:
        for code, cls in ERRORS_BY_CODE.items():
            retry = "yes" if cls.retryable else "no"
            yield (f"`{code}`", f"`{cls.__name__}`", retry, cls.acts, _first_sentence(cls))


class Metrics(TableDirective):
    """Every metric of a hub."""

    header = ("metric", "kind", "labels", "meaning")

    def rows(self) -> Iterable[tuple[str, ...]]:
        for it in METRICS:
            name = it.name + ("_total" if it.kind == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in it.labels)
            yield (f"`{name}`", it.kind, labels, it.help)


class Limits(TableDirective):
    """Every field of a class of limits, with the reason from its docstring."""

    header = ("limit", "default", "unit", "reason")
    required_arguments = 1

    def rows(self) -> Iterable[tuple[str, ...]]:
        for it in limit_rows(load(self.arguments[0])):
            yield (f"`{it.name}`", _shown(it.default), it.unit, it.reason)


class Bounds(TableDirective):
    """Every fixed bound of some modules, with the reason from the comment above it."""

    header = ("bound", "value", "unit", "of what, and why")
    has_content = True

    def rows(self) -> Iterable[tuple[str, ...]]:
        for module in " ".join(self.content).split():
            for it in bound_rows(importlib.import_module(module)):
                yield (f"`{it.name}`", _shown(it.default), it.unit, it.reason)


class States(TableDirective):
    """A table of states: what may follow what."""

    header = ("state", "event", "next state")
    required_arguments = 1

    def rows(self) -> Iterable[tuple[str, ...]]:
        for state, events in load(self.arguments[0]).items():
            if not events:
                yield (f"{_name(state)}", "", "(final)")
            for event, following in events.items():
                yield (_name(state), _name(event), _name(following))


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value}"


def _name(value: object) -> str:
    return str(getattr(value, "value", value)).lower().replace("_", " ")


def _first_sentence(cls: type) -> str:
    text = " ".join((inspect.getdoc(cls) or "").split())
    return re.split(r"(?<=[.?!])\s", text, maxsplit=1)[0]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("operations", Operations)
    app.add_directive("errors", Errors)
    app.add_directive("metrics", Metrics)
    app.add_directive("limits", Limits)
    app.add_directive("bounds", Bounds)
    app.add_directive("states", States)
    return {"parallel_read_safe": True}
