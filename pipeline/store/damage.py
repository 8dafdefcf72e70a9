"""Rows of the database with values that patchyard did not store: found when they are read, and reported."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pipeline.store.column_types import UNREADABLE
from pipeline.store.errors import StoreError


class DamagedRowError(StoreError):
    """A row has a value that patchyard did not store."""


def decode_row(
    table: str, readers: Iterable[tuple[str, Callable[[object], Any]]], stored: Sequence[object]
) -> dict[str, Any]:
    """Return the values of a row by the names of its columns.

    Args:
        table: The name of the table.
        readers: The names of the columns, and what reads their values.
        stored: What the database has.

    Raises:
        DamagedRowError: A value cannot be read. SQLite allows any in every column
            (https://www.sqlite.org/datatype3.html).
    """
    row: dict[str, Any] = {}
    damaged = None
    for (name, read), value in zip(readers, stored, strict=True):
        try:
            row[name] = read(value)
        except UNREADABLE:
            damaged = damaged or name
    if damaged is not None:
        raise DamagedRowError(damage_message(table, row, damaged))
    return row


def damage_message(table: str, row: Mapping[str, object], column: str) -> str:
    """Return a sentence that names the row and says what to do; the value may be anything and is not in it."""
    run = row.get("id" if table == "runs" else "run")
    of_task = f", task {row['task']}" if "task" in row else ""
    advice = "restore the database from a copy"
    if not isinstance(run, str):
        return f"a row of the table {table} in the database is damaged (column {column}): {advice}"
    return (
        f"run {run} is damaged in the database (table {table}{of_task}, column {column}): {advice}, or "
        f"remove the run, its logs and patches with `patchyard clean --run {run}`"
    )
