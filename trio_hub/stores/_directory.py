"""
The directory of a disk store: made so that it survives a power cut, owned by one store at a time.

Ownership is an flock on a file inside. The kernel drops it with the process that held it,
however that ended, so nobody ever has to remove a stale lock by hand.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from ..errors import StoreError

__all__ = ["DirectoryLock", "make_directory", "sync_directory"]

_LOCK_NAME = "lock"


def make_directory(path: Path) -> None:
    """
    Make `path` and what is missing above it, for the owner's eyes only, and sync each name.

    Raises:
        OSError: It cannot be made, or something else stands there.
    """
    missing = [path, *path.parents]
    missing = missing[: next(i for i, folder in enumerate(missing) if folder.exists())]
    for folder in reversed(missing):
        # Two programs may start at the same moment; the lock decides between them, not this.
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        sync_directory(folder.parent)
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is not a directory")


def sync_directory(path: Path) -> None:
    """Make the names inside `path` durable: a synced file without a name is as good as lost."""
    if sys.platform == "win32":
        return  # Windows has no such call, and needs none.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DirectoryLock:
    """
    Holds a directory for this object alone until `release`, or until the process ends.

    Raises:
        StoreError: Another store, in this process or another one, has the directory open.
        OSError: The lock file cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        # Not inheritable (Python's default), so a child process never keeps the lock alive.
        self._descriptor = os.open(directory / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not _try_lock(self._descriptor):
                holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip()
                who = f"process {holder}" if holder else "another process"
                if holder == str(os.getpid()):
                    who = f"another store object in this process ({holder})"
                raise StoreError(
                    f"{directory} is already open in {who}: stop that one first, or give this "
                    "hub a directory of its own. A directory belongs to one store at a time"
                )
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(self._descriptor)
            raise

    def release(self) -> None:
        """Let the next one in. The file stays: removing it would race with who opens it now."""
        try:
            os.ftruncate(self._descriptor, 0)
        finally:
            os.close(self._descriptor)


if sys.platform == "win32":

    def _try_lock(descriptor: int) -> bool:
        raise StoreError(
            "DiskKnowledgeStore needs POSIX file locks, which Windows does not have: run the "
            "hub on Linux or macOS, or use MemoryKnowledgeStore"
        )

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
