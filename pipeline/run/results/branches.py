"""Names and ownership of the branches that a run sets."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from threading import Lock

from containers.git.changes import directories_above
from containers.git.repository import GitError, Repository
from pipeline.store.records import Run
from pipeline.store.store import Store
from tasks.lazy.patterns import regex

RUN_TRAILER = "Patchyard-Run:"
TASK_TRAILER = "Plan-Task:"
HEADS = "refs/heads/"
_RUN = regex(rf"^{RUN_TRAILER} (\S+)$", re.MULTILINE)


class Branches:
    """Names and sets the branches of one run. Blocking, and safe to use from several threads.

    `refused` maps the branches that must not be set to the reason, a sentence.
    """

    def __init__(self, repository: Repository, template: str, run: Run) -> None:
        self._repository = repository
        self._template = template
        self._plan = run.plan_name
        self._run = run
        self._lock = Lock()
        self._setting: dict[str, Lock] = {}  # held while the branch of a name is set
        self._known: dict[str, str] = {}
        self._existing: Mapping[str, str] | None = None
        self.refused: dict[str, str] = {}

    def name(self, part: str) -> str:
        """Return the branch name for a task's id, or for a batch such as `batch-1`."""
        return self._template.format(plan=self._plan, task=part, run=self._run.id)

    def has_any(self) -> bool:
        """Whether there are branches of this plan's name already, of whatever plan. Blocking."""
        prefix, field, _ = self._template.partition("{plan}")
        wanted = f"{prefix}{self._plan}"
        return bool(field) and "{" not in prefix and any(name.startswith(wanted) for name in self._listed())

    @property
    def directory(self) -> str:
        """What the names of all branches of any run begin with, up to a slash."""
        return self._template.split("{", 1)[0].rpartition("/")[0]

    def _listed(self) -> Mapping[str, str]:
        """Return the branches below the directory, and the one of its name, with their commits."""
        if self._existing is None:
            self._existing = self._repository.branches_in(self.directory)
        return self._existing

    def choose_name(self, store: Store) -> None:
        """Take a name that no other plan uses for its branches. Blocking."""
        from pipeline.run.results.plan_name import choose_plan_name  # noqa: PLC0415 - start-up stays quick

        self._plan = choose_plan_name(store, self._run, self._repository.root)

    def load_existing(self, parts: Iterable[str]) -> Mapping[str, str]:
        """Return the branches that exist already, with their commits, and remember them. Blocking."""
        wanted = {self.name(part) for part in parts}
        directory, found = self.directory, self._listed()
        self._known = {name: commit for name, commit in found.items() if name in wanted}
        above = {f"{HEADS}{name}" for name in directories_above(directory)}
        existing = self._repository.history.present(sorted(above)) if above else ()
        parents = [name.removeprefix(HEADS) for name in existing]
        for name, other in branches_in_the_way(wanted, {*found, *parents}).items():
            self.refused[name] = (
                f"branch {name} cannot be created, because there is a branch {other}; rename that "
                f"(`git branch -m {other} NAME`), or name others with --branch"
            )
        return self._known

    def check_ownership(self, store: Store) -> None:
        """Add the existing branches that must not be moved to `refused`. Blocking."""
        if not self._known:
            return
        checked_out, made = self._repository.checked_out(), store.commits_of(list(self._known))
        for name, commit in self._known.items():
            if reason := self._why_not(store, name, commit, made[name], checked_out):
                self.refused[name] = reason

    def refresh(self, store: Store, name: str) -> None:
        """Read the commit of a branch that was moved concurrently, by another run or by a person. Blocking."""
        with self._lock:
            commit = self._repository.branches(name).get(name)
            if commit is None:
                self._known.pop(name, None)
                return
            self._known[name] = commit
            made = store.commits_of([name])[name]
            if reason := self._why_not(store, name, commit, made, self._repository.checked_out()):
                self.refused[name] = reason
            else:
                self.refused.pop(name, None)

    def set(self, name: str, commit: str) -> None:
        """Set a branch to a commit. Blocking.

        Raises:
            BranchMovedError: It was moved concurrently.
            GitError: It must not be moved, or git rejects the name.
        """
        with self._lock:  # branches of other names are set meanwhile
            setting = self._setting.setdefault(name, Lock())
        with setting:
            with self._lock:
                known, reason = self._known.get(name), self.refused.get(name)
            if known == commit:
                return
            if reason:
                raise GitError(reason)
            if known is not None and (worktree := self._repository.checked_out().get(name)):
                raise GitError(_checked_out(name, worktree))
            self._repository.set_branch(name, commit, known)
            with self._lock:
                self._known[name] = commit

    def left(self, name: str) -> str | None:
        """Return the commit of this run that a branch is at; `None` if there is none. Blocking."""
        commit = self._known.get(name)
        if commit is None:
            return None
        made = _RUN.search(self._repository.message(commit))
        return commit if made and made[1] == self._run.id else None

    def restore(self, name: str, commit: str) -> None:
        """Set a branch that a run has set before, if it is gone or its file is damaged. Blocking.

        Raises:
            GitError: It cannot be set.
        """
        if name not in self._known and name not in self.refused:
            self.set(name, commit)

    def _why_not(
        self,
        store: Store,
        name: str,
        commit: str,
        made: Mapping[str, str | None],
        checked_out: Mapping[str, Path],
    ) -> str | None:
        """Return why a branch must not be moved; `None` if a run has set it.

        A branch is a run's if it is at a commit that a run of this plan made. The trailers of the commit do not
        say that: a person who amends it keeps them.
        """
        if name in checked_out:
            return _checked_out(name, checked_out[name])
        if commit in made:
            title = made[commit] or self._title_of(store, commit)
            return None if title in {None, self._run.plan_title} else _taken(name, title or "")
        return f"branch {name} has commits that patchyard did not make; rename it, or name others with --branch"

    def _title_of(self, store: Store, commit: str) -> str | None:
        """Return the title of the plan whose run is setting a branch right now, or was killed when it did."""
        named = _RUN.search(self._repository.message(commit))
        return next((plan.title for plan in store.plans_of_runs() if named and plan.run == named[1]), None)


def branches_in_the_way(wanted: Iterable[str], existing: Collection[str]) -> Mapping[str, str]:
    """Return the wanted branches that git cannot create, each with the existing branch that is in the way.

    A ref is a path: with a branch `a`, there is no branch `a/b`, and the reverse.
    """
    below = {parent: name for name in existing for parent in directories_above(name)}
    found = {}
    for name in wanted:
        above = next((parent for parent in directories_above(name) if parent in existing), None)
        if other := above or below.get(name):
            found[name] = other
    return found


def _taken(name: str, title: str) -> str:
    return f"branch {name} belongs to another plan, {title!r}; name other branches with --branch"


def _checked_out(name: str, worktree: Path) -> str:
    return f"branch {name} is checked out in {worktree}; switch to another one there"
