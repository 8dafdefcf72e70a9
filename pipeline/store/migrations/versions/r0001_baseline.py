"""The schema before revisions were stored.

Such a database may have fewer tables or columns, so only missing ones are created.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the missing tables, and add the missing columns to existing ones."""
    connection = op.get_bind()
    inspector = sa.inspect(connection)
    existing = set(inspector.get_table_names())
    metadata = _baseline()
    for table in metadata.sorted_tables:
        if table.name not in existing:
            table.create(connection)
            continue
        columns = {column["name"] for column in inspector.get_columns(table.name)}
        for column in (column for column in table.columns if column.name not in columns):
            op.add_column(table.name, sa.Column(column.name, column.type, nullable=column.nullable))


def _baseline() -> sa.MetaData:
    metadata = sa.MetaData()
    sa.Table(
        "runs",
        metadata,
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("plan_path", sa.Text, nullable=False),
        sa.Column("plan_name", sa.Text, nullable=False),
        sa.Column("plan_title", sa.Text, nullable=False),
        sa.Column("plan_text", sa.Text, nullable=False),
        sa.Column("base", sa.Text, nullable=False),
        sa.Column("base_name", sa.Text),
        sa.Column("pool_size", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("started_at", sa.Text, nullable=False),
        sa.Column("finished_at", sa.Text),
        sa.Column("seconds", sa.Float),
        sa.Column("speedup", sa.Float),
        sa.Column("efficiency", sa.Float),
        sa.Column("settings", sa.Text, nullable=False),
    )
    sa.Table(
        "tasks",
        metadata,
        _run_column(),
        sa.Column("task", sa.Text, primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("batch", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("worktree", sa.Text),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("started_at", sa.Text),
        sa.Column("finished_at", sa.Text),
        sa.Column("start", sa.Text),
        sa.Column("start_branch", sa.Text),
        sa.Column("builds_on", sa.Text, nullable=False),
        sa.Column("branch", sa.Text),
        sa.Column("commit", sa.Text),
        sa.Column("files", sa.Text, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("step", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("cost", sa.Float),
        sa.Column("cached", sa.Boolean),
        sa.Column("log", sa.Text),
        sa.Column("tree", sa.Text),
        sa.Column("patch", sa.LargeBinary),
        sa.Column("request_number", sa.Integer),
        sa.Column("request_url", sa.Text),
        sa.Column("request_base", sa.Text),
        sa.Column("request_action", sa.Text),
    )
    sa.Table(
        "steps",
        metadata,
        _run_column(),
        sa.Column("task", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("command", sa.Text, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("finished_at", sa.Text, nullable=False),
    )
    sa.Table(
        "inputs",
        metadata,
        _run_column(),
        sa.Column("task", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("start_tree", sa.Text, nullable=False),
        sa.Column("image", sa.Text),
        sa.Column("agent", sa.Text),
        sa.Column("agent_command", sa.Text),
        sa.Column("agent_version", sa.Text),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("secrets", sa.Text, nullable=False),
    )
    sa.Table(
        "conflicts",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("batch", sa.Integer, nullable=False),
        sa.Column("tasks", sa.Text, nullable=False),
        sa.Column("files", sa.Text, nullable=False),
    )
    sa.Table(
        "branches",
        metadata,
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("commit", sa.Text),
        sa.Column("pushed", sa.Text),
    )
    return metadata


def _run_column() -> sa.Column[str]:
    return sa.Column("run", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
