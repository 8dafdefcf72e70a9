"""The tables of the store. Times are ISO 8601 texts in UTC, lists are JSON texts."""

from sqlalchemy import (
    BindParameter,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    TypeDecorator,
    bindparam,
    func,
    select,
)
from sqlalchemy import Text as PlainText


class Text(TypeDecorator[str]):
    """Text of any kind: what a database does not take is kept as an escape, for people to read.

    That is a byte of a path that is not UTF-8, and the character NUL.
    """

    impl = PlainText
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's own
        """Return what the database takes."""
        if value is None:
            return None
        return value.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


class Tables:
    """The schema: runs, their tasks, attempts, inputs, steps and events, conflicts, and the branches made."""

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
            Column("repository", Text),
            Column("host", Text),
            Column("directory", Text),
            Column("call", Text),
            Column("request", Text),
            Column("owner", Text),
            Column("lease_until", Text),
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
            Column("attempt", Integer),
            Column("redo", Boolean),
        )
        self.attempts = Table(
            "attempts",
            self.metadata,
            _run_column(),
            Column("task", Text, primary_key=True),
            Column("number", Integer, primary_key=True),
            Column("title", Text, nullable=False),
            Column("batch", Integer, nullable=False),
            Column("worktree", Text),
            Column("path", Text),
            Column("host", Text),
            Column("started_at", Text, nullable=False),
            Column("finished_at", Text),
            Column("status", Text),
            Column("seconds", Float, nullable=False),
            Column("exit_code", Integer),
            Column("error", Text),
            Column("start", Text),
            Column("files", Text),
            Column("tree", Text),
            Column("patch", LargeBinary),
            Column("log", Text),
        )
        self.steps = Table(
            "steps",
            self.metadata,
            _run_column(),
            Column("task", Text, primary_key=True),
            Column("attempt", Integer, primary_key=True),
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
            Column("repository", Text, primary_key=True),
            Column("name", Text, primary_key=True),
            Column("commit", Text),
            Column("pushed", Text),
        )

        self.events = Table(
            "events",
            self.metadata,
            _run_column(),
            Column("sequence", Integer, primary_key=True),
            Column("record", Text, nullable=False),
        )

        # What nearly every transaction asks of a run: to build a statement takes longer than to execute it.
        run: BindParameter[str] = bindparam("run")
        self.owner = select(self.runs.c.owner).where(self.runs.c.id == run).with_for_update(key_share=True)
        self.last_event = select(func.max(self.events.c.sequence)).where(self.events.c.run == run)


def _run_column() -> Column[str]:
    """Return a column that names a run; a column belongs to one table."""
    return Column("run", Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
