"""An open database: its transactions, and its errors as one sentence."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipeline.store.engine import (
    NewerSchemaError,
    engine_of,
    is_full,
    is_unavailable,
    message_without_passwords,
    url_of,
    url_without_passwords,
)
from tasks.errors import PatchyardError

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection
    from sqlalchemy.exc import SQLAlchemyError


class StoreError(PatchyardError):
    """The database cannot be opened, read or written."""


class StoreUnavailableError(StoreError):
    """The database server does not answer or closed the connection; retrying may help."""


class LeaseLostError(StoreError):
    """Another process has claimed the run; this one must not write to it."""

    def __init__(self, run: str) -> None:
        super().__init__(
            f"run {run} was claimed by another process; this process stopped its tasks and stored nothing more"
        )


class Database:
    """An open database. A context manager, and safe for threads: transactions run one after the other.

    Args:
        url: The database. Its tables are created or migrated to this release's schema.

    Raises:
        StoreError: From any method, when the database cannot be opened, read or written.
    """

    def __init__(self, url: "str | URL") -> None:
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - slow

        from pipeline.store.schema import update_schema  # noqa: PLC0415 - imports SQLAlchemy
        from pipeline.store.tables import Tables  # noqa: PLC0415 - imports SQLAlchemy

        self._error = SQLAlchemyError
        self.url = url_of(url) if isinstance(url, str) else url
        self._tables = Tables
        self._engine = engine_of(self.url)
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        self._lock = threading.Lock()
        self._owner: tuple[str, str] | None = None
        with self._translate_errors():
            try:
                update_schema(self._engine)
            except BaseException:
                self._engine.dispose()  # nobody gets this database, who could close its connections
                raise

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        """Return the database."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def act_as(self, run: str, owner: str) -> None:
        """Write to this run only while the owner has it claimed.

        From now on every write to it raises `LeaseLostError` once another owner has claimed it.
        """
        self._owner = (run, owner)

    @property
    def is_shared(self) -> bool:
        """Whether several hosts can open the database: a SQLite file is for one host."""
        return not self._is_sqlite

    @property
    def acting_on(self) -> str | None:
        """The run that `act_as` was called with."""
        return self._owner[0] if self._owner else None

    def _clock(self, connection: "Connection") -> datetime:
        """Return the current time: that of a database server if it has one, since hosts' clocks differ."""
        if self._is_sqlite:
            return datetime.now(UTC)
        from sqlalchemy import func, select  # noqa: PLC0415 - slow

        moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return moment

    @contextmanager
    def _read(self) -> "Iterator[Connection]":
        """Open a transaction that only reads."""
        with self._translate_errors(), self._lock, self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _write(self, *, run: str | None = None, durable: bool = True) -> "Iterator[Connection]":
        """Open a transaction that writes.

        Args:
            run: The run that is written to. Its row is locked, so that no other process claims it or writes to
                it at the same time; after `act_as`, its owner must still be the same.
            durable: Whether the commit must survive a loss of power. Without, it survives this process only.

        Raises:
            LeaseLostError: Another owner has claimed the run.
        """
        with self._translate_errors(), self._lock, self._engine.begin() as connection:
            if self._is_sqlite:
                connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                # Python's driver begins a transaction only before the first write, after the reads.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            elif not durable:
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            if run is not None:
                self._lock_run(connection, run)
            yield connection

    def _lock_run(self, connection: "Connection", run: str) -> None:
        """Lock a run's row until the transaction ends."""
        row = connection.execute(self._tables.owner, {"run": run}).first()
        if self._owner and self._owner[0] == run and (row is None or row.owner != self._owner[1]):
            raise LeaseLostError(run)

    def _first(self, error: "SQLAlchemyError") -> "SQLAlchemyError":
        """Return the error that others followed: after a full disk, SQLite cannot roll back either."""
        found, above = error, error.__context__
        while above is not None:
            found = above if isinstance(above, self._error) else found
            above = above.__context__
        return found

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raise errors of the database as `StoreError`, without its passwords."""
        try:
            yield
        except self._error as error:
            first = self._first(error)
            reason = str(getattr(first, "orig", None) or first).strip().partition("\n")[0]
            reason = message_without_passwords(reason, self.url)
            kind = StoreUnavailableError if is_unavailable(first) else StoreError
            advice = "; make room on its disk" if is_full(self.url, reason) else ""
            message = f"the database {url_without_passwords(self.url)} cannot be used: {reason}{advice}"
            raise kind(message) from error
        except NewerSchemaError as error:
            raise StoreError(
                f"the database {url_without_passwords(self.url)} belongs to a newer patchyard (its schema "
                f"{error.revision} is unknown to this one): update patchyard, or use another database"
            ) from None
