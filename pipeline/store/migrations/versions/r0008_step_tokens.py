"""The tokens of each call of an agent, so that those of a task are the sum of all its attempts."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TOKENS = ("input_tokens", "output_tokens", "cached_tokens")


def upgrade() -> None:
    """Add the columns; they are unknown for what ran before."""
    for name in TOKENS:
        op.add_column("steps", sa.Column(name, sa.BigInteger))
