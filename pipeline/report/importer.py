"""Recreate a run from a directory of patches and their report: its commits, branches and records.

A run of a CI job or of the Dagger module can then be published and shown like a local one. The directory is not
trusted: only the patches, on top of a base that this repository has, become commits, everything else is checked
first (`checks`), and how the run is published comes from the call that reads it. All functions are blocking.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from pathlib import Path

from containers.git.commits import Commit
from containers.git.repository import GitError, Repository
from pipeline.config.converters import LARGEST_PATCH
from pipeline.config.settings import DEFAULT_BRANCH
from pipeline.report.checks import find_problems, moment_of, plan_of_report
from pipeline.report.files import PatchFile
from pipeline.report.lineages import ReportedLineages
from pipeline.report.model import JSON_FILE, ReportError, read_report
from pipeline.report.parts import Report, TaskPart
from pipeline.run.results.branches import Branches
from pipeline.store.records import Run, StoredAttempt
from pipeline.store.run_options import PublishOptions, StoredCall
from pipeline.store.store import Store
from tasks.keys import InputHashes
from tasks.lazy.dataclasses import dataclass
from tasks.lineage import Lineage
from tasks.model import Mode, Plan, Step, StepKind
from tasks.outcome import Outcome, Patch, RunStatus, Status, StepResult
from tasks.patch_data import PatchData

MAX_PATCH = 3 * LARGEST_PATCH
"""A larger patch, in bytes, is not read: no run makes one."""
DEFAULT_IDENTITY = "patchyard <patchyard@localhost> "
"""Prefix of the author of commits that were created without a git identity."""


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """A run of another clone: its report, and the directory with its patches.

    `plan` is the plan in the report, `template` that of the names of its branches. `settings`, `base_name`, the
    branch that the pull requests go to, and `remote_urls` are those of the call that publishes it: the report's
    own are not used.
    """

    directory: Path
    report: Report
    plan: Plan
    settings: PublishOptions = field(default_factory=PublishOptions)
    base_name: str | None = None
    remote_urls: tuple[str, ...] = ()
    template: str = DEFAULT_BRANCH

    @classmethod
    def read(cls, directory: Path, template: str = DEFAULT_BRANCH) -> "ImportedRun":
        """Read a directory written by `patchyard patches --output` or by `patches` of the Dagger module.

        Args:
            directory: The directory.
            template: The branch template of the call; a report with other branches is invalid.

        Raises:
            ReportError: The report is missing or invalid.
        """
        report = read_report(directory / JSON_FILE)
        try:
            plan = plan_of_report(report)
        except ValueError as error:
            raise ReportError(f"{directory / JSON_FILE}: {error}") from None
        if problem := next(find_problems(report, plan, template), None):
            raise ReportError(f"{directory / JSON_FILE}: {problem}")
        return cls(directory, report, plan, template=template)

    @property
    def run(self) -> Run:
        """The run, as the store has it: over, so that nothing resumes it by itself.

        Raises:
            ReportError: The status or the start time is invalid.
        """
        report, plan = self.report, self.plan
        try:
            status, started = RunStatus(report.status), moment_of(report.started_at)
        except ValueError as error:
            raise ReportError(f"{self.directory / JSON_FILE}: {error}") from None
        return Run(
            id=report.run,
            plan_path=plan.path,
            plan_name=plan.name,
            plan_title=plan.title,
            plan_text=report.plan.text,
            base=report.base.commit,
            base_name=self.base_name,
            pool_size=report.pool_size,
            status=status if status.is_over else RunStatus.CANCELLED,
            started_at=started,
            seconds=report.seconds,
            speedup=report.speedup,
            efficiency=report.efficiency,
            settings=self.settings,
            call=StoredCall(flags={"branch": self.template}, remote_urls=self.remote_urls),
        )

    def recreate(self, repository: Repository, store: Store) -> None:
        """Create the run's commits and branches in a repository that has its base, and store the run.

        Idempotent.

        Raises:
            ReportError: A patch does not apply, the report has no commits, or another run has its id.
            GitError: A branch exists that patchyard did not create.
        """
        run = self.run
        if self._is_stored(store, run):
            return
        commits = _CommitWriter(repository, self).write_all()
        tasks = [self._validate(_with_commits(task, commits)) for task in self.report.tasks]
        self._check_files(repository, tasks)
        self._set_branches(repository, store, [task.part for task in tasks])
        self._store_run(store, run, tasks)

    def diff(self, task: TaskPart) -> PatchData:
        """Return the patch of a task.

        Raises:
            ReportError: The file cannot be read.
        """
        return PatchFile.open(self.directory / (task.patch or ""), MAX_PATCH)

    def _is_stored(self, store: Store, run: Run) -> bool:
        """Return whether the run is stored completely, here or by an earlier import.

        Raises:
            ReportError: A run with its id is stored that is another one, or that runs here.
        """
        known = next((known for known in store.runs() if known.id == run.id), None)
        if known is None:
            return False
        problem = f"{self.directory / JSON_FILE}: this repository already has a run {run.id}, and it "
        if (known.plan_text, known.base) != (run.plan_text, run.base):
            raise ReportError(f"{problem}is another one; publish that with `patchyard publish {run.id}`")
        if known.seconds is None:
            if known.owner or known.directory:  # it was not imported: its own process completes it
                raise ReportError(f"{problem}is not complete; complete it with `patchyard resume {run.id}`")
            return False
        patches = {item.outcome.task: item.outcome.patch for item in store.tasks(run.id) if item.outcome.commit}
        stored = {task: patch and patch.diff for task, patch in patches.items()}
        if stored != {task.task: self.diff(task) for task in self.report.tasks if task.commit}:
            raise ReportError(f"{problem}has other patches; publish that with `patchyard publish {run.id}`")
        return True

    def _check_files(self, repository: Repository, tasks: Sequence["_ValidTask"]) -> None:
        """Check that each task names the files that its patch changes: its pull request names them too.

        Raises:
            ReportError: One names others.
        """
        for task in tasks:
            patch, commit = task.outcome.patch, task.outcome.commit
            if patch and commit:
                changed = {change.path for change in repository.history.changes(patch.start, commit)}
                if changed != set(task.outcome.files):
                    what = f"task {task.part.task} names other files than its patch changes"
                    raise ReportError(f"{self.directory / JSON_FILE}: {what}")

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
        stored, lineages = {item.outcome.task for item in store.tasks(run.id)}, ReportedLineages(self.report)
        for position, task in enumerate(tasks):
            if task.part.task not in stored:
                task.store_in(store, run.id, position, lineages.of(task.part.start))
        store.keep_conflicts(run.id, self.report.conflicts)
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
            started_at=moment_of(task.started_at) if task.started_at else None,
            start=task.start.commit if task.start else None,
            branch=task.branch,
            commit=task.commit,
            files=task.files,
            exit_code=task.exit_code,
            step=task.step,
            error=task.error,
            patch=patch,
            cost=task.cost,
            rounds=task.rounds,
            fails_before=task.fails_before,
            refused=task.refused,
            tokens=task.tokens,
            said=task.said,
            added=_line_count(task.added),
            removed=_line_count(task.removed),
        )


def _line_count(number: int | None) -> int | None:
    """Return a number of lines of a patch.

    Raises:
        ValueError: It is none.
    """
    if number is not None and not 0 <= number <= MOST_LINES:
        raise ValueError(f"{number} is not a valid number of lines")
    return number


@dataclass(frozen=True, slots=True)
class _ValidTask:
    """A validated task of a report."""

    part: TaskPart
    outcome: Outcome
    inputs: InputHashes | None
    steps: Mapping[int, StepResult]

    def store_in(self, store: Store, run: str, position: int, builds_on: Lineage) -> None:
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
            builds_on=builds_on,
            branches={name: commit for name, commit in pairs if name and commit},
            inputs=self.inputs,
            seconds=self.outcome.seconds,
        )

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


MOST_LINES = 2**53
"""More than any patch has; a database takes no number far above it."""


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
        if tree != commit.tree or (task and tree != task.tree):
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
