"""
The one connection that changes the database.

It keeps a simple rule about failure: after any error between BEGIN and COMMIT it believes
nothing that it remembered. The connection is closed, which rolls back, and the next group starts
on a fresh one that reads from disk what is there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from ..errors import StoreError
from ._connection import Connect, explain, is_damage
from ._plan import LogTable, Plan, Step
from .base import Change, Outcome

__all__ = ["Writer"]


class Writer:
    """
    Writes groups of batches, each group in one transaction.

    Every method blocks and belongs in a thread, one call at a time.

    Args:
        path: The database file.
        connection: An open connection to it, which now belongs to the writer.
        connect: Opens another one when that has failed.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, connect: Connect) -> None:
        self._path = path
        self._connect = connect
        self._connection: sqlite3.Connection | None = connection
        self._table: LogTable | None = LogTable(connection)

    def write(self, batches: list[Sequence[Change]]) -> list[Outcome]:
        """
        Make the batches durable in order; answer for each with positions or its own error.

        Raises:
            StoreError: The transaction failed and was rolled back. Where its COMMIT was under
                way the outcome is unknown.
        """
        try:
            return self._write(batches)
        except Exception as exc:
            # Whatever it was, a transaction may be open and memory may be ahead of the disk.
            self._forget()
            if isinstance(exc, StoreError):
                raise
            raise StoreError(f"nothing could be committed to {explain(exc, self._path)}") from exc

    def set_epoch(self, epoch: str) -> None:
        """Give the content a new identity. Raises `StoreError`."""
        try:
            connection, _ = self._open()
            connection.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", (epoch,))
        except sqlite3.Error as exc:
            self._forget()
            raise StoreError(f"no new epoch for {explain(exc, self._path)}") from exc

    def close(self) -> str | None:
        """
        Move the write-ahead log into the main file and close.

        Returns a sentence where that could not be done; the commits are safe in the log then.
        """
        connection, self._connection, self._table = self._connection, None, None
        if connection is None:
            return None
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as exc:
            return f"the write-ahead log was not folded in: {explain(exc, self._path)}"
        finally:
            connection.close()
        return None

    def _write(self, batches: list[Sequence[Change]]) -> list[Outcome]:
        connection, table = self._open()
        plan = Plan(table)
        outcomes: list[Outcome] = []
        for changes in batches:
            try:
                outcomes.append(plan.add(changes))
            except StoreError as exc:
                outcomes.append(exc)
            except sqlite3.DatabaseError as exc:
                if not is_damage(exc):
                    raise
                # What this batch builds on cannot be read. That is no reason to fail the others.
                error = StoreError(f"nothing was kept: {explain(exc, self._path)}")
                error.__cause__ = exc
                outcomes.append(error)
        if any(plan.steps):
            _commit(connection, plan.steps)
            plan.committed()
        return outcomes

    def _open(self) -> tuple[sqlite3.Connection, LogTable]:
        if self._connection is None or self._table is None:
            self._connection = self._connect(self._path)
            self._table = LogTable(self._connection)
        return self._connection, self._table

    def _forget(self) -> None:
        connection, self._connection, self._table = self._connection, None, None
        if connection is not None:
            connection.close()


def _commit(connection: sqlite3.Connection, steps: Sequence[Step]) -> None:
    """Make the steps durable, all or none."""
    if len(steps) == 1 and len(steps[0]) == 1:
        ((statement, rows),) = steps[0].items()
        if len(rows) == 1:
            # A statement alone is a transaction by itself. A lone post is no more than that, and
            # waits a fifth less for its answer.
            connection.execute(statement, rows[0])
            return
    connection.execute("BEGIN IMMEDIATE")
    for step in steps:
        for statement, rows in step.items():
            connection.executemany(statement, rows)
    connection.execute("COMMIT")
