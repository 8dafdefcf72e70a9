"""An open database: its transactions, and its errors as one sentence."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from pipeline.store.connection import Connection, connection_to
from pipeline.store.database_url import DatabaseUrl, url_of
from pipeline.store.errors import LeaseLostError, StoreError, StoreUnavailableError
from pipeline.store.schema import NewerSchemaError, update_schema
from pipeline.store.tables import RUNS


class Database:
    """An open database. A context manager, and safe for threads: transactions run one after the other.

    Args:
        url: The database. Its tables are created or migrated to this release's schema.

    Raises:
        StoreError: From any method, when the database cannot be opened, read or written.
    """

    def __init__(self, url: str | DatabaseUrl) -> None:
        self.url = url_of(url) if isinstance(url, str) else url
        self._connection = connection_to(self.url)
        self._lock = threading.Lock()
        self._joining: int | None = None  # the thread that has a transaction open, which it joins
        self._owner: tuple[str, str] | None = None
        with self._translate_errors():
            try:
                update_schema(self._connection)
            except BaseException:
                self._connection.close()  # nobody gets this database, who could close it
                raise

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

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
        return self._connection.is_shared

    @property
    def acting_on(self) -> str | None:
        """The run that `act_as` was called with."""
        return self._owner[0] if self._owner else None

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        """Give the connection, to read with single statements."""
        if self._is_joining:
            yield self._connection
            return
        with self._translate_errors(), self._lock, self._connection.session():
            yield self._connection

    @contextmanager
    def _write(self, *, run: str | None = None, durable: bool = True) -> Iterator[Connection]:
        """Open a transaction that writes.

        Args:
            run: The run that is written to. Its row is locked, so that no other process claims it or writes to
                it at the same time; after `act_as`, its owner must still be the same.
            durable: Whether the commit must survive a loss of power. Without, it survives this process only.

        Raises:
            LeaseLostError: Another owner has claimed the run.
        """
        if self._is_joining:
            yield self._connection
            return
        with self._translate_errors(), self._lock, self._connection.transaction(durable=durable):
            if run is not None:
                self._lock_run(run)
            yield self._connection

    @contextmanager
    def together(self, run: str) -> Iterator[None]:
        """Make all that this thread writes to a run in the context one durable transaction, with what it reads.

        Raises:
            LeaseLostError: Another owner has claimed the run.
            StoreError: Nothing was written.
        """
        if self._is_joining:
            yield
            return
        with self._write(run=run):
            self._joining = threading.get_ident()
            try:
                yield
            finally:
                self._joining = None

    @property
    def _is_joining(self) -> bool:
        """Whether this thread is in `together`, so that nothing is stored yet of what it writes."""
        return self._joining == threading.get_ident()

    def _lock_run(self, run: str) -> None:
        """Lock a run's row until the transaction ends."""
        query = f"SELECT owner FROM {RUNS.name} WHERE id = ?{self._connection.for_update}"  # noqa: S608 - constants
        owners = self._connection.rows(query, (run,))
        if self._owner and self._owner[0] == run and owners != [(self._owner[1],)]:
            raise LeaseLostError(run)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raise errors of the database as `StoreError`, without its passwords."""
        connection = self._connection
        try:
            yield
        except connection.errors as error:
            reason = self.url.without_passwords(str(error).strip().partition("\n")[0])
            kind = StoreUnavailableError if connection.is_unavailable(error) else StoreError
            advice = "; make room on its disk" if connection.is_full(error) else ""
            raise kind(f"the database {self.url} cannot be used: {reason}{advice}") from error
        except NewerSchemaError as error:
            raise StoreError(
                f"the database {self.url} belongs to a newer patchyard (its schema {error.revision} is unknown "
                "to this one): update patchyard, or use another database"
            ) from None
