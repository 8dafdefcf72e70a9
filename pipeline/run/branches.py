"""The branches that a run makes: their names, and whether they are this program's to set."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock

from containers.git.repository import GitError, Repository
from pipeline.store.store import Store
from tasks.model import Plan

RUN_TRAILER = "Patchyard-Run:"
TASK_TRAILER = "Plan-Task:"
_RUN = re.compile(rf"^{RUN_TRAILER} (\S+)$", re.MULTILINE)


class Branches:
    """Names and sets the branches of one run. Blocks: the flow calls it in threads, several at once.

    `refused` are the branches that must not be set, each with the sentence that says why.
    """

    def __init__(self, repository: Repository, template: str, plan: Plan, run: str) -> None:
        self._repository = repository
        self._template = template
        self._plan = plan.name
        self._run = run
        self._lock = Lock()
        self._known: dict[str, str] = {}
        self.refused: dict[str, str] = {}

    def name(self, part: str) -> str:
        """Return the branch's name for a task's id, or for a batch such as `batch-1`."""
        return self._template.format(plan=self._plan, task=part, run=self._run)

    def load_existing(self, parts: Iterable[str]) -> Mapping[str, str]:
        """Read which of the branches exist already; returns them with their commits."""
        wanted = {self.name(part) for part in parts}
        prefix = self._template.split("{", 1)[0]
        found = self._repository.branches(prefix)
        self._known = {name: commit for name, commit in found.items() if name in wanted}
        return self._known

    def check_ownership(self, store: Store) -> None:
        """See which of the branches that exist are not this program's to move."""
        checked_out = self._repository.checked_out() if self._known else {}
        for name, commit in self._known.items():
            if reason := self._why_not(store, name, commit, checked_out):
                self.refused[name] = reason

    def refresh(self, store: Store, name: str) -> None:
        """Read where a branch is that was moved meanwhile: by another run, which is no harm, or by a person."""
        with self._lock:
            commit = self._repository.branches(name).get(name)
            if commit is None:
                self._known.pop(name, None)
                return
            self._known[name] = commit
            if reason := self._why_not(store, name, commit, self._repository.checked_out()):
                self.refused[name] = reason

    def set(self, name: str, commit: str) -> None:
        """Let a branch stand at a commit.

        Raises:
            BranchMovedError: It was moved meanwhile.
            GitError: It is not this program's to move, or git does not take the name.
        """
        with self._lock:
            known = self._known.get(name)
            if known == commit:
                return
            if reason := self.refused.get(name):
                raise GitError(reason)
            if known is not None and (worktree := self._repository.checked_out().get(name)):
                raise GitError(_checked_out(name, worktree))
            self._repository.set_branch(name, commit, known)
            self._known[name] = commit

    def _why_not(self, store: Store, name: str, commit: str, checked_out: Mapping[str, Path]) -> str | None:
        """Return why a branch must not be moved.

        It is this program's when it stands where a run has set it. What a run set just before it was killed
        is not recorded, nor what another run sets right now: those are known by what the commit says. A commit
        that says so, but of a run that is recorded with another one, was changed by a person.
        """
        if name in checked_out:
            return _checked_out(name, checked_out[name])
        record = store.branch(name)
        if record is not None and record.commit == commit:
            return None
        if run := _RUN.search(self._repository.message(commit)):
            recorded = store.commits_of(run[1], name)
            if not recorded or commit in recorded:
                return None
        return f"branch {name} has commits that patchyard did not make; rename it, or name others with --branch"


def _checked_out(name: str, worktree: Path) -> str:
    return f"branch {name} is checked out in {worktree}; switch to another one there"
