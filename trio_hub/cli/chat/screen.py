"""What a conversation needs of whatever it is shown on, and what it may show there."""

from __future__ import annotations

import unicodedata
from typing import Final, Protocol

__all__ = ["Screen", "safe_line", "safe_lines"]

_TAB_COLUMNS: Final = 4
# They join letters and emoji, and move nothing. Without them, Persian and families fall apart.
_JOINERS: Final = "\u200c\u200d"


class Screen(Protocol):
    """
    Where a conversation is shown. Only the `show_…` are called from inside the client, so they
    must not wait.
    """

    async def say(self, name: str, text: str) -> None:
        """
        Show what somebody said; it has been shown when this returns.

        Raises:
            OSError: Nobody looks any more.
        """
        ...

    async def remark(self, text: str) -> None:
        """Show something of the program's own. Raises: as `say`."""
        ...

    async def show_turn(self, text: str) -> None:
        """Show who has the word now; "" where nobody is waited for. Raises: as `say`."""
        ...

    def show_connection(self, state: str) -> None:
        """Show how the connection stands, in a word. Never waits."""
        ...


def safe_line(text: str) -> str:
    """
    Return one line that shows `text` and does nothing else to a terminal.

    Peers write it: what could move the cursor, change colours or the direction of writing, or
    begin another line is written as an escape (``\\x1b``).
    """
    if text.isprintable():
        return text
    return "".join(map(_safe, text.expandtabs(_TAB_COLUMNS)))


def safe_lines(text: str) -> list[str]:
    """Return the lines of a text, each made safe; at least one."""
    return [safe_line(line) for line in text.splitlines()] or [""]


def _safe(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    if unicodedata.category(character) == "Zs":
        return " "
    return repr(character)[1:-1]
