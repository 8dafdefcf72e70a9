"""Data model: plan, batch, task, step, patch, outcome, run status, pull request."""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from pathlib import PurePosixPath
from textwrap import dedent

from tasks.conflicts import OnConflict, Serialize
from tasks.lazy.dataclasses import dataclass


class Mode(StrEnum):
    """How the tasks of a batch are run."""

    LOCAL = "local"  # one after another, as processes on this machine
    PARALLEL = "parallel"  # side by side, as processes on this machine
    DAGGER = "dagger"  # side by side, each in a container of a Dagger engine


class SandboxMode(StrEnum):
    """Whether tasks run in the sandbox."""

    AUTO = "auto"
    """Where it works."""
    ON = "on"
    OFF = "off"

    @property
    def strength(self) -> int:
        """How much it asks for, from 0; a plan may only ask for more than its user."""
        return (SandboxMode.OFF, SandboxMode.AUTO, SandboxMode.ON).index(self)


NATIVE = "patchyard"
"""The name of the native format among the dialects."""
LARGEST_POOL = 1000
"""The most worktrees of a pool: each is a checkout, and a file that stays open during a run."""


class StepKind(StrEnum):
    """What a step of a task is for."""

    SETUP = "setup"
    AGENT = "agent"
    RUN = "run"
    VERIFY = "verify"
    TEARDOWN = "teardown"


class FileAction(StrEnum):
    """What a plan says will happen to a file."""

    CREATE = "create"
    MODIFY = "modify"
    DELETE = "delete"
    READ = "read"


@dataclass(frozen=True, slots=True)
class DeclaredFile:
    """A file that a task names under **Files:**.

    `path` is as written, without backticks; `line` is 1-based.
    """

    action: FileAction
    path: str
    line: int = 0

    @property
    def outside(self) -> bool:
        """Whether the path leaves the repository: absolute, a home directory, or above its root."""
        if ".." not in self.path and ":" not in self.path:
            return self.path.startswith(("/", "\\", "~"))
        depth = 0
        parts = PurePosixPath(self.path.replace("\\", "/")).parts
        if self.path.startswith(("/", "\\", "~")) or (parts and parts[0].endswith(":")):
            return True
        for part in parts:
            depth += -1 if part == ".." else 1
            if depth < 0:
                return True
        return False


@dataclass(frozen=True, slots=True)
class Step:
    """One process of a task.

    `title` is the line that is shown. `argv` is the argument vector. `stdin` is text for standard
    input, `None` for an empty one. With `prompt_file`, the runner writes `stdin` to a
    file outside of the worktree and replaces `{prompt_file}` in the arguments by its path.
    """

    kind: StepKind
    title: str
    argv: tuple[str, ...]
    stdin: str | None = None
    prompt_file: bool = False

    @property
    def script(self) -> str | None:
        """The whole script that it runs, of which the title shows a line; `None` for an agent."""
        is_script = self.stdin is None and self.argv[-2:-1] == ("-c",)
        return self.argv[-1] if is_script else None


def hidden_script(title: str, script: str | None) -> str | None:
    """Return a script, with neither empty lines around it nor an indent, if a title does not show all of it."""
    text = dedent(script or "").strip("\n").rstrip()
    return text if "\n" in text or (len(text) > len(title) and "…" in title) else None


@dataclass(frozen=True, slots=True)
class Check:
    """An item under **Verification:**: a command to run, or prose for the agent."""

    text: str
    step: Step | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a plan, as written.

    `id` is such as `1.1`, `2.3.1` or `1.2a`. `dependencies` are task ids. `timeout` is in seconds, for all
    steps of the task together. `repairs` is how often it may be tried again after a failure. `line` and
    `column` are those of the heading, 1-based. `group` is the title of the part of the plan that it belongs to,
    and `group_text` what the plan says of that. `done_items` are the parts of the task, or of its group, that
    are done already. An `optional` task is not run. `manual` is for a person to check afterwards. `reasons` say
    why it waits for another task, by id, where that was inferred. `open_items` are line and column of its parts
    that are to be done, where the plan has boxes for them, and `open_box` those of a box of its own above them.
    """

    id: str
    title: str
    batch: int
    files: tuple[DeclaredFile, ...] = ()
    implementation: str = ""
    run: tuple[Step, ...] = ()
    verification: tuple[Check, ...] = ()
    dependencies: tuple[str, ...] = ()
    commit: str | None = None
    completed: bool = False
    timeout: float | None = None
    repairs: int | None = None
    agent: str | None = None
    image: str | None = None
    line: int = 0
    column: int = 1
    group: str = ""
    group_text: str = ""
    done_items: tuple[str, ...] = ()
    optional: bool = False
    manual: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    open_items: tuple[tuple[int, int], ...] = ()
    open_box: tuple[int, int] | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that the plan itself has: its commands, and its verification."""
        return (*self.run, *(check.step for check in self.verification if check.step))

    @property
    def is_left_out(self) -> bool:
        """Whether the plan asks not to run the task; what depends on it may run."""
        return self.completed or self.optional


@dataclass(frozen=True, slots=True)
class Batch:
    """Tasks that belong together; batches run in the order of the plan.

    `dependencies` are batch numbers; `None` means that the plan says nothing, and the batch builds on the
    one before it; an empty tuple is an explicit "None" and means that it builds on nothing but the base.
    """

    number: int
    title: str
    tasks: tuple[Task, ...] = ()
    dependencies: tuple[int, ...] | None = None
    mode: Mode | None = None
    image: str | None = None
    on_conflict: OnConflict | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """Settings of the YAML front matter of a plan; `None` means not set.

    `timeout` is in seconds, `budget` and `task_budget` are in US dollars.
    """

    base: str | None = None
    mode: Mode | None = None
    agent: str | None = None
    image: str | None = None
    timeout: float | None = None
    pool_size: int | None = None
    budget: float | None = None
    task_budget: float | None = None
    on_conflict: OnConflict | None = None
    serialize: Serialize | None = None
    check_base: bool | None = None
    sandbox: SandboxMode | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    agents: Mapping[str, str] = field(default_factory=dict)  # name -> command


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole plan.

    `name` is the plan's part of branch names: a slug of the title, else of the file's name. `path` is as
    the user gave it. Batches are in the order in which they run. `dialect` is the name of the format that it
    is written in, `unit` what became a task (`item` or `group`), and `order` how that waits for others.
    `version` is that of the native format. `header` and `footer` are what the plan says above its first task
    and below its last. `neighbours` are paths of documents that it relies on. `items` is the number of the
    smallest parts, and `done_items` of those that are done.
    """

    name: str
    title: str
    path: str
    batches: tuple[Batch, ...]
    settings: PlanSettings = PlanSettings()
    dialect: str = NATIVE
    unit: str = "item"
    order: str = "as-written"
    version: int = 1
    header: str = ""
    footer: str = ""
    neighbours: tuple[str, ...] = ()
    items: int = 0
    done_items: int = 0

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Every task, in the plan's order."""
        return tuple(task for batch in self.batches for task in batch.tasks)

    @property
    def has_batches(self) -> bool:
        """Whether it has batches for its reader; the one batch of another plan is only for the program.

        Plans of other tools have none, nor has one of version 2 without a heading of a batch.
        """
        if self.dialect != NATIVE:
            return False
        return self.version == 1 or any(batch.line for batch in self.batches)
