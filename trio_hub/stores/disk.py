"""
`DiskKnowledgeStore`: a directory with one SQLite database, which keeps what it acknowledged.

- `commit` returns after an fsync that covers the batch; batches that wait together share it
  (`_group_commit`). A power cut costs what was not yet acknowledged, and nothing else.
- Every record and document carries a checksum. A damaged one is named when it is read, and
  never handed out; the rest of the store goes on.
- A file that cannot be opened as a database is refused, with what to do about it. Setting it
  aside and starting empty would forget promises silently.
- One store at a time: the directory is locked, also against a second store in this process.

All blocking work is done in threads: one writes for as long as the store is open, another one at
a time reads.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs
import trio

from ..errors import StoreError
from ._checks import checked_changes, checked_range
from ._connection import Connect, connect, explain
from ._directory import DirectoryLock, make_directory, sync_directory
from ._group_commit import GroupCommit
from ._reader import Reader
from ._schema import SCHEMA, Schema, is_empty, prepare_tables, read_epoch
from ._shell import StoreShell
from ._writer import Writer
from .backup import DATABASE_NAME, Backup, back_up, restore
from .base import Change, Outcome, StoreHealth, WriteFigures

__all__ = ["DATABASE_NAME", "DiskKnowledgeStore"]

_T = TypeVar("_T")

# Says that the directory has held a store, so that a database that went missing is noticed.
_MARKER_NAME = "created"
_MARKER_TEXT = f"A trio_hub store was made here; its content is in {DATABASE_NAME}.\n"


@attrs.frozen
class _Opened:
    epoch: str
    lock: DirectoryLock
    writer: Writer
    reader: Reader
    commits: GroupCommit


class DiskKnowledgeStore(StoreShell):
    """
    A `KnowledgeStore` on disk.

    Args:
        path: The store's directory; it is made when the store is first opened, readable for its
            owner only. Nothing else should be put there. Back it up with `back_up`.

    Entering it raises `StoreError` where another store has the directory open, where a newer
    release wrote it, or where the database cannot be read; each says what to do.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        _connect: Connect = connect,
        _schema: Schema = SCHEMA,
    ) -> None:
        super().__init__()
        self._directory = Path(path)
        self._connect = _connect
        self._schema = _schema
        self._opened: _Opened | None = None
        self._ok = True
        self._reading = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"<DiskKnowledgeStore at {str(self._directory)!r}>"

    @property
    def path(self) -> Path:
        """The store's directory."""
        return self._directory

    @property
    def epoch(self) -> str:
        """The identity of this store's content, 32 hex digits, made when it was first created."""
        return self._state().epoch

    async def renew_epoch(self) -> str:
        """
        Give the content a new identity and return it: call this once after restoring a backup.

        Clients that come back with positions in what was lost are then told so, instead of being
        skipped over what is written in those places from now on.

        Raises:
            StoreError: It could not be written. The old epoch holds.

        Durability: on disk when it returns. Cancellation: carried through once begun.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        with trio.CancelScope(shield=True):
            async with self._opening:
                opened = self._state()
                await opened.commits.wait_idle()
                epoch = secrets.token_hex(16)
                await opened.commits.alone(partial(opened.writer.set_epoch, epoch))
                self._opened = attrs.evolve(opened, epoch=epoch)
        return epoch

    async def back_up(self, target: str | os.PathLike[str]) -> Backup:
        """
        Copy the store as it is now into a new file, while it is used; see `restore`.

        Raises:
            StoreError: The target exists, or something cannot be read or written.

        Durability: the file is on disk when it returns. Cancellation: carried through.
        """
        self._state()
        return await trio.to_thread.run_sync(back_up, self._directory, Path(target))

    @staticmethod
    async def restore(backup: str | os.PathLike[str], path: str | os.PathLike[str]) -> Backup:
        """
        Make a store's directory at `path` out of a backup, which stays as it is.

        What was written after the backup is not in it. The new store has an epoch of its own, so
        clients that had got further are told that their position is lost.

        Raises:
            StoreError: The file is no backup or is damaged, or `path` holds a store already.

        Durability: the store is on disk when it returns. Cancellation: carried through.
        """
        return await trio.to_thread.run_sync(restore, Path(backup), Path(path))

    async def commit(self, changes: Sequence[Change]) -> tuple[int, ...]:
        """
        Make all of `changes` durable, or none of them; return the appended records' positions.

        Batches take effect in the order in which `commit` was called.

        Raises:
            StoreError: The batch does not fit what is there (a record's position is not the end
                of its log, a path is used both for a document and a log): nothing was kept, and
                no other batch is concerned. Or the disk failed: the outcome is unknown, batches
                that were already waiting fail too, and `health` says so until one succeeds.
            ValueError, TypeError, TooLarge: The batch is no batch; nothing was done.

        Durability: on disk when it returns.

        Cancellation: `trio.Cancelled` means that nothing has happened. A batch that was already
        under way is carried through and its positions are returned; the cancellation comes at
        the next checkpoint.
        """
        commits = self._state().commits
        return await commits.commit(checked_changes(changes))

    def submit(
        self,
        changes: Sequence[Change],
        settled: Callable[[Outcome], None],
        *,
        after: Callable[[], None],
    ) -> None:
        """
        Queue `changes` as `commit` does, and have both called instead of waiting; see
        `SubmittingStore.submit`.

        Raises:
            ValueError, TypeError, TooLarge: The batch is no batch; nothing was done.

        Durability: on disk when `settled` is called with positions.
        """
        self._state().commits.submit(checked_changes(changes), settled, after)

    def write_figures(self) -> WriteFigures:
        """Return how many batches shared a transaction, and how long one took."""
        commits = self._state().commits
        return WriteFigures(commits.sizes, commits.seconds)

    async def read(self, path: str) -> bytes | None:
        """
        Return the document at `path`, or None.

        Raises:
            DamagedRecord: Its bytes are not those that were written; `position` is -1.
            StoreError: The disk failed.

        Cancellation: waits for the disk, changes nothing.
        """
        place = self._place(path)
        return await self._read(lambda reader, db: reader.document(db, place))

    async def read_under(self, prefix: str) -> dict[str, bytes]:
        """
        Return every document below `prefix`, in order of path.

        A damaged document is left out and named in `health().problems`, so that it costs what
        it held and not the hub that opens here.

        Raises:
            StoreError: The disk failed.

        Cancellation: waits for the disk, changes nothing.
        """
        folder = self._folder(prefix)
        return await self._read(lambda reader, db: reader.documents_under(db, folder))

    async def read_range(self, path: str, start: int, stop: int | None = None) -> list[bytes]:
        """
        Return the records of a log at positions `start` to `stop` (exclusive; None is the end).

        Raises:
            DamagedRecord: It names the first position whose bytes are not those that were
                written, or are missing.
            RecordsTrimmed: Some of them were trimmed.
            StoreError: The disk failed.

        Cancellation: waits for the disk, changes nothing.
        """
        place = self._place(path)
        lower, upper = checked_range(start, stop)
        return await self._read(lambda reader, db: reader.records(db, place, lower, upper))

    async def read_page(self, path: str, start: int, stop: int, bytes_max: int) -> list[bytes]:
        """
        Return records as `read_range` does, but none behind the one that reaches `bytes_max`.

        Raises: as `read_range`, for what it comes to.

        Cancellation: waits for the disk, changes nothing.
        """
        place = self._place(path)
        lower, upper = checked_range(start, stop)
        return await self._read(
            lambda reader, db: reader.records(db, place, lower, upper, bytes_max)
        )

    async def length(self, path: str) -> int:
        """
        Return the number of records in the log at `path` (0 where there is none).

        Raises:
            DamagedRecord: Its end cannot be read, now or later; `position` is -1.
            StoreError: The disk failed.

        Cancellation: waits for the disk, changes nothing.
        """
        place = self._place(path)
        return await self._read(lambda reader, db: reader.length(db, place))

    async def lengths_under(self, prefix: str) -> dict[str, int]:
        """
        Return the length of every log below `prefix`, by path.

        A log whose end cannot be read is left out and named in `health().problems`; nothing can
        be appended to it.

        Raises:
            StoreError: The disk failed.

        Cancellation: waits for the disk, changes nothing.
        """
        folder = self._folder(prefix)
        return await self._read(lambda reader, db: reader.lengths_under(db, folder))

    async def first(self, path: str) -> int:
        """
        Return the position of the first record of the log at `path` (0 where there is none).

        Raises:
            StoreError: The disk failed.

        Cancellation: waits for the disk, changes nothing.
        """
        place = self._place(path)
        return await self._read(lambda reader, db: reader.first(db, place))

    async def firsts_under(self, prefix: str) -> dict[str, int]:
        """
        Return where each log below `prefix` begins that was trimmed, by path.

        Raises:
            StoreError: The disk failed, or the table of logs is damaged.

        Cancellation: waits for the disk, changes nothing.
        """
        folder = self._folder(prefix)
        return await self._read(lambda reader, db: reader.firsts_under(db, folder))

    async def exists(self, path: str) -> bool:
        """
        Whether a document or log is at `path`.

        Raises:
            StoreError: The disk failed.

        Cancellation: waits for the disk, changes nothing.
        """
        place = self._place(path)
        return await self._read(lambda reader, db: reader.exists(db, place))

    async def list(self, path: str = "/") -> list[str]:
        """
        Return the names directly below `path`, sorted; those with something below end in "/".

        Raises:
            StoreError: The disk failed.

        Cancellation: waits for the disk, changes nothing.
        """
        folder = self._folder(path)
        return await self._read(lambda reader, db: reader.names(db, folder))

    def health(self) -> StoreHealth:
        """Say how the store is doing; also after it was closed. Never blocks."""
        return StoreHealth(ok=self._ok, durable=True, problems=tuple(self._problems))

    def _state(self) -> _Opened:
        self._require_open()
        assert self._opened is not None
        return self._opened

    async def _read(self, ask: Callable[[Reader, sqlite3.Connection], _T]) -> _T:
        reader = self._state().reader
        return await trio.to_thread.run_sync(
            reader.run, partial(ask, reader), limiter=self._reading
        )

    async def _open(self) -> None:
        epoch, lock, writer, reader = await trio.to_thread.run_sync(self._open_in_thread)
        commits = GroupCommit(writer.write, on_kept=self._kept, on_failed=self._failed)
        self._opened = _Opened(epoch, lock, writer, reader, commits)

    async def _close(self) -> None:
        opened = self._opened
        assert opened is not None
        await opened.commits.stop()
        # Behind the last read in the queue: the reader's connection is not pulled from under it.
        await trio.to_thread.run_sync(self._close_in_thread, opened, limiter=self._reading)
        self._opened = None

    def _kept(self, batches: Sequence[Sequence[Change]]) -> None:
        if batches:
            self._ok = True
        for changes in batches:
            self._feed.tell(changes)

    def _failed(self, error: StoreError) -> None:
        self._ok = False
        self._note_problem(f"a commit failed: {error}")

    def _open_in_thread(self) -> tuple[str, DirectoryLock, Writer, Reader]:
        database = self._directory / DATABASE_NAME
        try:
            make_directory(self._directory)
            lock = DirectoryLock(self._directory)
        except OSError as exc:
            raise StoreError(f"{self._directory} cannot hold a store: {exc}") from exc
        try:
            # Before SQLite is asked, because it would make the file.
            if self._marker.exists() and not (database.exists() and database.stat().st_size):
                raise self._lost_database()
            connection = self._connect(database)
            try:
                epoch = self._prepare(connection)
                writer = Writer(database, connection, self._connect)
            except BaseException:
                connection.close()
                raise
            try:
                reader = Reader(database, self._connect, self._note_problem)
            except BaseException:
                writer.close()
                raise
        except (sqlite3.Error, OSError) as exc:
            lock.release()
            raise StoreError(f"the store cannot be opened: {explain(exc, database)}") from exc
        except BaseException:
            lock.release()
            raise
        return epoch, lock, writer, reader

    def _prepare(self, connection: sqlite3.Connection) -> str:
        if self._marker.exists() and is_empty(connection):
            raise self._lost_database()
        try:
            prepare_tables(connection, self._schema)
            epoch = read_epoch(connection)
        except StoreError as exc:
            raise StoreError(f"{self._directory}: {exc}") from exc
        if not self._marker.exists():
            self._marker.write_text(_MARKER_TEXT)
            sync_directory(self._directory)
        return epoch

    @property
    def _marker(self) -> Path:
        return self._directory / _MARKER_NAME

    def _lost_database(self) -> StoreError:
        return StoreError(
            f"{self._directory} has held a store, but its database {DATABASE_NAME} is missing "
            "or empty: restore the whole directory from backup, or move it away to start "
            "with an empty store"
        )

    def _close_in_thread(self, opened: _Opened) -> None:
        try:
            opened.reader.close()
            problem = opened.writer.close()
        finally:
            opened.lock.release()
        if problem is not None:
            self._note_problem(problem)
