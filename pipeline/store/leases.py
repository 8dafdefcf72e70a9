"""Leases: one process works on a run at a time, and others send it requests."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType

from pipeline.store.database import Database
from pipeline.store.errors import LeaseLostError
from pipeline.store.records import Run
from pipeline.store.row_reads import encode, read_row
from pipeline.store.row_writes import update_rows
from pipeline.store.tables import RUNS
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
        paused = (
            f"(request = '{Request.PAUSE}' OR (status = '{RunStatus.PAUSED}' AND request = '{Request.STOP}'))"
        )
        status, request, allowed = f"'{RunStatus.RUNNING}'", "NULL", ""
        if honor_requests:
            status = f"CASE WHEN {paused} THEN '{RunStatus.PAUSED}' ELSE {status} END"
            request = f"CASE WHEN {paused} THEN '{Request.PAUSE}' END"
            allowed = f" AND status <> '{RunStatus.CANCELLED}'"
        statement = (
            f"UPDATE runs SET owner = ?, host = ?, lease_until = ?, status = {status}, finished_at = NULL, "  # noqa: S608 - constants
            f"request = {request} WHERE id = ? AND (owner IS NULL OR owner = ? OR lease_until < ?){allowed}"
        )
        with self._write() as connection:
            now = connection.clock()
            claimed = encode(
                RUNS, {"owner": owner, "host": host, "lease_until": now + timedelta(seconds=seconds)}
            )
            free = encode(RUNS, {"id": run, "owner": dead_owner, "lease_until": now})
            return connection.change(statement, claimed + free) == 1

    def renew(self, run: str, owner: str, seconds: float) -> None:
        """Extend the lease of a run to some seconds from now.

        Raises:
            LeaseLostError: Another owner has claimed it.
        """
        with self._write() as connection:
            until = connection.clock() + timedelta(seconds=seconds)
            if update_rows(connection, RUNS, {"id": run, "owner": owner}, {"lease_until": until}) == 0:
                raise LeaseLostError(run)

    def release(self, run: str, owner: str) -> None:
        """Give up the claim of a run, if this owner has it."""
        with self._write() as connection:
            update_rows(connection, RUNS, {"id": run, "owner": owner}, {"owner": None, "lease_until": None})

    def send_request(self, run: str, request: Request | None) -> None:
        """Send a request to the owner of a run; `None` withdraws a pause or a cancellation.

        A request does not replace a stronger one (see `STRONGER`), and a run that is not active gets none.
        """
        conditions = ["id = ?"]
        if STRONGER[request]:
            conditions.append(f"(request IS NULL OR request NOT IN ({_texts(STRONGER[request])}))")
        if request is not None:
            conditions.append(f"status IN ({_texts([status for status in RunStatus if status.is_active])})")
        statement = f"UPDATE runs SET request = ? WHERE {' AND '.join(conditions)}"  # noqa: S608 - constants
        with self._write(run=run) as connection:
            connection.change(statement, encode(RUNS, {"request": request, "id": run}))

    def pending_request(self, run: str) -> Request | None:
        """Return the request that the owner of a run has to act on."""
        with self._read() as connection:
            row = read_row(connection, RUNS, {"id": run}, columns=("id", "request"))
            request: Request | None = row["request"] if row else None
            return request

    def cancel(self, run: Run) -> bool:
        """Cancel a run that no process works on; returns `False` if it changed since it was read."""
        same = "owner IS NULL" if run.owner is None else "owner = ?"
        statement = f"UPDATE runs SET status = ?, request = NULL WHERE id = ? AND status = ? AND {same}"  # noqa: S608 - constants
        values = [RunStatus.CANCELLED.value, run.id, run.status.value, *filter(None, [run.owner])]
        with self._write(run=run.id) as connection:
            return connection.change(statement, values) == 1

    def is_leased(self, run: str) -> bool:
        """Whether a run has an owner whose lease has not expired."""
        with self._read() as connection:
            row = read_row(connection, RUNS, {"id": run}, columns=("id", "owner", "lease_until"))
            if row is None or row["owner"] is None or row["lease_until"] is None:
                return False
            return bool(row["lease_until"] > connection.clock())


def _texts(values: Iterable[str]) -> str:
    """Return members of an enumeration as a list in SQL."""
    return ", ".join(f"'{value}'" for value in values)
