"""Where the cases of `test_table` are written down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

__all__ = ["CASES", "Case", "case"]

Run = Callable[[], Awaitable[None]]


@attrs.frozen
class Case:
    """
    What shows that a limit holds.

    Attributes:
        run: Goes to the limit, and one past it.
        virtual: Whether its time is virtual.
    """

    run: Run
    virtual: bool


#: By class and field.
CASES: dict[tuple[type, str], Case] = {}


def case(cls: type, name: str, *, virtual: bool = False) -> Callable[[Run], Run]:
    """Write down the case of a limit."""

    def add(run: Run) -> Run:
        assert (cls, name) not in CASES, f"two cases for {cls.__name__}.{name}"
        CASES[cls, name] = Case(run, virtual)
        return run

    return add


def text(size: int) -> str:
    """Return so many characters, and as many bytes."""
    return "x" * size
