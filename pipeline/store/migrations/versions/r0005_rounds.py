"""Rounds of attempts."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table of rounds, their number to a task, the cost to a step, and a wait to an attempt."""
    op.create_table(
        "rounds",
        sa.Column("run", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("task", sa.Text, primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("cost", sa.Float),
        sa.Column("kind", sa.Text),
        sa.Column("step", sa.Text),
        sa.Column("exit_code", sa.Integer),
        sa.Column("timed_out", sa.Boolean, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("output", sa.Text, nullable=False),
        sa.Column("start", sa.Text),
        sa.Column("files", sa.Text),
        sa.Column("tree", sa.Text),
        sa.Column("patch_sha256", sa.Text),
        sa.Column("patch_size", sa.Integer),
    )
    op.add_column("tasks", sa.Column("rounds", sa.Integer))
    op.add_column("attempts", sa.Column("waits_until", sa.Text))
    op.add_column("steps", sa.Column("cost", sa.Float))
