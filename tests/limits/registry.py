"""Where the cases of `test_table` are written down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import ModuleType

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


#: By class and field, or module and constant.
CASES: dict[tuple[type | ModuleType, str], Case] = {}


def case(owner: type | ModuleType, name: str, *, virtual: bool = False) -> Callable[[Run], Run]:
    """Write down the case of a limit: of a class, or fixed in a module."""

    def add(run: Run) -> Run:
        assert (owner, name) not in CASES, f"two cases for {owner.__name__}.{name}"
        CASES[owner, name] = Case(run, virtual)
        return run

    return add


def text(size: int) -> str:
    """Return so many characters, and as many bytes."""
    return "x" * size
