"""What verification gives where tasks start."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table of checks, which of them an attempt has, and what fails without the changes of a task."""
    op.create_table(
        "base_checks",
        sa.Column("run", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("start", sa.Text, nullable=False),
        sa.Column("command", sa.Text, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("timed_out", sa.Boolean, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("output", sa.Text, nullable=False),
        sa.Column("host", sa.Text),
        sa.Column("log", sa.Text),
        sa.Column("finished_at", sa.Text, nullable=False),
    )
    op.add_column("attempts", sa.Column("base_checks", sa.Text))
    op.add_column("tasks", sa.Column("fails_before", sa.Text))
