"""What the user says of a task, for its agent's next attempt."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it to an attempt, and to a task that is to run again."""
    op.add_column("attempts", sa.Column("feedback", sa.Text))
    op.add_column("tasks", sa.Column("feedback", sa.Text))
