"""What agents say at their end: tokens, and the last message."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TOKENS = ("input_tokens", "output_tokens", "cached_tokens")


def upgrade() -> None:
    """Add the columns; both are unknown for what ran before."""
    for table in ("tasks", "rounds"):
        for name in TOKENS:
            op.add_column(table, sa.Column(name, sa.BigInteger))
    op.add_column("tasks", sa.Column("said", sa.Text))
