"""Response models of the HTTP API for what follows a run: publishing, and conflicts."""

from typing import Literal

from pydantic import BaseModel, Field


class PlannedPullRequest(BaseModel):
    """A pull request as it would be: `action` is open, update, or what was found: merged or closed.

    `push` is how its branch is pushed: create, update, or not at all if it is on the remote already.
    `added` and `removed` are lines.
    """

    task: str
    tasks: list[str]
    label: str
    action: Literal["open", "update", "merged", "closed"]
    number: int | None
    url: str | None
    title: str
    body: str
    branch: str
    commit: str
    push: Literal["create", "update"] | None
    base: str
    builds_on: list[str]
    builds_on_total: int
    files: list[str]
    added: int
    removed: int
    labels: list[str]
    reviewers: list[str]
    draft: bool
    obstacle: str | None = Field(description="Why it cannot be published.")
    notes: list[str]


class PlannedBase(BaseModel):
    """A branch that is pushed, since pull requests go to it."""

    branch: str
    commit: str
    push: Literal["create", "update"]


class LeftOut(BaseModel):
    """A task that cannot be published."""

    task: str
    branch: str
    reason: str


class PublishPreview(BaseModel):
    """What publishing would do."""

    run: str
    remote: str
    url: str = Field(description="Where the remote leads, without credentials.")
    repository: str = Field(description="`owner/name`, or empty if it is not known.")
    branch: str = Field(description="The branch that all changes are merged into in the end.")
    pull_requests: list[PlannedPullRequest]
    bases: list[PlannedBase]
    left_out: list[LeftOut]
    added: list[str] = Field(description="Tasks that are published because the chosen ones build on them.")
    possible: bool
    problem: str | None = Field(description="Why nothing can be published now.")
    note: str | None = Field(description="What is not known, and why.")
    total: str = Field(description="The sum in one sentence.")


class ConflictSide(BaseModel):
    """What a task has at the place of a conflict; `lines` may be fewer than `count`."""

    start: int = Field(description="Its first line there, which counts from 1.")
    count: int
    lines: list[str]


class ConflictHunk(BaseModel):
    """A place where two tasks conflict: as the earlier has it, and as the later has it."""

    ours: ConflictSide
    theirs: ConflictSide


class ConflictFile(BaseModel):
    """A file in which two tasks conflict; without hunks, `note` says why there are none."""

    path: str
    note: str | None
    hunks: list[ConflictHunk]


class ConflictPair(BaseModel):
    """Two tasks whose patches conflict: the earlier, `other`, and the later, `task`."""

    other: str
    task: str
    note: str | None
    files: list[ConflictFile]


class ConflictState(BaseModel):
    """A conflict of a run. `task` is the later one, which `retry` with `onto` runs again on top of `others`."""

    batch: int
    task: str
    others: list[str]
    files: list[str]
    message: str
    pairs: list[ConflictPair]
