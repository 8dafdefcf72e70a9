"""Removal of a run, or of tasks of it: branches, patches, logs, records; never what is published. Blocking."""

import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import field
from functools import cached_property, partial
from pathlib import Path

from containers.git.repository import Repository
from containers.worktrees.directory import default_directory
from containers.worktrees.recovery import recover_unlocked
from containers.worktrees.worktree import read_record
from pipeline.config.converters import LARGEST_PATCH
from pipeline.run.call.plan_file import CallError
from pipeline.run.paths import run_directory
from pipeline.run.results.result_cache import results_of
from pipeline.run.stored.branch_removal import delete_in_parts
from pipeline.run.stored.claim import recover_attempts
from pipeline.run.stored.open_store import open_store
from pipeline.run.stored.recovery import is_locked, make_store_work
from pipeline.run.stored.status import RunStateError, current_status, known_plan
from pipeline.store.records import Run, StoredTask
from pipeline.store.store import Store
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import RunStatus
from tasks.text import plural

CLOSED = "closed"
"""What a pull request is called that a person closed: its task is not published any more."""


@dataclass
class Discard:
    """Removes tasks of a run, or all of it.

    Args:
        repository: The repository.
        store: The store, which has the run.
        run: The run.
        tasks: The tasks to remove; without any, the whole run.
        environ: The environment.
        dry_run: Whether nothing is removed.

    Raises:
        RunStateError: A process works on the run, or will.
        CallError: A task is published, or another one builds on it, or the run does not have it.
    """

    repository: Repository
    store: Store
    run: Run
    tasks: Collection[str]
    environ: Mapping[str, str]
    dry_run: bool = False
    removed: int = field(default=0, init=False)
    """The number of branches that were removed."""

    def __post_init__(self) -> None:
        """Check that the tasks may be removed."""
        self._check_state()
        self._items = {item.outcome.task: item for item in self.store.tasks(self.run.id)}
        attempted = {attempt.task for attempt in self.store.attempts(self.run.id)}
        self._known = {*self._items, *attempted}
        for name in self.tasks:
            if name not in self._known:
                raise CallError(f"run {self.run.id} has nothing of a task {name}")
            if reason := self.kept.get(name):
                raise CallError(f"task {name} of run {self.run.id} is not discarded: {reason}")
        if self.tasks:
            self._check_builders()

    def _check_state(self) -> None:
        run, status = self.run.id, current_status(self.store, self.run, self.environ)
        directory = run_directory(self.repository.common, run)
        if status.is_active or status is RunStatus.PENDING or is_locked(directory):
            raise RunStateError(
                f"run {run} is {status}, or a process works on it; wait for its end, or end it with "
                f"`patchyard cancel {run}`"
            )

    def _check_builders(self) -> None:
        above = [task for task in self._items if task not in self.tasks and self._builds_on_gone(task)]
        if above:
            more = " ".join([*self.tasks, *above])
            raise CallError(
                f"{plural(len(above), 'task')} of run {self.run.id} would be left without what they build on; "
                f"discard all of them: `patchyard discard {self.run.id} {more}`"
            )

    def _builds_on_gone(self, task: str) -> bool:
        return not set(self.tasks).isdisjoint(self._items[task].builds_on)

    @cached_property
    def kept(self) -> Mapping[str, str]:
        """The tasks that are not removed, each with why: they are published, or one that is builds on them."""
        found: dict[str, str] = {}
        for task, item in self._items.items():
            request = item.pull_request
            if request and request.action != CLOSED:
                found[task] = f"it is published in #{request.number}"
            elif item.outcome.commit and self._pushed.get(item.outcome.branch or "") == item.outcome.commit:
                found[task] = f"its branch {item.outcome.branch} is on the remote"
        for task in list(found):
            for below in self._items.keys() & self._items[task].builds_on:
                found.setdefault(below, f"task {task}, which is published, builds on it")
        return found

    @cached_property
    def _pushed(self) -> Mapping[str, str | None]:
        return {record.name: record.pushed for record in self.store.branches()}

    @cached_property
    def gone(self) -> tuple[str, ...]:
        """The tasks that are removed, in the plan's order."""
        wanted = set(self.tasks) or self._known
        order = [*self._items, *sorted(self._known - set(self._items))]
        return tuple(task for task in order if task in wanted and task not in self.kept)

    def remove(self) -> Iterator[str]:
        """Remove everything, and yield a description of each thing that is removed."""
        if not self.dry_run:
            self._recover()
        yield from self._remove_branches()
        yield from self._remove_results()
        if not self.tasks and not self.kept:
            yield f"run {self.run.id}: {self.run.plan_title or self.run.plan_path}, with its logs and patches"
            if not self.dry_run:
                directory = run_directory(self.repository.common, self.run.id)
                shutil.rmtree(directory, ignore_errors=True)
                self.store.forget_run(self.run.id)
            return
        for task in self.gone:
            yield f"task {task}: its outcome, attempts, patches and logs"
        if not self.dry_run:
            for path in self._logs():
                path.unlink(missing_ok=True)
            self.store.forget_tasks(self.run.id, self.gone)

    def _recover(self) -> None:
        """Let worktrees be used again that the run left when it was killed: their work is discarded with it."""
        recover_attempts(self.repository, self.store, self.run, self.environ, LARGEST_PATCH)
        named = self.run.call.flags.get("worktrees")
        directory = Path(str(named)) if named else default_directory(self.repository).path
        opener = partial(open_store, self.repository, self.environ)
        store_work = make_store_work(opener, self.environ, LARGEST_PATCH)
        for path in sorted(directory.glob("wt-*")):
            if (record := read_record(path)) and record.run == self.run.id:
                recover_unlocked(self.repository, path, store_work)

    def branches_kept(self) -> Iterator[str]:
        """Yield a sentence for each branch of the removed tasks that stays, and why."""
        for name, (commit, _) in self._branches.items():
            if reason := self._why_kept(name, commit):
                yield f"branch {name}: {reason}"

    @cached_property
    def _branches(self) -> Mapping[str, tuple[str, str]]:
        """The branches that this run made for the removed tasks, each with its commit and a task."""
        found: dict[str, tuple[str, str]] = {}
        for task in self.gone:
            if item := self._items.get(task):
                for name, commit in _made(item):
                    found[name] = (commit, task)
        needed = {name for task in self.kept for name, _ in _made(self._items[task])}
        needed |= {
            name for task, item in self._items.items() if task not in self.gone for name, _ in _made(item)
        }
        return {name: made for name, made in found.items() if name not in needed and name in self._existing}

    @cached_property
    def _existing(self) -> Mapping[str, str]:
        return self.repository.branches("")

    @cached_property
    def _of_others(self) -> set[tuple[str, str]]:
        """The branches that other runs have, each with its commit."""
        runs = [run for run in self.store.runs(skip_damaged=True) if run.id != self.run.id]
        return {made for run in runs for item in self.store.tasks(run.id) for made in _made(item)}

    @cached_property
    def _checked_out(self) -> Mapping[str, Path]:
        return self.repository.checked_out()

    def _why_kept(self, name: str, commit: str) -> str | None:
        """Return why a branch is not removed; `None` if it is this run's alone, as the run left it."""
        here = self._existing[name]
        if name in self._checked_out:
            return f"it is checked out in {self._checked_out[name]}"
        if here != commit:
            made = self.store.commits_of([name])[name]
            return "a later run has set it" if here in made else "it has commits that patchyard did not make"
        if (name, commit) in self._of_others:
            return "another run has it too"
        return "it is on the remote" if self._pushed.get(name) == commit else None

    def _remove_branches(self) -> Iterator[str]:
        wanted = {
            name: commit for name, (commit, _) in self._branches.items() if not self._why_kept(name, commit)
        }
        for deleted, failed in delete_in_parts(self.repository, wanted, dry_run=self.dry_run):
            if not self.dry_run:
                self.store.forget_branches([name for name in deleted if not self._pushed.get(name)])
            self.removed += len(deleted)
            yield from (f"nothing of branch {name}: {error}" for name, error in failed.items())
            yield from (f"branch {name} ({wanted[name][:10]})" for name in deleted)

    def _remove_results(self) -> Iterator[str]:
        """Remove the cached results, or the next run would have the same patches."""
        patches = {task: self._items[task].outcome.patch for task in self.gone if task in self._items}
        wanted = {(task, patch.tree) for task, patch in patches.items() if patch}
        found = list(results_of(self.repository.common, wanted)) if wanted else []
        if count := sum(path.suffix == ".json" for path in found):
            yield plural(count, "cached result")
        for path in found if not self.dry_run else ():
            path.unlink(missing_ok=True)

    def _logs(self) -> Iterator[Path]:
        """Yield the files of the removed tasks in the run's directory: a file begins with its task's id."""
        plan = known_plan(self.run)
        every = {*self._known, *(task.id for task in (plan.tasks if plan else ()))}
        directory = run_directory(self.repository.common, self.run.id)
        for path in sorted(directory.glob("*")) if directory.is_dir() else ():
            owners = [task for task in every if path.name.startswith(f"{task}.")]
            if owners and max(owners, key=len) in self.gone and path.is_file():
                yield path


def _made(item: StoredTask) -> Iterator[tuple[str, str]]:
    """Yield the branches of a task, and of what it started from, each with its commit."""
    outcome = item.outcome
    if outcome.branch and outcome.commit:
        yield outcome.branch, outcome.commit
    if item.start_branch and outcome.start and outcome.commit:
        yield item.start_branch, outcome.start
