"""Request and response models of the HTTP API. Field names are part of its interface."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from pipeline.config.settings import SETTINGS
from pipeline.config.table import Setting
from pipeline.run.stored.requests import LONGEST_FEEDBACK
from tasks.model import Mode
from tasks.task_ids import PATTERN

ExecutionStatus = Literal["started", "paused", "executing", "complete", "failed"]
BatchStatus = Literal["pending", "ready", "executing", "complete", "failed"]
TaskStatus = Literal["pending", "in_progress", "pr_created", "merged", "complete", "failed"]
ExecutionMode = Literal["local", "parallel", "dagger"]
PREFIX = "/api/v1/autonomous"
"""How the addresses of the API begin."""
TASK_PATTERN = f"^{PATTERN}$"
RUN_PATTERN = r"^[0-9A-Za-z][0-9A-Za-z-]{0,63}$"
MAX_NUMBER = 1_000_000
EVENTS = {
    "content": {
        "text/event-stream": {
            "schema": {
                "type": "object",
                "description": "One event of the stream.",
                "properties": {
                    "id": {"type": "string"},
                    "event": {"type": "string"},
                    "data": {"type": "string", "contentMediaType": "application/json"},
                },
                "required": ["id", "event", "data"],
            }
        }
    }
}
"""OpenAPI of a response of server-sent events."""
TaskId = Annotated[str, Field(pattern=TASK_PATTERN, examples=["1.2"])]
Line = Annotated[str, Field(min_length=1, max_length=4096)]


class Body(BaseModel):
    """Base class of request bodies: unknown fields and other types are rejected."""

    model_config = ConfigDict(extra="forbid", strict=True)


def setting_fields(settings: Iterable[Setting]) -> dict[str, Any]:
    """Return the fields of the settings in the API, for `pydantic.create_model`."""
    return {item.api_name: _setting_field(item) for item in settings if item.api}


def _setting_field(item: Setting) -> tuple[Any, Any]:
    number = Annotated[
        int, Field(ge=item.api.minimum if item.api else 1, le=item.api.maximum if item.api else None)
    ]
    amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
    kinds: Mapping[object, Any] = {bool: bool, int: number, float | None: amount, Mode: ExecutionMode}
    kind = kinds.get(item.kind, Line)
    if kind is Line and isinstance(item.kind, type) and issubclass(item.kind, StrEnum):
        kind = Literal[tuple(map(str, item.kind))]
    return kind | None, Field(None, description=item.plain_help)


if TYPE_CHECKING:
    SettingFields = Body
else:
    SettingFields = create_model("SettingFields", __base__=Body, **setting_fields(SETTINGS.values()))


class Start(SettingFields):
    """A plan to run. The defaults of settings are those of the repository's configuration."""

    plan_path: Line = Field(
        description="The plan, of any dialect: a path in the repository, or an absolute path below a root; a "
        "file in Markdown or JSON, or a directory.",
        examples=["plan.md", "specs/003-login/tasks.md", "openspec/changes/add-login"],
    )
    start_batch: int = Field(
        1, ge=0, le=MAX_NUMBER, description="The first batch to run; by default the plan's first."
    )
    end_batch: int | None = Field(
        None, ge=0, le=MAX_NUMBER, description="The last batch to run; by default the plan's last."
    )
    repo: Line | None = Field(None, description="The repository; by default that of the first root.")
    tasks: list[TaskId] = Field(
        default_factory=list, max_length=1_000, description="Run these tasks, and what they build on."
    )
    only: bool = Field(default=False, description="Run the tasks without what they build on.")

    @property
    def flags(self) -> dict[str, object]:
        """The settings by name; `None` if not given."""
        return {name: getattr(self, item.api_name) for name, item in SETTINGS.items() if item.api}


class Resume(Body):
    """What the agents of a run may cost from now on; by default as when it was started."""

    budget: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="US dollars that the agents of the run may cost."
    )
    task_budget: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="US dollars that the agent of one task may cost."
    )

    @property
    def options(self) -> list[str]:
        """The options of the command that runs."""
        amounts = {"--budget": self.budget, "--task-budget": self.task_budget}
        return [f"{name}={amount:f}" for name, amount in amounts.items() if amount is not None]


class Retry(Resume):
    """The tasks to run again, with the tasks that build on them; by default all failed tasks."""

    tasks: list[TaskId] = Field(default_factory=list, max_length=1_000)
    keep: bool = Field(default=False, description="Start from what the last attempts left.")
    feedback: str | None = Field(
        default=None,
        max_length=LONGEST_FEEDBACK,
        description="What the agents of the tasks are given about their last attempts.",
    )
    onto: list[TaskId] = Field(
        default_factory=list,
        max_length=100,
        description="Start from the changes of these tasks, with which those of `tasks` conflict.",
    )


class Publish(Body):
    """What to publish of a run: these tasks, with what they build on, by default all.

    The rest overrides how the run was started.
    """

    tasks: list[TaskId] = Field(default_factory=list, max_length=1_000)
    labels: list[Line] = Field(default_factory=list, max_length=100)
    reviewers: list[Line] = Field(default_factory=list, max_length=100)
    draft: bool = False


class Diagnosed(BaseModel):
    """A mistake in a plan, or a possible mistake. `line` and `column` count from 1."""

    path: str
    line: int
    column: int
    severity: Literal["error", "warning"]
    message: str


class Started(BaseModel):
    """A run that starts as soon as a worker is free; `batches_scheduled` are the numbers of its batches.

    Of a plan in which nothing is left to do no run is made: `status` is then `complete`, and `message` says so.
    """

    execution_id: str | None
    status: ExecutionStatus
    batches_scheduled: list[int]
    dialect: str = Field(description="The dialect that the plan is written in; `patchyard` is the native one.")
    warnings: list[Diagnosed] = Field(default_factory=list)
    message: str = Field(default="", description="Why no run was made.")


class Asked(BaseModel):
    """The state of a run after an action. `tasks` are those that run again."""

    execution_id: str
    status: ExecutionStatus
    run_status: str
    request: str | None = None
    tasks: list[str] | None = None


class ActivePullRequest(BaseModel):
    """A pull request that is open, as far as is known here."""

    task: str
    pr_number: int
    status: str
    url: str


class ConflictState(BaseModel):
    """Patches of a batch that conflict: that of the last task with those of the others."""

    batch: int
    tasks: list[str]
    files: list[str]


class TroubleState(BaseModel):
    """A task that failed, timed out or is in conflict; `why` is one line."""

    task: str
    title: str
    kind: str
    why: str


class ExecutionState(BaseModel):
    """The state of a run."""

    execution_id: str
    status: ExecutionStatus
    current_batch: int
    total_batches: int
    tasks_completed: int
    tasks_total: int
    active_prs: list[ActivePullRequest]
    started_at: datetime
    completed_at: datetime | None
    run_status: str = Field(
        description="pending, running, paused, succeeded, failed, cancelled or interrupted."
    )
    request: str | None = Field(None, description="The pending request: cancel, pause or stop.")
    tasks_failed: int = 0
    plan_path: str = ""
    plan_title: str = ""
    dialect: str = Field("", description="The dialect of the plan; `patchyard` is the native one.")
    unit: str = Field("", description="What became a task: `item` or `group`.")
    order: str = Field("", description="Which tasks wait for which: as-written, sequential or inferred.")
    repo: str = ""
    base: str = ""
    seconds: float | None = None
    speedup: float | None = None
    efficiency: float | None = Field(None, description="0 to 1: how much of the pool was busy.")
    verdict: str = Field("", description="What became of its tasks, in one line.")
    counts: dict[str, int] = Field(default_factory=dict, description="The number of tasks by kind.")
    conflicts: list[ConflictState] = Field(default_factory=list)
    failed: list[TroubleState] = Field(default_factory=list, description="The tasks to look at.")
    published: list[str] = Field(default_factory=list, description="Tasks whose changes are in a pull request.")
    unpublished: list[str] = Field(default_factory=list, description="Tasks whose changes are in none.")
    added: int | None = Field(None, description="Lines that the patches add.")
    removed: int | None = Field(None, description="Lines that the patches remove.")
    cost: float | None = Field(None, description="What its agents say that they cost, in US dollars.")
    tokens: dict[str, int] | None = Field(None, description="What its agents say that they used.")
    publishing: str | None = Field(None, description="`publishing`, `done`, or why it failed.")
    error: str | None = Field(None, description="Why the run cannot be executed.")


class ExecutionList(BaseModel):
    """The runs of the repositories below the roots, newest first."""

    executions: list[ExecutionState]
    total: int


class StepState(BaseModel):
    """A step of a task that has ended; `command` is one line."""

    number: int
    kind: str
    command: str
    exit_code: int | None
    seconds: float
    error: str | None


class AttemptState(BaseModel):
    """An attempt of a task; without a status it is running, or its end was not recorded."""

    number: int
    status: str | None
    worktree: str | None
    started_at: datetime
    completed_at: datetime | None
    seconds: float
    exit_code: int | None
    error: str | None
    reason: str | None = Field(default=None, description="Why a task with a result was run again.")
    start: str | None = Field(default=None, description="The commit that it started from.")
    cost: float | None = Field(None, description="What its agent says that it cost, in US dollars.")
    tokens: dict[str, int] | None = Field(
        None, description="What its agent says that it used: input, cached (a part of it) and output."
    )
    feedback: str | None = Field(default=None, description="What the user said of the attempt before.")
    has_log: bool
    has_diff: bool
    steps: list[StepState] = Field(default_factory=list)


class RefusedHost(BaseModel):
    """A host that the sandbox refused to a task; it has its port unless that is a usual one."""

    host: str
    requests: int


class TaskState(BaseModel):
    """A task of a run. `complete` is a finished task without a pull request."""

    id: str
    task_number: str
    task_title: str
    branch_name: str | None
    pr_number: int | None
    pr_url: str | None
    status: TaskStatus
    commits: list[str]
    started_at: datetime | None
    completed_at: datetime | None
    error: str | None
    task_status: str | None = Field(
        None, description="changed, unchanged, failed, timed_out, skipped or cancelled."
    )
    batch_number: int
    group: str = Field("", description="The title of the part of the plan that it belongs to.")
    worktree: str | None = None
    seconds: float | None = None
    files: list[str] = Field(default_factory=list)
    cached: bool = False
    waiting_until: datetime | None = Field(None, description="Set while it waits for its agent's provider.")
    rounds: int | None = Field(None, description="How often it was tried in its attempt.")
    cost: float | None = Field(None, description="What its agent says that it cost, in US dollars.")
    tokens: dict[str, int] | None = Field(
        None, description="What its agent says that it used: input, cached (a part of it) and output."
    )
    said: str | None = Field(None, description="The last message of its agent.")
    fails_before: list[str] = Field(
        default_factory=list,
        description="Commands of its verification that fail without its changes, as `check_base` found.",
    )
    refused: list[RefusedHost] = Field(
        default_factory=list, description="Hosts that the sandbox refused, with the number of requests."
    )
    attempt: int | None = None


class TaskDetail(TaskState):
    """A task with its dependencies and attempts."""

    dependencies: list[str] = Field(default_factory=list)
    builds_on: list[str] = Field(default_factory=list)
    attempts: list[AttemptState] = Field(default_factory=list)


class BatchState(BaseModel):
    """A batch of a run."""

    id: str
    batch_number: int
    status: BatchStatus
    started_at: datetime | None
    completed_at: datetime | None
    tasks: list[TaskState]
    title: str = ""


class Health(BaseModel):
    """The state of the server."""

    status: Literal["ok", "closing"]
    version: str
