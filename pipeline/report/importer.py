"""Recreate a run from a directory of patches and their report: its commits, branches and records.

A run of a CI job or of the Dagger module can then be published and shown like a local one. The directory is not
trusted: only the patches, on top of a base that this repository has, become commits, and each name that becomes
part of a path or a commit is validated first. All functions are blocking.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from containers.git.commits import Commit
from containers.git.repository import GitError, Repository
from pipeline.report.model import JSON_FILE, Report, ReportError, TaskPart, read_report
from pipeline.run.branches import Branches
from pipeline.store.records import Run, StoredAttempt
from pipeline.store.run_options import PublishOptions
from pipeline.store.store import Store
from tasks.keys import InputHashes
from tasks.model import (
    Mode,
    Outcome,
    Patch,
    PullRequest,
    RunStatus,
    Status,
    Step,
    StepKind,
    StepResult,
)

_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]*")
_ID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
DEFAULT_IDENTITY = "patchyard <patchyard@localhost> "
"""Prefix of the author of commits that were created without a git identity."""


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """A run of another clone: its report, and the directory with its patches."""

    directory: Path
    report: Report

    @classmethod
    def read(cls, directory: Path) -> "ImportedRun":
        """Read a directory written by `patchyard patches --output` or by `patches` of the Dagger module.

        Raises:
            ReportError: The report is missing or invalid.
        """
        report = read_report(directory / JSON_FILE)
        if problem := next(_find_problems(report), None):
            raise ReportError(f"{directory / JSON_FILE}: {problem}")
        return cls(directory, report)

    @property
    def run(self) -> Run:
        """The run, as the store has it.

        Raises:
            ReportError: The status or the start time is invalid.
        """
        report, plan = self.report, self.report.plan
        try:
            status, started = RunStatus(report.status), datetime.fromisoformat(report.started_at)
        except ValueError as error:
            raise ReportError(f"{self.directory / JSON_FILE}: {error}") from None
        return Run(
            id=report.run,
            plan_path=plan.path,
            plan_name=plan.name,
            plan_title=plan.title,
            plan_text=plan.text,
            base=report.base.commit,
            base_name=report.base.branch,
            pool_size=report.pool_size,
            status=status,
            started_at=started,
            seconds=report.seconds,
            speedup=report.speedup,
            efficiency=report.efficiency,
            settings=PublishOptions(**asdict(report.publishing)),
        )

    def recreate(self, repository: Repository, store: Store) -> None:
        """Create the run's commits and branches in a repository that has its base, and store the run.

        Idempotent.

        Raises:
            ReportError: A patch does not apply, or the report has no commits.
            GitError: A branch exists that patchyard did not create.
        """
        run = self.run
        if any(known.id == run.id and known.seconds is not None for known in store.runs()):
            return
        commits = _CommitWriter(repository, self).write_all()
        tasks = [self._validate(_with_commits(task, commits)) for task in self.report.tasks]
        self._set_branches(repository, store, [task.part for task in tasks])
        self._store_run(store, run, tasks)

    def diff(self, task: TaskPart) -> bytes:
        """Return the patch of a task.

        Raises:
            ReportError: The file cannot be read.
        """
        path = self.directory / (task.patch or "")
        try:
            return path.read_bytes()
        except OSError as error:
            raise ReportError(f"{path}: cannot be read: {error.strerror}") from None

    def _set_branches(self, repository: Repository, store: Store, tasks: list[TaskPart]) -> None:
        branches = Branches(repository, "{task}", self.run)
        for task in tasks:
            wanted = [(task.branch, task.commit)]
            if task.commit and task.start:
                wanted.insert(0, (task.start.branch, task.start.commit))
            for name, commit in wanted:
                if name and commit:
                    branches.refresh(store, name)
                    store.keep_branch(name, commit=commit)  # before it is set: a kill leaves a known commit
                    branches.set(name, commit)

    def _store_run(self, store: Store, run: Run, tasks: Sequence["_ValidTask"]) -> None:
        """Store the run, and those of its records that are not stored yet."""
        if all(known.id != run.id for known in store.runs()):
            store.open_run(run)
        stored = {item.outcome.task for item in store.tasks(run.id)}
        for position, task in enumerate(tasks):
            if task.part.task not in stored:
                task.store_in(store, run.id, position)
        known = set(store.conflicts(run.id))
        for conflict in self.report.conflicts:
            if conflict not in known:
                store.keep_conflict(run.id, conflict)
        store.close_run(
            run.id,
            run.status,
            seconds=run.seconds or 0.0,
            speedup=run.speedup or 0.0,
            efficiency=run.efficiency or 0.0,
        )

    def _validate(self, task: TaskPart) -> "_ValidTask":
        try:
            steps = {
                one.number: StepResult(
                    Step(StepKind(one.kind), one.command, ()), one.exit_code, one.seconds, error=one.error
                )
                for one in task.steps
            }
            return _ValidTask(task, self._outcome(task), _inputs(task), steps)
        except ValueError as error:
            raise ReportError(f"{self.directory / JSON_FILE}: task {task.task}: {error}") from None

    def _outcome(self, task: TaskPart) -> Outcome:
        patch = None
        if task.patch and task.start and task.tree:
            patch = Patch(task.start.commit, task.tree, self.diff(task), task.files)
        return Outcome(
            task=task.task,
            title=task.title,
            batch=task.batch,
            status=Status(task.status),
            worktree=task.worktree,
            seconds=task.seconds,
            started_at=datetime.fromisoformat(task.started_at) if task.started_at else None,
            start=task.start.commit if task.start else None,
            branch=task.branch,
            commit=task.commit,
            files=task.files,
            exit_code=task.exit_code,
            step=task.step,
            error=task.error,
            patch=patch,
            cost=task.cost,
        )


@dataclass(frozen=True, slots=True)
class _ValidTask:
    """A validated task of a report."""

    part: TaskPart
    outcome: Outcome
    inputs: InputHashes | None
    steps: Mapping[int, StepResult]

    def store_in(self, store: Store, run: str, position: int) -> None:
        """Store the task, and those of its steps that are not stored yet."""
        task, start = self.part, self.part.start
        stored = {step.number for step in store.steps(run, task.task)}
        for number, result in self.steps.items():
            if number not in stored:
                store.keep_step(run, task.task, number, result)
        if self.outcome.worktree and self.outcome.started_at:
            store.begin_attempt(run, self._attempt(self.outcome.started_at))
        pairs = [(task.branch, task.commit)]
        pairs += [(start.branch, start.commit)] if start and task.commit else []
        store.keep_outcome(
            run,
            position,
            self.outcome,
            start_branch=start.branch if start else None,
            builds_on=start.builds_on if start else (),
            branches={name: commit for name, commit in pairs if name and commit},
            inputs=self.inputs,
        )
        if one := task.pull_request:
            request = PullRequest(task.task, one.number, one.url, task.branch or "", one.base, one.action)
            store.keep_pull_request(run, request)

    def _attempt(self, started_at: datetime) -> StoredAttempt:
        outcome = self.outcome
        return StoredAttempt(
            task=outcome.task,
            number=1,
            title=outcome.title,
            batch=outcome.batch,
            started_at=started_at,
            worktree=outcome.worktree,
            start=outcome.start,
        )


def _find_problems(report: Report) -> Iterator[str]:
    """Yield a message for everything in a report that no run writes."""
    if not _NAME.fullmatch(report.run):
        yield f"{report.run!r} is not a valid run id"
    if not _ID.fullmatch(report.base.commit):
        yield f"{report.base.commit!r} is not a valid commit id"
    created = frozenset({report.base.commit, *(commit.id for commit in report.commits)})
    for task in report.tasks:
        yield from _task_problems(task, created)
    yield from _commit_problems(report)


def _task_problems(task: TaskPart, created: frozenset[str]) -> Iterator[str]:
    if not _NAME.fullmatch(task.task):
        yield f"{task.task!r} is not a valid task id"
    if task.patch not in {None, f"{task.task}.patch"}:
        yield f"{task.patch!r} is not the name of task {task.task}'s patch"
    if not task.commit:
        return
    if not (task.patch and task.branch and task.start and task.start.commit in created):
        yield f"task {task.task} has a commit, but no patch, no branch, or no start point of this run"
    if task.commit not in created:
        yield f"the commit of task {task.task} is missing: it was deleted before the report was written"


def _commit_problems(report: Report) -> Iterator[str]:
    """Yield commits that are neither those of a task, with one parent, nor a merge of two."""
    of_tasks = {task.commit for task in report.tasks}
    for commit in report.commits:
        parents = 1 if commit.id in of_tasks else 2
        if "\n" in commit.author + commit.committer or len(commit.parents) != parents:
            yield f"commit {commit.id!r} is not one that a run creates"


class _CommitWriter:
    """Creates the commits of a run, parents first."""

    def __init__(self, repository: Repository, imported: ImportedRun) -> None:
        self._history = repository.history
        self._imported = imported
        self._base = imported.report.base.commit
        self._identity = repository.identity()
        self._tasks = {task.commit: task for task in imported.report.tasks if task.commit}

    def write_all(self) -> Mapping[str, str]:
        """Return the new commit ids by the old ones.

        Raises:
            ReportError: A patch does not apply, or a commit is missing.
        """
        new = {self._base: self._base}
        for commit in self._imported.report.commits:
            try:
                parents = tuple(new[parent] for parent in commit.parents)
            except KeyError as error:
                raise ReportError(f"commit {error.args[0]} is missing in the report") from None
            new[commit.id] = self._write(commit, parents)
        return new

    def _write(self, commit: Commit, parents: tuple[str, ...]) -> str:
        task = self._tasks.get(commit.id)
        what = f"the patch of task {task.task}" if task else f"the merge {commit.id[:12]}"
        try:
            if task:
                tree = self._history.apply(parents[0], self._imported.diff(task))
            else:
                tree = self._history.merged_tree(*parents)
        except GitError as error:
            raise ReportError(f"{what} does not apply here: {error}") from None
        if tree != commit.tree:
            raise ReportError(f"{what} gives another tree than in the run; the file was changed")
        return self._history.write(
            replace(
                commit,
                parents=parents,
                author=self._with_identity(commit.author),
                committer=self._with_identity(commit.committer),
            )
        )

    def _with_identity(self, author: str) -> str:
        """Return an author line; the default identity is replaced by that of the user, with the same time."""
        if not author.startswith(DEFAULT_IDENTITY):
            return author
        return f"{self._identity.name} <{self._identity.email}> {author.removeprefix(DEFAULT_IDENTITY)}"


def _with_commits(task: TaskPart, commits: Mapping[str, str]) -> TaskPart:
    """Return a task with the ids of its new commits."""
    start = task.start
    if start:
        start = replace(start, commit=commits.get(start.commit, start.commit))
    return replace(task, start=start, commit=commits[task.commit] if task.commit else None)


def _inputs(task: TaskPart) -> InputHashes | None:
    if task.key is None or task.mode is None or task.start is None:
        return None
    return InputHashes(
        key=task.key,
        mode=Mode(task.mode),
        start_tree=task.start.tree or "",
        image=task.image,
        agent=task.agent,
        environment=task.environment,
        secrets=task.secrets,
    )
