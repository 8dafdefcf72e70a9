"""How many lines the patch of a task adds and removes."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; both are unknown for what ran before."""
    for name in ("added", "removed"):
        op.add_column("tasks", sa.Column(name, sa.BigInteger))
