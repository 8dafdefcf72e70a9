"""From a directory of patches and their report to a run in this repository's store, with commits and branches.

What was run elsewhere (in a CI job, in the Dagger module) is published and shown as if it had been run here.
The directory may come from anywhere, so nothing in it is trusted: what is published is the base that this
repository has, and the patches; every name that becomes part of a path or a commit is looked at first. Blocks.
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
    Plan,
    PullRequest,
    RunStatus,
    Status,
    Step,
    StepKind,
    StepResult,
)

_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]*")
_ID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
OWN_IDENTITY = "patchyard <patchyard@localhost> "
"""How the author of commits begins that were made where nobody has an identity."""


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """A run that was made elsewhere: its report, and the directory with its patches.

    Raises:
        ReportError: There is no report, or it holds what no report does.
    """

    directory: Path
    report: Report

    @classmethod
    def read(cls, directory: Path) -> "ImportedRun":
        """Read what `patchyard patches --output` or the Dagger module's `patches` wrote."""
        report = read_report(directory / JSON_FILE)
        if odd := next(_oddities(report), None):
            raise ReportError(f"{directory / JSON_FILE}: {odd}")
        return cls(directory, report)

    @property
    def run(self) -> Run:
        """The run, as a store keeps it."""
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
        """Make the run's commits and branches in a repository that has its base, and keep the run in the store.

        Doing it again changes nothing.

        Raises:
            ReportError: A patch does not fit, or the report has no commits.
            GitError: A branch is not this program's to set.
        """
        run = self.run
        if any(known.id == run.id and known.seconds is not None for known in store.runs()):
            return
        commits = _Made(repository, self).all()
        tasks = [self._prepared(_moved(task, commits)) for task in self.report.tasks]
        self._set_branches(repository, store, [one.part for one in tasks])
        self._keep(store, run, tasks)

    def diff(self, task: TaskPart) -> bytes:
        """Return a task's patch.

        Raises:
            ReportError: It cannot be read.
        """
        path = self.directory / (task.patch or "")
        try:
            return path.read_bytes()
        except OSError as error:
            raise ReportError(f"{path}: cannot be read: {error.strerror}") from None

    def _set_branches(self, repository: Repository, store: Store, tasks: list[TaskPart]) -> None:
        plan = Plan(self.report.plan.name, self.report.plan.title, self.report.plan.path, ())
        branches = Branches(repository, "{task}", plan, self.report.run)
        for task in tasks:
            wanted = [(task.branch, task.commit)]
            if task.commit and task.start:
                wanted.insert(0, (task.start.branch, task.start.commit))
            for name, commit in wanted:
                if name and commit:
                    branches.refresh(store, name)
                    branches.set(name, commit)

    def _keep(self, store: Store, run: Run, tasks: Sequence["_Prepared"]) -> None:
        """Keep the run, and what of it is not in the store yet."""
        if all(known.id != run.id for known in store.runs()):
            store.open_run(run)
        kept = {item.outcome.task for item in store.tasks(run.id)}
        for position, task in enumerate(tasks):
            if task.part.task not in kept:
                task.keep(store, run.id, position)
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

    def _prepared(self, task: TaskPart) -> "_Prepared":
        try:
            steps = {
                one.number: StepResult(
                    Step(StepKind(one.kind), one.command, ()), one.exit_code, one.seconds, error=one.error
                )
                for one in task.steps
            }
            return _Prepared(task, self._outcome(task), _inputs(task), steps)
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
class _Prepared:
    """A task that can be stored: everything in it was looked at."""

    part: TaskPart
    outcome: Outcome
    inputs: InputHashes | None
    steps: Mapping[int, StepResult]

    def keep(self, store: Store, run: str, position: int) -> None:
        """Keep the task, and what of its steps is not in the store yet."""
        task, start = self.part, self.part.start
        numbered = {step.number for step in store.steps(run, task.task)}
        for number, result in self.steps.items():
            if number not in numbered:
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
            store.keep_request(run, request)

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


def _oddities(report: Report) -> Iterator[str]:
    """Yield what a report says that no run does."""
    if not _NAME.fullmatch(report.run):
        yield f"{report.run!r} is no id of a run"
    if not _ID.fullmatch(report.base.commit):
        yield f"{report.base.commit!r} is no id of a commit"
    made = {report.base.commit, *(commit.id for commit in report.commits)}
    for task in report.tasks:
        if not _NAME.fullmatch(task.task):
            yield f"{task.task!r} is no id of a task"
        if task.patch not in {None, f"{task.task}.patch"}:
            yield f"{task.patch!r} is not the name of task {task.task}'s patch"
        if task.commit and not (task.patch and task.branch and task.start and task.start.commit in made):
            yield f"task {task.task} has a commit, but no patch, no branch, or no start that the run made"
        if task.commit and task.commit not in made:
            yield f"the commit of task {task.task} is not in it: it was gone when the report was written"
    own = {task.commit for task in report.tasks}
    for commit in report.commits:
        parents = 1 if commit.id in own else 2
        if "\n" in commit.author + commit.committer or len(commit.parents) != parents:
            yield f"commit {commit.id!r} is none that a run makes"


class _Made:
    """Makes the commits of a run again, parents first."""

    def __init__(self, repository: Repository, carried: ImportedRun) -> None:
        self._history = repository.history
        self._carried = carried
        self._base = carried.report.base.commit
        self._identity = repository.identity()
        self._tasks = {task.commit: task for task in carried.report.tasks if task.commit}

    def all(self) -> Mapping[str, str]:
        """Return the new commits by the ids of the old ones.

        Raises:
            ReportError: A patch does not fit, or a commit is missing.
        """
        new = {self._base: self._base}
        for commit in self._carried.report.commits:
            try:
                parents = tuple(new[parent] for parent in commit.parents)
            except KeyError as error:
                raise ReportError(f"the report lacks commit {error.args[0]}") from None
            new[commit.id] = self._make(commit, parents)
        return new

    def _make(self, commit: Commit, parents: tuple[str, ...]) -> str:
        task = self._tasks.get(commit.id)
        what = f"the patch of task {task.task}" if task else f"the merge {commit.id[:12]}"
        try:
            if task:
                tree = self._history.apply(parents[0], self._carried.diff(task))
            else:
                tree = self._history.merged_tree(*parents)
        except GitError as error:
            raise ReportError(f"{what} does not apply here: {error}") from None
        if tree != commit.tree:
            raise ReportError(f"{what} gives another tree here than in the run; it is not the file of that run")
        return self._history.write(
            replace(
                commit,
                parents=parents,
                author=self._named(commit.author),
                committer=self._named(commit.committer),
            )
        )

    def _named(self, who: str) -> str:
        """Return an author with the user's name, where the run knew none; the time stays."""
        if not who.startswith(OWN_IDENTITY):
            return who
        return f"{self._identity.name} <{self._identity.email}> {who.removeprefix(OWN_IDENTITY)}"


def _moved(task: TaskPart, commits: Mapping[str, str]) -> TaskPart:
    """Return a task with the commits that it has here."""
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
