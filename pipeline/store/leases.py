"""Leases: one process works on a run at a time, and others send it requests."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

from pipeline.store.damage import checked
from pipeline.store.database import Database, LeaseLostError
from pipeline.store.records import Run
from tasks.outcome import Request, RunStatus

STRONGER: Mapping[Request | None, tuple[Request, ...]] = MappingProxyType(
    {
        Request.CANCEL: (),
        Request.STOP: (Request.CANCEL,),
        Request.PAUSE: (Request.CANCEL, Request.STOP),
        None: (Request.STOP,),
    }
)
"""The pending requests that each new request does not replace; `None` withdraws a pause or a cancellation."""


class Leases(Database):
    """A database whose runs can be claimed. Blocking."""

    def claim(  # noqa: PLR0913 - one row, changed at once
        self,
        run: str,
        owner: str,
        host: str,
        seconds: float,
        *,
        dead_owner: str | None = None,
        honor_requests: bool = False,
    ) -> bool:
        """Claim a run for some seconds; returns whether the owner has it now.

        A run can be claimed when it has no owner, or the lease of its owner has expired.

        Args:
            run: The run's id.
            owner: The new owner.
            host: The host of the new owner.
            seconds: How long the lease lasts without being renewed.
            dead_owner: An owner whose process is known to be dead, so its lease does not count.
            honor_requests: Keep pending requests: a cancelled run is not claimed, a paused one remains paused.
        """
        from sqlalchemy import and_, case, null, or_, true  # noqa: PLC0415 - slow

        runs = self._tables.runs
        stopped_while_paused = and_(runs.c.status == RunStatus.PAUSED, runs.c.request == Request.STOP)
        paused = or_(runs.c.request == Request.PAUSE, stopped_while_paused)
        allowed = runs.c.status != RunStatus.CANCELLED if honor_requests else true()
        status = case((paused, RunStatus.PAUSED), else_=RunStatus.RUNNING)
        with self._write() as connection:
            now = self._clock(connection)
            free = (runs.c.owner.is_(None)) | (runs.c.lease_until < now) | (runs.c.owner == dead_owner)
            changed = connection.execute(
                runs.update()
                .where(runs.c.id == run, free, allowed)
                .values(
                    owner=owner,
                    host=host,
                    lease_until=now + timedelta(seconds=seconds),
                    status=status if honor_requests else RunStatus.RUNNING,
                    finished_at=None,
                    request=case((paused, Request.PAUSE), else_=null()) if honor_requests else None,
                )
            )
            return changed.rowcount == 1

    def renew(self, run: str, owner: str, seconds: float) -> None:
        """Extend the lease of a run to some seconds from now.

        Raises:
            LeaseLostError: Another owner has claimed it.
        """
        runs = self._tables.runs
        with self._write() as connection:
            until = self._clock(connection) + timedelta(seconds=seconds)
            changed = connection.execute(
                runs.update().where(runs.c.id == run, runs.c.owner == owner).values(lease_until=until)
            )
            if changed.rowcount == 0:
                raise LeaseLostError(run)

    def release(self, run: str, owner: str) -> None:
        """Give up the claim of a run, if this owner has it."""
        runs = self._tables.runs
        with self._write() as connection:
            connection.execute(
                runs.update()
                .where(runs.c.id == run, runs.c.owner == owner)
                .values(owner=None, lease_until=None)
            )

    def send_request(self, run: str, request: Request | None) -> None:
        """Send a request to the owner of a run; `None` withdraws a pause or a cancellation.

        A request does not replace a stronger one (see `STRONGER`), and a run that is not active gets none.
        """
        runs = self._tables.runs
        where = [runs.c.id == run, runs.c.request.is_(None) | runs.c.request.not_in(STRONGER[request])]
        if request is not None:
            where.append(runs.c.status.in_([status for status in RunStatus if status.is_active]))
        with self._write(run=run) as connection:
            connection.execute(runs.update().where(*where).values(request=request))

    def pending_request(self, run: str) -> Request | None:
        """Return the request that the owner of a run has to act on."""
        runs = self._tables.runs
        query = runs.select().where(runs.c.id == run).with_only_columns(runs.c.id, runs.c.request)
        with self._read() as connection:
            row = connection.execute(query).mappings().first()
            request: Request | None = None if row is None else checked(runs, row)["request"]
            return request

    def cancel(self, run: Run) -> bool:
        """Cancel a run that no process works on; returns `False` if it changed since it was read."""
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

    def is_leased(self, run: str) -> bool:
        """Whether a run has an owner whose lease has not expired."""
        runs = self._tables.runs
        columns = (runs.c.id, runs.c.owner, runs.c.lease_until)
        query = runs.select().where(runs.c.id == run).with_only_columns(*columns)
        with self._read() as connection:
            row = connection.execute(query).mappings().first()
            if row is None or row["owner"] is None or row["lease_until"] is None:
                return False
            return bool(checked(runs, row)["lease_until"] > self._clock(connection))
