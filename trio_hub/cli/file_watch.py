"""A file that a person changes while the program runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import trio

from .._logging import get_logger
from .command import CommandError

__all__ = ["watch_file"]

_log = get_logger(__name__)
_T = TypeVar("_T")

_LOOK_SECONDS: Final = 0.5


async def watch_file(
    path: Path, read: Callable[[Path], _T], use: Callable[[_T], int], what: str
) -> None:
    """
    Take over what a file says whenever it changes, until cancelled.

    Args:
        read: Reads it, in a thread. Raises `CommandError` where it cannot be read or makes no
            sense; then all stays as it was, and the log says so, once for each change.
        use: Takes over what was read, and returns how many of `what` there are.
        what: Of what there are many in it: "keys".
    """
    # Read once more to begin with: it may have changed since the program read it.
    known = None
    while True:
        await trio.sleep(_LOOK_SECONDS)
        stamp = await trio.to_thread.run_sync(_stamp, path)
        if stamp == known:
            continue
        known = stamp
        try:
            count = use(await trio.to_thread.run_sync(read, path))
        except CommandError as error:
            _log.error(f"the {what} stay as they were", reason=str(error))
        else:
            _log.info(f"{what} read again", keys=count)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
