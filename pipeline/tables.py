"""The tables of the store. Times are ISO 8601 texts in UTC, lists are JSON texts."""

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Dialect,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    TypeDecorator,
    inspect,
    text,
)
from sqlalchemy import Text as PlainText
from sqlalchemy.schema import CreateColumn, CreateTable


class Text(TypeDecorator[str]):
    """Text of any kind: a byte of a path that is not UTF-8 is kept as an escape, for people to read."""

    impl = PlainText
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's own
        """Return what the database takes."""
        return None if value is None else value.encode(errors="backslashreplace").decode()


class Tables:
    """The schema: runs, their tasks, inputs and steps, conflicts, and the branches that this program made."""

    def __init__(self) -> None:
        self.metadata = MetaData()
        self.runs = Table(
            "runs",
            self.metadata,
            Column("id", Text, primary_key=True),
            Column("plan_path", Text, nullable=False),
            Column("plan_name", Text, nullable=False),
            Column("plan_title", Text, nullable=False),
            Column("plan_text", Text, nullable=False),
            Column("base", Text, nullable=False),
            Column("base_name", Text),
            Column("pool_size", Integer, nullable=False),
            Column("status", Text, nullable=False),
            Column("started_at", Text, nullable=False),
            Column("finished_at", Text),
            Column("seconds", Float),
            Column("speedup", Float),
            Column("efficiency", Float),
            Column("settings", Text, nullable=False),
        )
        self.tasks = Table(
            "tasks",
            self.metadata,
            _run_column(),
            Column("task", Text, primary_key=True),
            Column("position", Integer, nullable=False),
            Column("title", Text, nullable=False),
            Column("batch", Integer, nullable=False),
            Column("status", Text, nullable=False),
            Column("worktree", Text),
            Column("seconds", Float, nullable=False),
            Column("started_at", Text),
            Column("finished_at", Text),
            Column("start", Text),
            Column("start_branch", Text),
            Column("builds_on", Text, nullable=False),
            Column("branch", Text),
            Column("commit", Text),
            Column("files", Text, nullable=False),
            Column("exit_code", Integer),
            Column("step", Text),
            Column("error", Text),
            Column("cost", Float),
            Column("cached", Boolean),
            Column("log", Text),
            Column("tree", Text),
            Column("patch", LargeBinary),
            Column("request_number", Integer),
            Column("request_url", Text),
            Column("request_base", Text),
            Column("request_action", Text),
        )
        self.steps = Table(
            "steps",
            self.metadata,
            _run_column(),
            Column("task", Text, primary_key=True),
            Column("number", Integer, primary_key=True),
            Column("kind", Text, nullable=False),
            Column("command", Text, nullable=False),
            Column("exit_code", Integer),
            Column("seconds", Float, nullable=False),
            Column("error", Text),
            Column("finished_at", Text, nullable=False),
        )
        self.inputs = Table(
            "inputs",
            self.metadata,
            _run_column(),
            Column("task", Text, primary_key=True),
            Column("key", Text, nullable=False),
            Column("mode", Text, nullable=False),
            Column("start_tree", Text, nullable=False),
            Column("image", Text),
            Column("agent", Text),
            Column("agent_command", Text),
            Column("agent_version", Text),
            Column("environment", Text, nullable=False),
            Column("secrets", Text, nullable=False),
        )
        self.conflicts = Table(
            "conflicts",
            self.metadata,
            Column("id", Integer, primary_key=True),
            Column("run", Text, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
            Column("batch", Integer, nullable=False),
            Column("tasks", Text, nullable=False),
            Column("files", Text, nullable=False),
        )
        self.branches = Table(
            "branches",
            self.metadata,
            Column("name", Text, primary_key=True),
            Column("commit", Text),
            Column("pushed", Text),
        )

    def make(self, connection: Connection) -> None:
        """Make the tables that lack, and the columns that a database of an older release lacks.

        Two processes may do it at once.
        """
        for table in self.metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
        inspector = inspect(connection)
        for table in self.metadata.sorted_tables:
            there = {column["name"] for column in inspector.get_columns(table.name)}
            for column in (column for column in table.columns if column.name not in there):
                definition = CreateColumn(column).compile(dialect=connection.dialect)
                connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN {definition}"))


def _run_column() -> Column[str]:
    """Return a column that names a run; a column belongs to one table."""
    return Column("run", Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
