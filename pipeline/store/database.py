"""An open database, in which each run is worked on by one process: who has a run, and what is asked of it."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Self

from pipeline.store.engine import NewerSchemaError, engine_of, is_away, shown, url_of, without_passwords
from pipeline.store.records import Run, moment_of, text_of
from tasks.errors import PatchyardError
from tasks.model import Request, RunStatus

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Table
    from sqlalchemy.dialects import postgresql, sqlite


STRONGER: Mapping[Request | None, tuple[Request, ...]] = MappingProxyType(
    {
        Request.CANCEL: (),
        Request.STOP: (Request.CANCEL,),
        Request.PAUSE: (Request.CANCEL, Request.STOP),
        None: (Request.STOP,),
    }
)
"""What was asked of a run that stands, whatever else is asked of it then."""


class StoreError(PatchyardError):
    """The database cannot be opened, read or written."""


class StoreUnavailableError(StoreError):
    """The database's server does not answer, or hung up; it may be back in a moment."""


class LeaseLostError(StoreError):
    """Another process works on the run now; this one must write nothing more of it."""


class Database:
    """An open database: its transactions, and who has a run. A context manager.

    Args:
        url: The database. Its tables are made, or changed to those of this release.

    Raises:
        StoreError: From any method, when the database says no.
    """

    def __init__(self, url: "str | URL") -> None:
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - slow

        from pipeline.store.schema import bring_up_to_date  # noqa: PLC0415 - imports SQLAlchemy
        from pipeline.store.tables import Tables  # noqa: PLC0415 - imports SQLAlchemy

        self._error = SQLAlchemyError
        self.url = url_of(url) if isinstance(url, str) else url
        self._tables = Tables()
        self._engine = engine_of(self.url)
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        self._one = threading.Lock()
        self._owner: tuple[str, str] | None = None
        with self._told():
            bring_up_to_date(self._engine, self._tables)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def act_as(self, run: str, owner: str) -> None:
        """From now on write of this run only while it is the owner's.

        Every write of it raises `LeaseLostError` when another has claimed the run meanwhile.
        """
        self._owner = (run, owner)

    @property
    def is_shared(self) -> bool:
        """Whether several hosts can have it open: a SQLite file is for one."""
        return not self._is_sqlite

    @property
    def acting_on(self) -> str | None:
        """The run that `act_as` named."""
        return self._owner[0] if self._owner else None

    def claim(  # noqa: PLR0913 - one row, changed at once
        self, run: str, owner: str, host: str, seconds: float, *, dead: str | None = None, heed: bool = False
    ) -> bool:
        """Let a run be an owner's for some seconds; returns whether it is now.

        It can be had when nobody has it, or the lease of whoever has it is over. `dead` is an owner that is
        known to be gone, whatever its lease says. With `heed`, what was asked of the run before still stands:
        one that was cancelled cannot be had, and one that was paused stays so.
        """
        from sqlalchemy import and_, case, null, or_, true  # noqa: PLC0415 - slow

        runs = self._tables.runs
        stopped_while_paused = and_(runs.c.status == RunStatus.PAUSED, runs.c.request == Request.STOP)
        paused = or_(runs.c.request == Request.PAUSE, stopped_while_paused)
        wanted = runs.c.status != RunStatus.CANCELLED if heed else true()
        with self._write() as connection:
            moment = self._clock(connection)
            mine = (runs.c.owner.is_(None)) | (runs.c.lease_until < text_of(moment)) | (runs.c.owner == dead)
            changed = connection.execute(
                runs.update()
                .where(runs.c.id == run, mine, wanted)
                .values(
                    owner=owner,
                    host=host,
                    lease_until=text_of(moment + timedelta(seconds=seconds)),
                    status=case((paused, RunStatus.PAUSED), else_=RunStatus.RUNNING)
                    if heed
                    else RunStatus.RUNNING,
                    finished_at=None,
                    request=case((paused, Request.PAUSE), else_=null()) if heed else None,
                )
            )
            return changed.rowcount == 1

    def renew(self, run: str, owner: str, seconds: float) -> None:
        """Have a run for some more seconds.

        Raises:
            LeaseLostError: Another has it.
        """
        runs = self._tables.runs
        with self._write() as connection:
            until = text_of(self._clock(connection) + timedelta(seconds=seconds))
            changed = connection.execute(
                runs.update().where(runs.c.id == run, runs.c.owner == owner).values(lease_until=until)
            )
            if changed.rowcount == 0:
                raise LeaseLostError(_lost(run))

    def release(self, run: str, owner: str) -> None:
        """Let others have a run, if it is this owner's."""
        runs = self._tables.runs
        with self._write() as connection:
            connection.execute(
                runs.update()
                .where(runs.c.id == run, runs.c.owner == owner)
                .values(owner=None, lease_until=None)
            )

    def ask(self, run: str, request: Request | None) -> None:
        """Ask something of whoever works on a run; `None` takes a pause or a cancellation back.

        What was cancelled stays cancelled, whatever else is asked, and what is to stop is not paused any more.
        A run that nobody works on is asked nothing.
        """
        runs = self._tables.runs
        where = [runs.c.id == run, runs.c.request.is_(None) | runs.c.request.not_in(STRONGER[request])]
        if request is not None:
            where.append(runs.c.status.in_([status for status in RunStatus if status.is_active]))
        with self._write(run=run) as connection:
            connection.execute(runs.update().where(*where).values(request=request))

    def cancel(self, run: Run) -> bool:
        """Let a run be cancelled that nobody works on; returns whether it was still as it had been read."""
        runs = self._tables.runs
        with self._write(run=run.id) as connection:
            changed = connection.execute(
                runs.update()
                .where(
                    runs.c.id == run.id,
                    runs.c.status == run.status,
                    runs.c.owner.is_not_distinct_from(run.owner),
                )
                .values(status=RunStatus.CANCELLED, request=None)
            )
            return changed.rowcount == 1

    def asked(self, run: str) -> Request | None:
        """Return what is asked of whoever works on a run."""
        runs = self._tables.runs
        query = runs.select().where(runs.c.id == run).with_only_columns(runs.c.request)
        with self._read() as connection:
            value = connection.execute(query).scalar()
            return Request(value) if value else None

    def is_leased(self, run: str) -> bool:
        """Whether somebody has a run, as far as the lease says."""
        runs = self._tables.runs
        with self._read() as connection:
            query = runs.select().where(runs.c.id == run).with_only_columns(runs.c.owner, runs.c.lease_until)
            row = connection.execute(query).first()
            if row is None or row.owner is None:
                return False
            until = moment_of(row.lease_until)
            return until is not None and until > self._clock(connection)

    def _clock(self, connection: "Connection") -> datetime:
        """Return the present moment: the database's, where several hosts share it."""
        if self._engine.dialect.name == "sqlite":
            return datetime.now(UTC)
        from sqlalchemy import func, select  # noqa: PLC0415 - slow

        moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return moment

    def _insert(self, table: "Table") -> "sqlite.Insert | postgresql.Insert":
        """Return an `INSERT` that can say what to do where the row is there."""
        if self._is_sqlite:
            from sqlalchemy.dialects.sqlite import insert as insert_sqlite  # noqa: PLC0415 - slow

            return insert_sqlite(table)
        from sqlalchemy.dialects.postgresql import insert as insert_postgresql  # noqa: PLC0415 - slow

        return insert_postgresql(table)

    @contextmanager
    def _read(self) -> "Iterator[Connection]":
        """Open a transaction that writes nothing."""
        with self._told(), self._one, self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _write(self, *, run: str | None = None, durable: bool = True) -> "Iterator[Connection]":
        """Open a transaction that writes.

        Args:
            run: What is written is of this run: nobody claims it meanwhile or writes of it, and where `act_as`
                named its owner, it must still be the owner's.
            durable: Whether what is written has to outlive a loss of power.
        """
        with self._told(), self._one, self._engine.begin() as connection:
            if self._is_sqlite:
                connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # the driver would begin after what is read first
            elif not durable:
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            if run is not None:
                self._hold(connection, run)
            yield connection

    def _hold(self, connection: "Connection", run: str) -> None:
        """Let nobody else claim a run or write of it until the transaction ends."""
        row = connection.execute(self._tables.owner, {"run": run}).first()
        if self._owner and self._owner[0] == run and (row is None or row.owner != self._owner[1]):
            raise LeaseLostError(_lost(run))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Put the database's errors into one sentence."""
        try:
            yield
        except self._error as error:
            reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            reason = without_passwords(reason, self.url)
            kind = StoreUnavailableError if is_away(error) else StoreError
            raise kind(f"the database {shown(self.url)} cannot be used: {reason}") from error
        except NewerSchemaError as error:
            raise StoreError(
                f"the database {shown(self.url)} is of a newer patchyard (its schema is {error.revision}, "
                "which this one does not know): update this one, or name another database"
            ) from None


def _lost(run: str) -> str:
    return f"another process works on run {run} now; this one has ended its tasks and kept nothing of them"
