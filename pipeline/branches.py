"""The branches that a run makes: their names, and whether they are this program's to set."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from containers.git import Repository
from pipeline.store import BranchRecord
from tasks.model import Plan

RUN_TRAILER = "Patchyard-Run:"
TASK_TRAILER = "Plan-Task:"


class Branches:
    """Names and sets the branches of one run. Blocks: the flow calls it in a thread."""

    def __init__(self, repository: Repository, template: str, plan: Plan, run: str) -> None:
        self._repository = repository
        self._template = template
        self._plan = plan.name
        self._run = run
        self._known: dict[str, str] = {}

    def name(self, part: str) -> str:
        """Return the branch's name for a task's id, or for a batch such as `batch-1`."""
        return self._template.format(plan=self._plan, task=part, run=self._run)

    def look(self, parts: Iterable[str]) -> Mapping[str, str]:
        """Read which of the branches exist already; returns them with their commits."""
        wanted = {self.name(part) for part in parts}
        prefix = self._template.split("{", 1)[0]
        found = self._repository.branches(prefix)
        self._known = {name: commit for name, commit in found.items() if name in wanted}
        return self._known

    def foreign(self, records: Mapping[str, BranchRecord | None]) -> dict[str, str]:
        """Return the branches that must not be set, each with the sentence that says why.

        A branch is this program's when it stands where it was set last, or, where nothing is recorded, when
        its commit says so.
        """
        refused: dict[str, str] = {}
        checked_out: Mapping[str, Path] = self._repository.checked_out() if self._known else {}
        for name, commit in self._known.items():
            record = records.get(name)
            if name in checked_out:
                refused[name] = (
                    f"branch {name} is checked out in {checked_out[name]}; switch to another one there"
                )
            elif record is not None and record.commit == commit:
                continue
            elif record is not None or RUN_TRAILER not in self._repository.message(commit):
                hint = "rename it, or name others with --branch"
                refused[name] = f"branch {name} has commits that patchyard did not make; {hint}"
        return refused

    def set(self, name: str, commit: str) -> None:
        """Let a branch stand at a commit.

        Raises:
            GitError: Somebody else moved it meanwhile.
        """
        if self._known.get(name) == commit:
            return
        self._repository.set_branch(name, commit, self._known.get(name))
        self._known[name] = commit
