"""Write rows by their keys. The text of each statement is built once."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pipeline.store.connection import Connection
from pipeline.store.row_reads import conditions, encode, listed
from pipeline.store.tables import Table


def insert_row(connection: Connection, table: Table, values: Mapping[str, Any]) -> None:
    """Insert a row. Blocking."""
    connection.change(_insert(table, tuple(values)), encode(table, values))


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that have the same columns, at least one. Blocking."""
    connection.change_each(_insert(table, tuple(rows[0])), [encode(table, row) for row in rows])


def update_rows(connection: Connection, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> int:
    """Update the rows with a key, and return their number. Blocking."""
    statement = _update(table, tuple(key), tuple(values))
    return connection.change(statement, encode(table, values) + encode(table, key))


def delete_rows(connection: Connection, table: Table, key: Mapping[str, Any]) -> None:
    """Delete the rows with a key. Blocking."""
    connection.change(_delete(table, tuple(key)), encode(table, key))


def upsert_row(connection: Connection, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Insert a row, or update the one with this primary key: another process may insert it now. Blocking."""
    row = {**key, **values}
    changed = tuple(name for name in values if name not in key)
    connection.change(_upsert(table, tuple(row), changed), encode(table, row))


def insert_missing_row(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Insert a row, unless another process has inserted one with the same primary key. Blocking."""
    connection.change(_upsert(table, tuple(row), ()), encode(table, row))


@cache
def _insert(table: Table, names: tuple[str, ...]) -> str:
    marks = ", ".join("?" * len(names))
    return f"INSERT INTO {table.name} ({listed(names)}) VALUES ({marks})"  # noqa: S608 - names of tables.py


@cache
def _update(table: Table, key: tuple[str, ...], names: tuple[str, ...]) -> str:
    changes = ", ".join(f'"{name}" = ?' for name in names)
    return f"UPDATE {table.name} SET {changes} WHERE {conditions(key)}"  # noqa: S608 - likewise


@cache
def _delete(table: Table, key: tuple[str, ...]) -> str:
    return f"DELETE FROM {table.name} WHERE {conditions(key)}"  # noqa: S608 - likewise


@cache
def _upsert(table: Table, names: tuple[str, ...], changed: tuple[str, ...]) -> str:
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in changed)
    then = f"UPDATE SET {changes}" if changes else "NOTHING"
    return f"{_insert(table, names)} ON CONFLICT ({listed(table.key)}) DO {then}"
