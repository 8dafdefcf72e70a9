"""Branches and pull requests of several tasks."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table of shared branches; a task says which one its pull request is of."""
    op.create_table(
        "shared_branches",
        sa.Column("run", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("part", sa.Text, primary_key=True),
        sa.Column("branch", sa.Text, nullable=False),
        sa.Column("start", sa.Text, nullable=False),
        sa.Column("start_branch", sa.Text),
        sa.Column("tasks", sa.Text, nullable=False),
        sa.Column("commits", sa.Text, nullable=False),
        sa.Column("tip", sa.Text),
        sa.Column("left_out", sa.Text, nullable=False),
    )
    for name in ("request_part", "request_branch"):
        op.add_column("tasks", sa.Column(name, sa.Text))
