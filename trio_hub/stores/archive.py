"""
An archive of channels that a hub does not keep any more: one file of JSON lines for each.

The first line is the channel's metadata, each further one an envelope as it stood in the log. A
file gets its name when all of it is on disk, so a file of that name is whole; writing it again
puts the same in its place.

What is trimmed from the log of a channel that is open goes to the end of a file of its own, with
its positions. Ids increase along a log, so the last line says what it has already.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import trio

from ..errors import StoreError
from ._directory import make_directory, sync_directory

__all__ = ["ChannelArchive"]

_TAIL_BYTES: Final = 65_536
_decode = msgspec.json.Decoder().decode


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

    async def append(self, channel_id: str, lines: Sequence[tuple[str, bytes]]) -> Path:
        """
        Add what was trimmed from a log to the file of it, and return that.

        Args:
            lines: For each record in log order, the id of its envelope ("" where it cannot be read)
                and a line. What the file has already is left out.

        Raises:
            StoreError: The file could not be written. It may have some of it.

        Durability: the lines are on disk when it returns. Cancellation: carried through.
        """
        target = self.path / f"{channel_id}.trimmed.jsonl"
        try:
            await trio.to_thread.run_sync(_append, target, lines)
        except (OSError, msgspec.MsgspecError) as error:
            raise StoreError(
                f"what is to be trimmed of channel {channel_id} was not archived in {target}: {error}"
            ) from error
        return target


def _append(target: Path, lines: Sequence[tuple[str, bytes]]) -> None:
    make_directory(target.parent)
    is_new = not target.exists()
    with open(os.open(target, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        end, last_id = _read_end(file)
        # A line that was being written when the hub was killed.
        file.truncate(end)
        file.seek(end)
        for envelope_id, line in lines:
            if not envelope_id or envelope_id > last_id:
                file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync_directory(target.parent)


def _read_end(file: BinaryIO) -> tuple[int, str]:
    """Return where the last whole line ends, and the last id in the file, "" where it has none."""
    size = file.seek(0, os.SEEK_END)
    reach = _TAIL_BYTES
    while True:
        start = max(size - reach, 0)
        file.seek(start)
        tail = file.read(size - start)
        end = tail.rfind(b"\n") + 1
        whole = tail[:end].splitlines()
        # The first of them may have begun earlier.
        for line in reversed(whole if start == 0 else whole[1:]):
            envelope = _decode(line).get("envelope")
            if envelope is not None:
                return start + end, str(envelope["envelope_id"])
        if start == 0:
            return end, ""
        reach *= 4


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
