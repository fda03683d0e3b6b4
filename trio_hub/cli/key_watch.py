"""A keys file that changes while the hub serves."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trio

from .._logging import get_logger
from ..auth import ApiKeyAuth
from .command import CommandError
from .key_file import KeyFile, read_key_file

__all__ = ["read_changed_keys", "read_keys_of_hub", "watch_keys"]

_log = get_logger(__name__)

_LOOK_SECONDS: Final = 0.5


def read_keys_of_hub(path: Path) -> KeyFile:
    """
    Read the keys of a hub.

    Raises:
        CommandError: It cannot be read, or nobody could connect with it.
    """
    content = read_key_file(path)
    if content.is_empty:
        raise CommandError(
            f"malformed keys file {path}: it names no agent, so nobody could connect: write "
            f'NAME = "KEY" in it, or use `trio_hub keys add NAME --keys {path}`'
        )
    return content


def read_changed_keys(path: Path) -> KeyFile:
    """
    Read the keys of a hub that serves. That there are none any more is taken at its word.

    Raises:
        CommandError: It cannot be read, or it says nothing, as a file that is just being written.
    """
    content = read_key_file(path)
    return content if content.is_meant else read_keys_of_hub(path)


async def watch_keys(path: Path, auth: ApiKeyAuth) -> None:
    """
    Let the hub know the keys of a file as it changes, until cancelled.

    Connections end whose key is there no more. A file that cannot be read, or is none, changes
    nothing: the log says so, once for each change.
    """
    # Read once more to begin with: it may have changed since the hub read it.
    known = None
    while True:
        await trio.sleep(_LOOK_SECONDS)
        stamp = await trio.to_thread.run_sync(_stamp, path)
        if stamp == known:
            continue
        known = stamp
        try:
            content = await trio.to_thread.run_sync(read_changed_keys, path)
        except CommandError as error:
            _log.error("the keys stay as they were", reason=str(error))
            continue
        auth.replace(content.plain, content.hashed)
        _log.info("keys read again", keys=len(content.plain) + len(content.hashed))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
