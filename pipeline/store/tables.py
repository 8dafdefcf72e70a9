"""The tables of the store."""

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    bindparam,
    func,
    select,
)

from pipeline.store.column_types import Enum, FilePath, Json, Names, ObjectId, Options, Text, Time
from pipeline.store.run_options import PublishOptions, StoredCall
from tasks.model import Mode, Request, RunStatus, Status, StepKind


def _run_column() -> Column[str]:
    """Return a column that names a run; a column belongs to one table."""
    return Column("run", Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)


class Tables:
    """Namespace of the tables. A store refers to it, since this module is imported when the first one opens."""

    metadata = MetaData()
    runs = Table(
        "runs",
        metadata,
        Column("id", Text, primary_key=True),
        Column("plan_path", Text, nullable=False),
        Column("plan_name", Text, nullable=False),
        Column("plan_title", Text, nullable=False),
        Column("plan_text", Text, nullable=False),
        Column("base", ObjectId, nullable=False),
        Column("base_name", Text),
        Column("pool_size", Integer, nullable=False),
        Column("status", Enum(RunStatus), nullable=False),
        Column("started_at", Time, nullable=False),
        Column("finished_at", Time),
        Column("seconds", Float),
        Column("speedup", Float),
        Column("efficiency", Float),
        Column("settings", Options(PublishOptions), nullable=False),
        Column("repository", Text),
        Column("host", Text),
        Column("directory", Text),
        Column("call", Options(StoredCall)),
        Column("request", Enum(Request)),
        Column("owner", Text),
        Column("lease_until", Time),
    )
    tasks = Table(
        "tasks",
        metadata,
        _run_column(),
        Column("task", Text, primary_key=True),
        Column("position", Integer, nullable=False),
        Column("title", Text, nullable=False),
        Column("batch", Integer, nullable=False),
        Column("status", Enum(Status), nullable=False),
        Column("worktree", Text),
        Column("seconds", Float, nullable=False),
        Column("started_at", Time),
        Column("finished_at", Time),
        Column("start", ObjectId),
        Column("start_branch", Text),
        Column("builds_on", Names, nullable=False),
        Column("branch", Text),
        Column("commit", ObjectId),
        Column("files", Names, nullable=False),
        Column("exit_code", Integer),
        Column("step", Text),
        Column("error", Text),
        Column("cost", Float),
        Column("cached", Boolean),
        Column("log", FilePath),
        Column("tree", ObjectId),
        Column("patch_sha256", Text),
        Column("patch_size", Integer),
        Column("request_number", Integer),
        Column("request_url", Text),
        Column("request_base", Text),
        Column("request_action", Text),
        Column("request_part", Text),
        Column("request_branch", Text),
        Column("attempt", Integer),
        Column("redo", Boolean),
        Column("rounds", Integer),
        Column("input_tokens", BigInteger),
        Column("output_tokens", BigInteger),
        Column("cached_tokens", BigInteger),
        Column("said", Text),
    )
    attempts = Table(
        "attempts",
        metadata,
        _run_column(),
        Column("task", Text, primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("title", Text, nullable=False),
        Column("batch", Integer, nullable=False),
        Column("worktree", Text),
        Column("path", FilePath),
        Column("host", Text),
        Column("started_at", Time, nullable=False),
        Column("finished_at", Time),
        Column("status", Enum(Status)),
        Column("seconds", Float, nullable=False),
        Column("exit_code", Integer),
        Column("error", Text),
        Column("start", ObjectId),
        Column("files", Names),
        Column("tree", ObjectId),
        Column("patch_sha256", Text),
        Column("patch_size", Integer),
        Column("log", FilePath),
        Column("waits_until", Time),
        Column("cause_tasks", Names),
        Column("cause_files", Names),
    )
    rounds = Table(
        "rounds",
        metadata,
        _run_column(),
        Column("task", Text, primary_key=True),
        Column("attempt", Integer, primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("seconds", Float, nullable=False),
        Column("cost", Float),
        Column("kind", Enum(StepKind)),
        Column("step", Text),
        Column("exit_code", Integer),
        Column("timed_out", Boolean, nullable=False),
        Column("error", Text),
        Column("output", Text, nullable=False),
        Column("start", ObjectId),
        Column("files", Names),
        Column("tree", ObjectId),
        Column("patch_sha256", Text),
        Column("patch_size", Integer),
        Column("input_tokens", BigInteger),
        Column("output_tokens", BigInteger),
        Column("cached_tokens", BigInteger),
    )
    patch_chunks = Table(
        "patch_chunks",
        metadata,
        _run_column(),
        Column("sha256", Text, primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("data", LargeBinary, nullable=False),
    )
    steps = Table(
        "steps",
        metadata,
        _run_column(),
        Column("task", Text, primary_key=True),
        Column("attempt", Integer, primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("kind", Text, nullable=False),
        Column("command", Text, nullable=False),
        Column("exit_code", Integer),
        Column("seconds", Float, nullable=False),
        Column("error", Text),
        Column("finished_at", Time, nullable=False),
        Column("cost", Float),
        Column("input_tokens", BigInteger),
        Column("output_tokens", BigInteger),
        Column("cached_tokens", BigInteger),
    )
    inputs = Table(
        "inputs",
        metadata,
        _run_column(),
        Column("task", Text, primary_key=True),
        Column("key", Text, nullable=False),
        Column("mode", Enum(Mode), nullable=False),
        Column("start_tree", ObjectId, nullable=False),
        Column("image", Text),
        Column("agent", Text),
        Column("agent_command", Text),
        Column("agent_version", Text),
        Column("environment", Names, nullable=False),
        Column("secrets", Names, nullable=False),
    )
    conflicts = Table(
        "conflicts",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("run", Text, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        Column("batch", Integer, nullable=False),
        Column("tasks", Names, nullable=False),
        Column("files", Names, nullable=False),
    )
    branches = Table(
        "branches",
        metadata,
        Column("repository", Text, primary_key=True),
        Column("name", Text, primary_key=True),
        Column("commit", ObjectId),
        Column("pushed", ObjectId),
    )
    shared_branches = Table(
        "shared_branches",
        metadata,
        _run_column(),
        Column("part", Text, primary_key=True),
        Column("branch", Text, nullable=False),
        Column("start", ObjectId, nullable=False),
        Column("start_branch", Text),
        Column("tasks", Names, nullable=False),
        Column("commits", Names, nullable=False),
        Column("tip", ObjectId),
        Column("left_out", Names, nullable=False),
    )
    events = Table(
        "events",
        metadata,
        _run_column(),
        Column("sequence", Integer, primary_key=True),
        Column("record", Json, nullable=False),
    )

    # Part of nearly every transaction: building a statement takes longer than executing it.
    run: BindParameter[str] = bindparam("run")
    owner = select(runs.c.owner).where(runs.c.id == run).with_for_update(key_share=True)
    last_event = select(func.max(events.c.sequence)).where(events.c.run == run)
