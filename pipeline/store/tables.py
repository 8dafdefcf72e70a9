"""The tables of the store, and the column types that convert their values.

The database has texts only: times are ISO 8601 in UTC, lists and mappings are JSON.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    BigInteger,
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

from pipeline.store.records import format_time, parse_time
from pipeline.store.run_options import PublishOptions, StoredCall, texts_of
from tasks.model import Mode, Request, RunStatus, Status, StepKind
from tasks.text import without_surrogates

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
OBJECT_ID = re.compile("[0-9A-Za-z]+")
"""Excludes options, paths and revisions of git; git itself checks whether it is an id."""
V = TypeVar("V", PublishOptions, StoredCall)


class Text(TypeDecorator[str]):
    r"""Any text; a byte that is not UTF-8, and NUL, which PostgreSQL refuses, are stored as `\xNN`."""

    impl = PlainText
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return the stored text."""
        return None if value is None else _escape(value)


class Damaged:
    """Replaces a value that cannot be decoded; `pipeline.store.damage` reports it with the id of its run."""


class Decoded(TypeDecorator[T], Generic[T]):
    """Base of the types whose values are decoded: what cannot be becomes `Damaged`."""

    impl = PlainText
    kind: type[Any]

    @property
    def python_type(self) -> type[Any]:
        """The type of the decoded values."""
        return self.kind

    def read(self, text: str | None) -> T | None:
        """Decode a stored text.

        Raises:
            ValueError: It is none that was stored. Other errors of decoding mean the same.
        """
        raise NotImplementedError

    def process_result_value(self, value: str | None, dialect: Dialect) -> T | None:  # noqa: ARG002 - as above
        """Return the decoded value."""
        try:
            return self.read(value)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
            return Damaged()  # type: ignore[return-value]  # the caller checks the row


class Time(Decoded[datetime]):
    """A time with its zone."""

    cache_ok = True
    kind = datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - as above
        """Return the stored text."""
        return None if value is None else format_time(value)

    def read(self, text: str | None) -> datetime | None:
        """Return the time."""
        return None if text is None else parse_time(text)


class Json(Decoded[Mapping[str, Any]]):
    """A mapping as JSON."""

    cache_ok = True
    kind = dict

    def process_bind_param(self, value: Mapping[str, Any] | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - as above
        """Return the stored text."""
        return None if value is None else json.dumps(dict(value))

    def read(self, text: str | None) -> Mapping[str, Any]:
        """Return the mapping."""
        found: Mapping[str, Any] = json.loads(text or "{}")
        return found


class Options(Decoded[V], Generic[V]):
    """Options of a run as JSON; the defaults where a row of an older release has none."""

    cache_ok = True

    def __init__(self, kind: type[V]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: V | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - as above
        """Return the stored text."""
        return None if value is None else value.as_json

    def read(self, text: str | None) -> V:
        """Return the options."""
        options: V = self.kind.from_json(text)
        return options


class Names(Decoded[Sequence[str]]):
    """A list of texts as JSON, read as a tuple; empty where a row has none."""

    cache_ok = True
    kind = tuple

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - as above
        """Return the stored text."""
        return None if value is None else json.dumps(list(value))

    def read(self, text: str | None) -> tuple[str, ...]:
        """Return the tuple."""
        return texts_of(json.loads(text or "[]"))


class ObjectId(Decoded[str]):
    """The id of an object of git, which becomes an argument of git."""

    cache_ok = True
    kind = str

    def read(self, text: str | None) -> str | None:
        """Return the id."""
        if text is None or OBJECT_ID.fullmatch(text):
            return text
        raise ValueError("not the id of an object")


class FilePath(Decoded[Path]):
    """A path of a file or directory; bytes that are not UTF-8 are escaped as in `Text`."""

    cache_ok = True
    kind = Path

    def process_bind_param(self, value: Path | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - as above
        """Return the stored text."""
        return None if value is None else _escape(str(value))

    def read(self, text: str | None) -> Path | None:
        """Return the path."""
        return None if text is None else Path(text)


class Enum(Decoded[E], Generic[E]):
    """A member of an enumeration as its value."""

    cache_ok = True

    def __init__(self, kind: type[E]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: E | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - as above
        """Return the stored text."""
        return None if value is None else str(value)

    def read(self, text: str | None) -> E | None:
        """Return the member."""
        return self.kind(text) if text else None


def _escape(text: str) -> str:
    return without_surrogates(text).replace("\0", "\\x00")


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
