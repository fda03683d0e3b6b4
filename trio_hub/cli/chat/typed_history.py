"""The lines that were typed, kept in a file that only their owner can read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import platformdirs
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

__all__ = ["HISTORY_BYTES_MAX", "history_path", "open_history"]

#: The file with what was typed in `chat` before; past it the older half is dropped at the next start.
HISTORY_BYTES_MAX: Final = 1_000_000
#: How an entry begins in prompt_toolkit's files.
_ENTRY: Final = b"\n# "


def history_path() -> Path:
    """Return where the lines are kept: one file for each user of the machine."""
    return platformdirs.user_state_path("trio_hub", appauthor=False) / "chat-history"


def open_history(path: Path | None) -> History:
    """
    Return the lines that were typed before, to which further ones are added.

    The file is made, or given, the mode 0600. Past a megabyte its older half is dropped.

    Args:
        path: None keeps them for this run only.

    Raises:
        OSError: It can be neither read nor made.
    """
    if path is None:
        return InMemoryHistory()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        # One that somebody made before, with another mode, has words of theirs in it all the same.
        os.chmod(path, 0o600)
        content = file.read()
        if len(content) > HISTORY_BYTES_MAX:
            begin = content.find(_ENTRY, len(content) // 2)
            file.seek(0)
            file.write(content[begin:] if begin >= 0 else b"")
            file.truncate()
    return _Kept(path)


class _Kept(FileHistory):
    """A file that may become full or unwritable; the conversation goes on then."""

    def store_string(self, string: str) -> None:
        try:
            super().store_string(string)
        except OSError:
            # It is still in memory, for this run.
            return
