"""A connection to a database: what SQLite and PostgreSQL have in common, and what each has to provide."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, ClassVar

from pipeline.store.database_url import SQLITE, DatabaseUrl

_FORKED: list[object] = []
"""Connections of the parent of this process. They are kept: closing one here would end it there, too."""


class Connection(ABC):
    """A connection to a database, opened when it is first used, and again when it was lost. Blocking.

    Not safe for threads. Parameters of statements are written `?`, and are values of `Column.write`. Outside of
    `transaction` each statement is one of its own.

    Attributes:
        url: The database.
        type_names: What the database calls types of `ColumnType.sql`, where that differs.
        for_update: What a `SELECT` ends with that locks its rows.
        is_shared: Whether several hosts can open the database.
        errors: The base class of the errors of its driver.
    """

    type_names: ClassVar[Mapping[str, str]]
    for_update: ClassVar[str]
    is_shared: ClassVar[bool]
    errors: type[Exception]

    def __init__(self, url: DatabaseUrl) -> None:
        self.url = url
        self._process = os.getpid()
        self._driver: Any = None
        self._is_lost = False

    @abstractmethod
    def connect(self) -> Any:  # noqa: ANN401 - connections of drivers have no common type
        """Return a new connection of the driver, in which each statement is a transaction of its own."""

    @abstractmethod
    def rows(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Execute a statement, and return all its rows."""

    @abstractmethod
    def change(self, statement: str, values: Sequence[object] = ()) -> int:
        """Execute a statement, and return how many rows it changed."""

    @abstractmethod
    def change_each(self, statement: str, values: Iterable[Sequence[object]]) -> None:
        """Execute a statement once for each of several values."""

    @abstractmethod
    def clock(self) -> datetime:
        """Return the current time: that of a database server if it has one, since hosts' clocks differ."""

    @abstractmethod
    def has_table(self, name: str) -> bool:
        """Whether there is a table of this name."""

    @abstractmethod
    def lock_schema(self) -> None:
        """Let no other process change the tables until the transaction ends."""

    @abstractmethod
    def is_unavailable(self, error: Exception) -> bool:
        """Whether an error means that the server does not answer, or closed the connection."""

    @abstractmethod
    def is_full(self, error: Exception) -> bool:
        """Whether an error is due to a full disk."""

    @abstractmethod
    def _begin(self, *, durable: bool) -> None:
        """Begin a transaction that writes."""

    @abstractmethod
    def _check(self) -> bool:
        """Whether the connection can still be used."""

    @property
    def driver(self) -> Any:  # noqa: ANN401 - as for `connect`
        """The connection of the driver."""
        self._leave_to_parent()
        if self._driver is None:
            self._driver = self.connect()
        return self._driver

    @abstractmethod
    def begin_migration(self) -> None:
        """Begin a transaction in which tables are recreated; `lock_schema` is called in it."""

    @contextmanager
    def session(self) -> Iterator[None]:
        """Make sure that the connection works, before several statements outside of a transaction."""
        self._is_lost = False
        self._leave_to_parent()
        if self._driver is not None and not self._check():
            self.close()
        yield

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Begin a transaction, and commit it; it is rolled back on an error.

        Args:
            durable: Whether the commit must survive a loss of power. Without, it survives this process only.
        """
        with self.session():
            try:
                self._begin(durable=durable)
                yield
                self.change("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        """Undo what is not committed; a connection that cannot is closed, which has the same effect."""
        try:
            if self._in_transaction():
                self.change("ROLLBACK")
        except self.errors:
            self._is_lost = True
            self.close()

    @abstractmethod
    def _in_transaction(self) -> bool:
        """Whether a transaction has begun, and the database has not ended it."""

    def _leave_to_parent(self) -> None:
        """Forget the connection of the process that this one was forked from."""
        if self._process != os.getpid():
            _FORKED.append(self._driver)
            self._driver, self._process = None, os.getpid()

    def close(self) -> None:
        """Close the connection; it is opened again if it is used."""
        self._leave_to_parent()
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()


def connection_to(url: DatabaseUrl) -> Connection:
    """Return a connection to a database, which is not opened yet."""
    if url.driver == SQLITE:
        from pipeline.store.sqlite import SqliteConnection  # noqa: PLC0415 - one of the two is needed

        return SqliteConnection(url)
    from pipeline.store.postgresql import PostgresqlConnection  # noqa: PLC0415 - needs an extra

    return PostgresqlConnection(url)
