"""Write rows by their keys. Each statement is built once, which takes longer than its execution."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Delete, Insert, Select, Table, Update
    from sqlalchemy.dialects import postgresql, sqlite

_KEY = "key_"
"""Prefix of the parameters that select rows; those without it are new values."""


def insert_row(connection: "Connection", table: "Table", values: Mapping[str, Any]) -> None:
    """Insert a row. Blocking."""
    connection.execute(_insert(table), values)


def insert_rows(connection: "Connection", table: "Table", rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that have the same columns. Blocking."""
    connection.execute(_insert(table), rows)


def update_rows(
    connection: "Connection", table: "Table", key: Mapping[str, Any], values: Mapping[str, Any]
) -> int:
    """Update the rows with a key, and return their number. Blocking."""
    return connection.execute(_update(table, tuple(key)), {**_parameters(key), **values}).rowcount


def delete_rows(connection: "Connection", table: "Table", key: Mapping[str, Any]) -> None:
    """Delete the rows with a key. Blocking."""
    connection.execute(_delete(table, tuple(key)), _parameters(key))


def has_row(connection: "Connection", table: "Table", key: Mapping[str, Any]) -> bool:
    """Whether there is a row with a key. Blocking."""
    return connection.execute(_select(table, tuple(key)), _parameters(key)).first() is not None


def upsert_row(
    connection: "Connection", table: "Table", key: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    """Insert a row, or update the one with this unique key: another process may insert it now. Blocking."""
    statement = _upsert(table, connection.dialect.name, tuple(key), tuple(values))
    connection.execute(statement, {**key, **values})


def insert_missing_row(
    connection: "Connection", table: "Table", key: Sequence[str], values: Mapping[str, Any]
) -> None:
    """Insert a row, unless another process has inserted one with the same unique key. Blocking."""
    connection.execute(_upsert(table, connection.dialect.name, tuple(key), ()), values)


def _parameters(key: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{_KEY}{name}": value for name, value in key.items()}


@cache
def _insert(table: "Table") -> "Insert":
    return table.insert()


@cache
def _update(table: "Table", key: tuple[str, ...]) -> "Update":
    return table.update().where(*_conditions(table, key))


@cache
def _delete(table: "Table", key: tuple[str, ...]) -> "Delete":
    return table.delete().where(*_conditions(table, key))


@cache
def _select(table: "Table", key: tuple[str, ...]) -> "Select[Any]":
    return table.select().where(*_conditions(table, key)).with_only_columns(table.c[key[0]])


@cache
def _upsert(
    table: "Table", dialect: str, key: tuple[str, ...], values: tuple[str, ...]
) -> "sqlite.Insert | postgresql.Insert":
    insert = _insert_of(table, dialect)
    if not values:
        return insert.on_conflict_do_nothing(index_elements=list(key))
    changed = {name: insert.excluded[name] for name in values}
    return insert.on_conflict_do_update(index_elements=list(key), set_=changed)


def _insert_of(table: "Table", dialect: str) -> "sqlite.Insert | postgresql.Insert":
    """Return an `INSERT` with `on_conflict_do_update`, which is specific to each dialect."""
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as insert_sqlite  # noqa: PLC0415 - slow

        return insert_sqlite(table)
    from sqlalchemy.dialects.postgresql import insert as insert_postgresql  # noqa: PLC0415 - slow

    return insert_postgresql(table)


def _conditions(table: "Table", key: tuple[str, ...]) -> "list[ColumnElement[bool]]":
    from sqlalchemy import bindparam  # noqa: PLC0415 - slow

    return [table.c[name] == bindparam(f"{_KEY}{name}") for name in key]
