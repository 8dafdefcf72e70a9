"""The last message of the agent in each round, for a result that is taken from a round."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; it is unknown for what ran before."""
    op.add_column("rounds", sa.Column("said", sa.Text))
