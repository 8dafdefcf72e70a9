"""Rows of the database with values that patchyard did not store: found when they are read, and reported."""

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from pipeline.store.database import StoreError

if TYPE_CHECKING:
    from sqlalchemy import RowMapping, Table

LARGEST = 1e10
"""Largest number with a fraction: 300 years in seconds. More would overflow when it is added to a time."""


class DamagedRowError(StoreError):
    """A row has a value that patchyard did not store."""


class _Expected(NamedTuple):
    name: str
    kind: type
    nullable: bool


def checked(table: "Table", row: "RowMapping") -> "RowMapping":
    """Return a row whose values have the types of its columns; some may be left out.

    Raises:
        DamagedRowError: A value has another type. It cannot be decoded, or SQLite has it in a column of another
            type, which it allows (https://www.sqlite.org/datatype3.html).
    """
    for column in _expected(table):
        if column.name in row and not _fits(row[column.name], column):
            raise DamagedRowError(_message(table, row, column.name))
    return row


@cache
def _expected(table: "Table") -> tuple[_Expected, ...]:
    return tuple(_Expected(item.name, item.type.python_type, bool(item.nullable)) for item in table.columns)


def _fits(value: object, column: _Expected) -> bool:
    if value is None:
        return column.nullable
    if column.kind is float:
        return isinstance(value, int | float) and abs(value) <= LARGEST  # false for NaN and infinities
    return isinstance(value, column.kind)


def _message(table: "Table", row: "RowMapping", column: str) -> str:
    """Return a sentence that names the row and says what to do; the value may be anything and is not in it."""
    run = row.get("id", "") if table.name == "runs" else row.get("run", "")
    of_task = f", task {row['task']}" if "task" in row else ""
    advice = "restore the database from a copy"
    if not isinstance(run, str) or not run:
        return f"a row of the table {table.name} in the database is damaged (column {column}): {advice}"
    return (
        f"run {run} is damaged in the database (table {table.name}{of_task}, column {column}): {advice}, or "
        f"remove the run, its logs and patches with `patchyard clean --run {run}`"
    )
