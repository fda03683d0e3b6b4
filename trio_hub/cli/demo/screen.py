"""Where the demonstration is shown: a table that grows in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import attrs
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

__all__ = ["Screen", "make_screen"]

_STYLES = {"hub": "cyan", "alice": "magenta", "bob": "yellow", "demo": "red"}
_TITLE = "trio_hub demo: two kills, every answer exactly once"


class Screen(Protocol):
    """Shows what happens, and keeps count of the checks."""

    def tell(self, who: str, what: str) -> None:
        """Show something that happened."""
        ...

    def check(self, claim: str, holds: bool) -> None:
        """Show whether a claim held."""
        ...

    def conclude(self) -> int:
        """Show how it ended, and return the exit status: 0 only if every claim held."""
        ...


@attrs.define(eq=False)
class _Tally:
    """Time and checks: what both kinds of screen have in common."""

    begun: float = attrs.field(factory=time.monotonic)
    held: int = 0
    failed: int = 0

    @property
    def elapsed(self) -> str:
        return f"{time.monotonic() - self.begun:5.2f} s"

    def count(self, holds: bool) -> None:
        if holds:
            self.held += 1
        else:
            self.failed += 1

    @property
    def succeeded(self) -> bool:
        return self.held > 0 and not self.failed

    @property
    def verdict(self) -> str:
        if self.succeeded:
            return f"It truly happened: all {self.held} checks hold."
        return f"FAILED: {self.failed} of {self.held + self.failed} checks do not hold."


@attrs.define(eq=False)
class PlainScreen:
    """One line for everything, for pipes and files."""

    _tally: _Tally = attrs.field(factory=_Tally)

    def tell(self, who: str, what: str) -> None:
        """See `Screen.tell`."""
        print(f"{self._tally.elapsed}  {who:<6} {what}", flush=True)

    def check(self, claim: str, holds: bool) -> None:
        """See `Screen.check`."""
        self._tally.count(holds)
        self.tell("check", f"{'ok' if holds else 'FAILED'}: {claim}")

    def conclude(self) -> int:
        """See `Screen.conclude`."""
        print(self._tally.verdict, flush=True)
        return 0 if self._tally.succeeded else 1


@attrs.define(eq=False)
class TableScreen:
    """A table in a terminal that is drawn again with each line."""

    _live: Live
    _table: Table
    _tally: _Tally = attrs.field(factory=_Tally)

    @classmethod
    @contextmanager
    def open(cls, console: Console) -> Iterator[TableScreen]:
        """Take the terminal for as long as the block lasts."""
        table = Table(title=_TITLE, title_style="bold", box=None, padding=(0, 1))
        table.add_column("time", justify="right", style="dim", no_wrap=True)
        table.add_column("who", no_wrap=True)
        table.add_column("what")
        with Live(table, console=console, auto_refresh=False) as live:
            yield cls(live, table)

    def tell(self, who: str, what: str) -> None:
        """See `Screen.tell`."""
        self._add(Text(who, _STYLES.get(who, "")), Text(what))

    def check(self, claim: str, holds: bool) -> None:
        """See `Screen.check`."""
        self._tally.count(holds)
        style = "green" if holds else "bold red"
        self._add(Text("ok" if holds else "FAILED", style), Text(claim, style))

    def conclude(self) -> int:
        """See `Screen.conclude`."""
        good = self._tally.succeeded
        self._table.caption = Text(self._tally.verdict, "bold green" if good else "bold red")
        self._live.refresh()
        return 0 if good else 1

    def _add(self, who: Text, what: Text) -> None:
        self._table.add_row(self._tally.elapsed, who, what)
        self._live.refresh()


@contextmanager
def make_screen(*, plain: bool) -> Iterator[Screen]:
    """Yield the screen that suits where the output goes."""
    console = Console()
    if plain or not console.is_terminal or console.is_dumb_terminal:
        yield PlainScreen()
    else:
        with TableScreen.open(console) as screen:
            yield screen
