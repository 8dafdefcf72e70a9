"""The tables of the store: what statements and new databases are made from."""

from collections.abc import Iterator
from typing import Any

from pipeline.store.column_types import (
    Bytes,
    ColumnType,
    Counter,
    Enum,
    FilePath,
    Json,
    Large,
    Names,
    ObjectId,
    Options,
    Real,
    Refused,
    Text,
    Time,
    Truth,
    Whole,
)
from pipeline.store.run_options import PublishOptions, StoredCall
from tasks.lazy.dataclasses import dataclass
from tasks.model import Mode, StepKind
from tasks.outcome import Request, RunStatus, Status


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A column of a table.

    Attributes:
        name: Its name.
        type: Converts its values.
        key: Whether it is part of the primary key.
        nullable: Whether it may be NULL; what is part of the key may not.
        parent: The table whose rows its value names; a row is deleted with that row.
    """

    name: str
    type: ColumnType[Any]
    key: bool = False
    nullable: bool = True
    parent: str | None = None

    @property
    def is_required(self) -> bool:
        """Whether it may not be NULL."""
        return self.key or not self.nullable

    def write(self, value: object) -> object:
        """Return what the database stores for a value."""
        return None if value is None else self.type.write(value)

    def read(self, stored: object) -> Any:  # noqa: ANN401 - the type of the column
        """Return the value of what is stored.

        Raises:
            ValueError: It is none that was stored. The other errors of `UNREADABLE` mean the same.
        """
        value = self.type.of_null if stored is None else self.type.read(stored)
        if value is None and self.is_required:
            raise ValueError("a value is missing")
        return value


class Table:
    """A table: its name, and its columns by name."""

    def __init__(self, name: str, *columns: Column) -> None:
        self.name = name
        self.columns = {column.name: column for column in columns}

    @property
    def key(self) -> tuple[str, ...]:
        """The names of the columns of its primary key."""
        return tuple(column.name for column in self if column.key)

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns.values())


TEXT = Text()
WHOLE = Whole()
LARGE = Large()
REAL = Real()
TRUTH = Truth()
BYTES = Bytes()
COUNTER = Counter()
TIME = Time()
JSON = Json()
NAMES = Names()
REFUSED = Refused()
OBJECT_ID = ObjectId()
FILE_PATH = FilePath()
RUN_STATUS = Enum(RunStatus)
STATUS = Enum(Status)
REQUEST = Enum(Request)
STEP_KIND = Enum(StepKind)
MODE = Enum(Mode)
PUBLISH_OPTIONS = Options(PublishOptions)
CALL = Options(StoredCall)
_RUN = Column("run", TEXT, key=True, parent="runs")

RUNS = Table(
    "runs",
    Column("id", TEXT, key=True),
    Column("plan_path", TEXT, nullable=False),
    Column("plan_name", TEXT, nullable=False),
    Column("plan_title", TEXT, nullable=False),
    Column("plan_text", TEXT, nullable=False),
    Column("base", OBJECT_ID, nullable=False),
    Column("base_name", TEXT),
    Column("pool_size", WHOLE, nullable=False),
    Column("status", RUN_STATUS, nullable=False),
    Column("started_at", TIME, nullable=False),
    Column("finished_at", TIME),
    Column("seconds", REAL),
    Column("speedup", REAL),
    Column("efficiency", REAL),
    Column("settings", PUBLISH_OPTIONS, nullable=False),
    Column("repository", TEXT),
    Column("host", TEXT),
    Column("directory", TEXT),
    Column("call", CALL),
    Column("request", REQUEST),
    Column("owner", TEXT),
    Column("lease_until", TIME),
)
TASKS = Table(
    "tasks",
    _RUN,
    Column("task", TEXT, key=True),
    Column("position", WHOLE, nullable=False),
    Column("title", TEXT, nullable=False),
    Column("batch", WHOLE, nullable=False),
    Column("status", STATUS, nullable=False),
    Column("worktree", TEXT),
    Column("seconds", REAL, nullable=False),
    Column("started_at", TIME),
    Column("finished_at", TIME),
    Column("start", OBJECT_ID),
    Column("start_branch", TEXT),
    Column("builds_on", NAMES, nullable=False),
    Column("branch", TEXT),
    Column("commit", OBJECT_ID),
    Column("files", NAMES, nullable=False),
    Column("exit_code", WHOLE),
    Column("step", TEXT),
    Column("error", TEXT),
    Column("cost", REAL),
    Column("cached", TRUTH),
    Column("log", FILE_PATH),
    Column("tree", OBJECT_ID),
    Column("patch_sha256", TEXT),
    Column("patch_size", WHOLE),
    Column("request_number", WHOLE),
    Column("request_url", TEXT),
    Column("request_base", TEXT),
    Column("request_action", TEXT),
    Column("request_part", TEXT),
    Column("request_branch", TEXT),
    Column("attempt", WHOLE),
    Column("redo", TRUTH),
    Column("feedback", TEXT),
    Column("rounds", WHOLE),
    Column("input_tokens", LARGE),
    Column("output_tokens", LARGE),
    Column("cached_tokens", LARGE),
    Column("said", TEXT),
    Column("added", LARGE),
    Column("removed", LARGE),
    Column("fails_before", NAMES),
    Column("refused", REFUSED),
    Column("foundation", TEXT),
)
FOUNDATIONS = Table(
    "foundations",
    _RUN,
    Column("key", TEXT, key=True),
    Column("below", TEXT),
    Column("tasks", NAMES, nullable=False),
)
ATTEMPTS = Table(
    "attempts",
    _RUN,
    Column("task", TEXT, key=True),
    Column("number", WHOLE, key=True),
    Column("title", TEXT, nullable=False),
    Column("batch", WHOLE, nullable=False),
    Column("worktree", TEXT),
    Column("path", FILE_PATH),
    Column("host", TEXT),
    Column("started_at", TIME, nullable=False),
    Column("finished_at", TIME),
    Column("status", STATUS),
    Column("seconds", REAL, nullable=False),
    Column("exit_code", WHOLE),
    Column("error", TEXT),
    Column("start", OBJECT_ID),
    Column("files", NAMES),
    Column("tree", OBJECT_ID),
    Column("patch_sha256", TEXT),
    Column("patch_size", WHOLE),
    Column("log", FILE_PATH),
    Column("waits_until", TIME),
    Column("base_checks", NAMES),
    Column("feedback", TEXT),
    Column("cause_tasks", NAMES),
    Column("cause_files", NAMES),
)
ROUNDS = Table(
    "rounds",
    _RUN,
    Column("task", TEXT, key=True),
    Column("attempt", WHOLE, key=True),
    Column("number", WHOLE, key=True),
    Column("seconds", REAL, nullable=False),
    Column("cost", REAL),
    Column("kind", STEP_KIND),
    Column("step", TEXT),
    Column("exit_code", WHOLE),
    Column("timed_out", TRUTH, nullable=False),
    Column("error", TEXT),
    Column("output", TEXT, nullable=False),
    Column("start", OBJECT_ID),
    Column("files", NAMES),
    Column("tree", OBJECT_ID),
    Column("patch_sha256", TEXT),
    Column("patch_size", WHOLE),
    Column("input_tokens", LARGE),
    Column("output_tokens", LARGE),
    Column("cached_tokens", LARGE),
    Column("said", TEXT),
)
BASE_CHECKS = Table(
    "base_checks",
    _RUN,
    Column("key", TEXT, key=True),
    Column("task", TEXT, nullable=False),
    Column("start", OBJECT_ID, nullable=False),
    Column("command", TEXT, nullable=False),
    Column("seconds", REAL, nullable=False),
    Column("exit_code", WHOLE),
    Column("timed_out", TRUTH, nullable=False),
    Column("error", TEXT),
    Column("output", TEXT, nullable=False),
    Column("host", TEXT),
    Column("log", FILE_PATH),
    Column("finished_at", TIME, nullable=False),
)
PATCH_CHUNKS = Table(
    "patch_chunks",
    _RUN,
    Column("sha256", TEXT, key=True),
    Column("number", WHOLE, key=True),
    Column("data", BYTES, nullable=False),
)
STEPS = Table(
    "steps",
    _RUN,
    Column("task", TEXT, key=True),
    Column("attempt", WHOLE, key=True),
    Column("number", WHOLE, key=True),
    Column("kind", TEXT, nullable=False),
    Column("command", TEXT, nullable=False),
    Column("exit_code", WHOLE),
    Column("seconds", REAL, nullable=False),
    Column("error", TEXT),
    Column("finished_at", TIME, nullable=False),
    Column("cost", REAL),
    Column("input_tokens", LARGE),
    Column("output_tokens", LARGE),
    Column("cached_tokens", LARGE),
)
INPUTS = Table(
    "inputs",
    _RUN,
    Column("task", TEXT, key=True),
    Column("key", TEXT, nullable=False),
    Column("mode", MODE, nullable=False),
    Column("start_tree", OBJECT_ID, nullable=False),
    Column("image", TEXT),
    Column("agent", TEXT),
    Column("agent_command", TEXT),
    Column("agent_version", TEXT),
    Column("environment", NAMES, nullable=False),
    Column("secrets", NAMES, nullable=False),
)
CONFLICTS = Table(
    "conflicts",
    Column("id", COUNTER, key=True),
    Column("run", TEXT, nullable=False, parent="runs"),
    Column("batch", WHOLE, nullable=False),
    Column("tasks", NAMES, nullable=False),
    Column("files", NAMES, nullable=False),
)
BRANCHES = Table(
    "branches",
    Column("repository", TEXT, key=True),
    Column("name", TEXT, key=True),
    Column("commit", OBJECT_ID),
    Column("pushed", OBJECT_ID),
)
SHARED_BRANCHES = Table(
    "shared_branches",
    _RUN,
    Column("part", TEXT, key=True),
    Column("branch", TEXT, nullable=False),
    Column("start", OBJECT_ID, nullable=False),
    Column("start_branch", TEXT),
    Column("tasks", NAMES, nullable=False),
    Column("commits", NAMES, nullable=False),
    Column("tip", OBJECT_ID),
    Column("left_out", NAMES, nullable=False),
)
EVENTS = Table(
    "events",
    _RUN,
    Column("sequence", WHOLE, key=True),
    Column("record", JSON, nullable=False),
)
TABLES = (
    RUNS,
    TASKS,
    FOUNDATIONS,
    ATTEMPTS,
    ROUNDS,
    BASE_CHECKS,
    PATCH_CHUNKS,
    STEPS,
    INPUTS,
    CONFLICTS,
    BRANCHES,
    SHARED_BRANCHES,
    EVENTS,
)
"""All tables, a parent before its children."""
