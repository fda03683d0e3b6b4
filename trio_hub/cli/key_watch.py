"""A keys file that changes while the hub serves."""

from __future__ import annotations

from pathlib import Path

from ..auth import ApiKeyAuth
from .command import CommandError
from .file_watch import watch_file
from .key_file import KeyFile, read_key_file

__all__ = ["read_changed_keys", "read_keys_of_hub", "watch_keys"]


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

    def use(content: KeyFile) -> int:
        auth.replace(content.plain, content.hashed)
        return len(content.plain) + len(content.hashed)

    await watch_file(path, read_changed_keys, use, "keys")
