"""Connections to a SQLite file."""

import os
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from shutil import disk_usage
from time import monotonic, sleep
from types import MappingProxyType
from typing import Any

from pipeline.store.connection import Connection
from pipeline.store.database_url import DatabaseUrl

SMALLEST_ROOM = 1 << 17
"""Bytes that SQLite may need for a commit; with less on its disk, an I/O error is taken for a full disk."""
LOCK_WAIT, LOCK_RETRY = 30, 0.01
"""Seconds to wait for a database that another process has locked, and between two attempts."""
YES = {"true", "yes", "on", "y", "t", "1"}
"""Values of the option `uri` of a URL, which is that of Python's `sqlite3.connect`."""
OF_PYTHON = {"uri", "timeout", "isolation_level", "detect_types", "check_same_thread", "cached_statements"}
"""Options of a URL that are not part of SQLite's own URI: https://www.sqlite.org/uri.html"""


class SqliteConnection(Connection):
    """A connection to a SQLite file, which is for one host."""

    type_names = MappingProxyType({"BYTES": "BLOB", "COUNTER": "INTEGER"})
    for_update = ""
    is_shared = False
    errors = sqlite3.Error

    def __init__(self, url: DatabaseUrl) -> None:
        super().__init__(url)
        self._path, self._is_uri = _path_of(url)
        self._synchronous = ""

    def connect(self) -> sqlite3.Connection:
        """Return a new connection: commits are durable, and a process that writes does not block readers."""
        connection = sqlite3.connect(
            self._path, timeout=LOCK_WAIT, isolation_level=None, check_same_thread=False, uri=self._is_uri
        )
        try:
            _write_ahead(connection)
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
        except BaseException:
            connection.close()
            raise
        self._synchronous = "FULL"
        return connection

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Execute a statement, and return all its rows."""
        found: list[tuple[Any, ...]] = self.driver.execute(statement, values).fetchall()
        return found

    def change(self, statement: str, values: Sequence[object] = ()) -> int:
        """Execute a statement, and return how many rows it changed."""
        changed: int = self.driver.execute(statement, values).rowcount
        return changed

    def change_each(self, statement: str, values: Iterable[Sequence[object]]) -> None:
        """Execute a statement once for each of several values."""
        self.driver.executemany(statement, values)

    def clock(self) -> datetime:
        """Return the current time of this host."""
        return datetime.now(UTC)

    def has_table(self, name: str) -> bool:
        """Whether there is a table of this name."""
        return bool(self.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)))

    def lock_schema(self) -> None:
        """Do nothing: a transaction that writes is alone."""

    def begin_migration(self) -> None:
        """Begin a transaction in which tables are recreated, until which foreign keys are off.

        SQLite can only switch them outside of a transaction: https://www.sqlite.org/lang_altertable.html#otheralter
        """
        self.change("PRAGMA foreign_keys=OFF")
        self._begin(durable=True)

    def is_unavailable(self, error: Exception) -> bool:  # noqa: ARG002 - there is no server
        """Whether the server does not answer."""
        return False

    def is_full(self, error: Exception) -> bool:
        """Whether an error is due to a full disk, which SQLite also calls an I/O error."""
        if str(error) == "database or disk is full":
            return True
        try:
            return str(error) == "disk I/O error" and disk_usage(Path(self._path).parent).free < SMALLEST_ROOM
        except OSError:
            return False

    def _begin(self, *, durable: bool) -> None:
        wanted = "FULL" if durable else "NORMAL"
        driver = self.driver
        if wanted != self._synchronous:
            driver.execute(f"PRAGMA synchronous={wanted}")
            self._synchronous = wanted
        driver.execute("BEGIN IMMEDIATE")  # else it would become a writer only after its first reads

    def _check(self) -> bool:
        return True

    def _in_transaction(self) -> bool:
        """Whether a transaction is open: SQLite ends some by itself, such as on a full disk."""
        return self._driver is not None and bool(self._driver.in_transaction)


def _path_of(url: DatabaseUrl) -> tuple[str, bool]:
    """Return the file of a URL, and whether it is a URI of SQLite; a path is made absolute."""
    if url.query.get("uri", ("",))[-1].lower() not in YES:
        return os.path.abspath(url.database), False  # noqa: PTH100 - keeps `..` behind symbolic links as it was
    options = "&".join(f"{key}={url.query[key][-1]}" for key in sorted(url.query) if key not in OF_PYTHON)
    return f"{url.database}?{options}" if options else url.database, True


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Set the persistent journal mode WAL.

    The change needs an exclusive lock, and SQLite does not apply its timeout to it: when several processes open
    a new database at once, the later ones have to retry.
    """
    end = monotonic() + LOCK_WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or monotonic() > end:
                raise
            sleep(LOCK_RETRY)
        else:
            return
