"""Runs that any process can resume: attempts, events, leases, and branches by repository."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables and columns for resuming and watching runs, and for several hosts."""
    for name in ("repository", "host", "directory", "call", "request", "owner", "lease_until"):
        op.add_column("runs", sa.Column(name, sa.Text))
    op.add_column("tasks", sa.Column("attempt", sa.Integer))
    op.add_column("tasks", sa.Column("redo", sa.Boolean))
    op.create_table(
        "attempts",
        _run_column(),
        sa.Column("task", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("batch", sa.Integer, nullable=False),
        sa.Column("worktree", sa.Text),
        sa.Column("path", sa.Text),
        sa.Column("host", sa.Text),
        sa.Column("started_at", sa.Text, nullable=False),
        sa.Column("finished_at", sa.Text),
        sa.Column("status", sa.Text),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("error", sa.Text),
        sa.Column("start", sa.Text),
        sa.Column("files", sa.Text),
        sa.Column("tree", sa.Text),
        sa.Column("patch", sa.LargeBinary),
        sa.Column("log", sa.Text),
    )
    op.create_table(
        "events",
        _run_column(),
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("record", sa.Text, nullable=False),
    )
    _recreate(
        "steps",
        "run, task, 1, number, kind, command, exit_code, seconds, error, finished_at",
        _run_column(),
        sa.Column("task", sa.Text, primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("command", sa.Text, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("finished_at", sa.Text, nullable=False),
    )
    # Such a database is in the git directory of its only repository.
    _recreate(
        "branches",
        "'', name, \"commit\", pushed",
        sa.Column("repository", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("commit", sa.Text),
        sa.Column("pushed", sa.Text),
    )


def _recreate(name: str, selected: str, *columns: sa.Column[str] | sa.Column[int] | sa.Column[float]) -> None:
    """Recreate a table with another primary key, which SQLite cannot change in place, and copy its rows.

    The rows are in a temporary table in between, so the new table and its constraints have the usual names.
    """
    op.execute(f"CREATE TABLE {name}_before AS SELECT * FROM {name}")  # noqa: S608 - names of this module
    op.drop_table(name)
    op.create_table(name, *columns)
    op.execute(f"INSERT INTO {name} SELECT {selected} FROM {name}_before")  # noqa: S608 - likewise
    op.drop_table(f"{name}_before")


def _run_column() -> sa.Column[str]:
    return sa.Column("run", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
