"""Why a task that had a result was run again."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add to an attempt the tasks, and the files, because of which it was made."""
    op.add_column("attempts", sa.Column("cause_tasks", sa.Text))
    op.add_column("attempts", sa.Column("cause_files", sa.Text))
