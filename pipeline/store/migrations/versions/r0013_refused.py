"""Hosts that the sandbox refused to a task."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them to an outcome."""
    op.add_column("tasks", sa.Column("refused", sa.Text))
