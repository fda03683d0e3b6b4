"""The plan of a transaction, and what is remembered of the committed logs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from trio_hub.stores import Append, Change, Delete, Put
from trio_hub.stores._connection import connect
from trio_hub.stores._plan import LogTable, Plan
from trio_hub.stores._schema import prepare_tables


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = connect(tmp_path / "store.sqlite3")
    prepare_tables(connection)
    yield connection
    connection.close()


def carry_out(connection: sqlite3.Connection, table: LogTable, *changes: Change) -> tuple[int, ...]:
    """Plan a batch and do what it says, as the writer does."""
    plan = Plan(table)
    positions = plan.add(changes)
    connection.execute("BEGIN")
    for step in plan.steps:
        for statement, rows in step.items():
            connection.executemany(statement, rows)
    connection.execute("COMMIT")
    plan.committed()
    return positions


def test_an_append_to_a_log_that_is_known_asks_the_database_nothing(
    connection: sqlite3.Connection,
) -> None:
    table = LogTable(connection)
    carry_out(connection, table, Append("/log", b"one"), Put("/document", b"1"))
    asked: list[str] = []
    connection.set_trace_callback(asked.append)
    assert carry_out(connection, table, Append("/log", b"two"), Put("/document", b"2")) == (1,)
    assert not [statement for statement in asked if statement.startswith("SELECT")]


def test_what_is_gone_is_not_remembered(connection: sqlite3.Connection) -> None:
    table = LogTable(connection)
    carry_out(connection, table, Append("/stays", b"one"))
    for number in range(20):
        carry_out(connection, table, Append(f"/log/{number}", b"1"), Put(f"/doc/{number}", b"1"))
        carry_out(connection, table, Delete(f"/log/{number}"), Delete(f"/doc/{number}"))
        carry_out(connection, table, Delete(f"/never/{number}"))
    assert len(table) == 1


def test_a_log_that_was_deleted_begins_anew(connection: sqlite3.Connection) -> None:
    table = LogTable(connection)
    carry_out(connection, table, Append("/log", b"one"), Append("/log", b"two"))
    carry_out(connection, table, Delete("/log"))
    assert carry_out(connection, table, Append("/log", b"three")) == (0,)
    carry_out(connection, table, Delete("/log"), Put("/log", b"a document now"))
    assert carry_out(connection, table, Delete("/log"), Append("/log", b"four")) == (0,)


def test_those_written_longest_ago_are_forgotten_and_looked_up_again(
    connection: sqlite3.Connection,
) -> None:
    table = LogTable(connection, remembered_max=3)
    for name in "abc":
        carry_out(connection, table, Append(f"/{name}", b"1"))
    carry_out(connection, table, Append("/a", b"2"))
    carry_out(connection, table, Append("/d", b"1"))
    assert len(table) == 3
    asked: list[str] = []
    connection.set_trace_callback(asked.append)
    # /b was, and /a was not: it had been written again.
    assert carry_out(connection, table, Append("/a", b"3")) == (2,)
    assert not [statement for statement in asked if statement.startswith("SELECT")]
    assert carry_out(connection, table, Append("/b", b"2")) == (1,)
    assert [statement for statement in asked if statement.startswith("SELECT")]
    assert len(table) == 3
