"""Read rows by the columns that select them. The text of each statement is built once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from pipeline.store.connection import Connection
from pipeline.store.damage import DamagedRowError, decode_row
from pipeline.store.tables import Table
from tasks.lazy.dataclasses import dataclass


def read_rows(  # noqa: PLR0913 - the parts of a SELECT
    connection: Connection,
    table: Table,
    key: Mapping[str, Any],
    *,
    columns: tuple[str, ...] = (),
    where: str = "",
    values: Sequence[object] = (),
    order: tuple[str, ...] = (),
    limit: int | None = None,
    skip_damaged: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yield rows by the names of their columns. Blocking.

    Args:
        connection: The database.
        table: The table.
        key: Values that columns of the rows have.
        columns: The columns to read; all if empty.
        where: A further condition.
        values: Its parameters.
        order: The columns that the rows are sorted by.
        limit: How many rows to read at most.
        skip_damaged: Leave out rows that cannot be read.

    Raises:
        DamagedRowError: A row cannot be read.
    """
    select = _select(table, tuple(key), columns, where, order)
    statement = select.statement if limit is None else f"{select.statement} LIMIT {limit:d}"
    for row in connection.rows(statement, (*encode(table, key), *values)):
        try:
            yield decode_row(table.name, select.readers, row)
        except DamagedRowError:
            if not skip_damaged:
                raise


def read_row(
    connection: Connection,
    table: Table,
    key: Mapping[str, Any],
    *,
    columns: tuple[str, ...] = (),
    where: str = "",
) -> dict[str, Any] | None:
    """Return a row, or `None`; parameters and errors as for `read_rows`. Blocking."""
    return next(read_rows(connection, table, key, columns=columns, where=where, limit=1), None)


def encode(table: Table, values: Mapping[str, Any]) -> list[object]:
    """Return what the database stores for values of columns, in their order."""
    columns = table.columns
    return [columns[name].write(value) for name, value in values.items()]


def conditions(key: Sequence[str]) -> str:
    """Return the condition that columns have the values of parameters."""
    return " AND ".join(f'"{name}" = ?' for name in key)


def listed(names: Sequence[str]) -> str:
    """Return names as a list in SQL. They are quoted: `commit` has a meaning of its own."""
    return ", ".join(f'"{name}"' for name in names)


@dataclass(frozen=True, slots=True)
class _Select:
    statement: str
    readers: tuple[tuple[str, Callable[[object], Any]], ...]


@cache
def _select(
    table: Table, key: tuple[str, ...], columns: tuple[str, ...], where: str, order: tuple[str, ...]
) -> _Select:
    names = columns or tuple(table.columns)
    every = " AND ".join(filter(None, (conditions(key), where)))
    statement = f"SELECT {listed(names)} FROM {table.name}"  # noqa: S608 - names of tables.py
    statement += f" WHERE {every}" if every else ""
    statement += f" ORDER BY {listed(order)}" if order else ""
    return _Select(statement, tuple((name, table.columns[name].read) for name in names))
