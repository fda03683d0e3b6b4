"""
An archive of channels that a hub does not keep any more: one file of JSON lines for each.

The first line is the channel's metadata, each further one an envelope as it stood in the log. A
file gets its name when all of it is on disk, so a file of that name is whole; writing it again
puts the same in its place.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import BinaryIO

import trio

from ..errors import StoreError
from ._directory import make_directory, sync_directory

__all__ = ["ChannelArchive"]


class ChannelArchive:
    """
    A directory of archived channels.

    Args:
        path: Made when the first channel comes; for its owner's eyes only.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    async def write(
        self, channel_id: str, header: bytes, pages: AsyncIterator[Iterable[bytes]]
    ) -> Path:
        """
        Write one channel, and return its file.

        Args:
            header: The first line, without a line feed, as all of them.
            pages: The other lines, some at a time.

        Raises:
            StoreError: The file could not be written. None of that name was changed.

        Durability: the file and its name are on disk when it returns. Cancellation: no file.
        """
        target = self.path / f"{channel_id}.jsonl"
        partial = target.with_name(f"{target.name}.partial")
        try:
            await trio.to_thread.run_sync(make_directory, self.path)
            file = await trio.to_thread.run_sync(_open, partial)
            try:
                await trio.to_thread.run_sync(_write, file, (header,))
                async for page in pages:
                    await trio.to_thread.run_sync(_write, file, page)
                await trio.to_thread.run_sync(_finish, file, partial, target)
            finally:
                file.close()
        except OSError as error:
            raise StoreError(
                f"channel {channel_id} was not archived in {self.path}: {error}"
            ) from error
        return target


def _open(path: Path) -> BinaryIO:
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _write(file: BinaryIO, lines: Iterable[bytes]) -> None:
    for line in lines:
        file.write(line + b"\n")


def _finish(file: BinaryIO, partial: Path, target: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    partial.rename(target)
    sync_directory(target.parent)
