"""What start points of tasks have in common, once for all tasks that have it."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table of what tasks build on, and which of its rows a task builds on besides its own list."""
    op.create_table(
        "foundations",
        sa.Column("run", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("below", sa.Text),
        sa.Column("tasks", sa.Text, nullable=False),
    )
    op.add_column("tasks", sa.Column("foundation", sa.Text))
