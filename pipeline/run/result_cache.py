"""The results of tasks, kept for every later run in which the same work is asked for.

A result is a file in the common git directory, named by its key (`tasks/keys.py`). It is read before a task
takes a worktree, which is why it is no row of the database: loading that takes longer than a small task.
"""

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from containers.filesystem import write_atomically
from containers.git.repository import GitError, Repository
from tasks.keys import TaskInputs, canonical, key
from tasks.model import Outcome, Patch
from tasks.secrets import Secrets

VERSION = 1


@dataclass(frozen=True, slots=True)
class ResultCache:
    """The results of a repository. Blocks.

    Args:
        repository: Has the trees, as long as git keeps them; else they are made again from the patches.
        secrets: What no result may hold.
        copied: A digest of what is copied into every worktree.
        reads: Whether results are looked up; they are kept in any case.
    """

    repository: Repository
    secrets: Secrets
    copied: Callable[[], str]
    reads: bool = True

    @property
    def directory(self) -> Path:
        """Where they stand."""
        return directory(self.repository.common)

    def find(self, made_from: TaskInputs, start: str) -> Patch | None:
        """Return the patch of the same work, from the commit `start`; one without files changes nothing."""
        if not self.reads:
            return None
        try:
            content = json.loads(self._path(made_from).read_bytes())
            diff = base64.b64decode(content["patch"])
            files, tree = tuple(content["files"]), str(content["tree"])
            whole = content["version"] == VERSION and content["sha256"] == hashlib.sha256(diff).hexdigest()
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not whole or self.secrets.find(diff):
            return None
        try:
            gone = files and not self.repository.has(f"{tree}^{{tree}}")
            if gone and self.repository.history.apply(start, diff) != tree:
                return None
        except GitError:
            return None
        return Patch(start, tree, diff, files)

    def keep(self, made_from: TaskInputs, outcome: Outcome) -> None:
        """Keep the result of a task that succeeded. Where that fails nothing is lost but the time."""
        patch = outcome.patch
        diff = patch.diff if patch else b""
        content = {
            "version": VERSION,
            "task": outcome.task,
            "tree": patch.tree if patch else made_from.start_tree,
            "files": list(outcome.files),
            "sha256": hashlib.sha256(diff).hexdigest(),
            "patch": base64.b64encode(diff).decode("ascii"),
        }
        path = self._path(made_from)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, canonical(content), mode=0o600, durable=True)
        except OSError:
            return

    def _path(self, made_from: TaskInputs) -> Path:
        whole = hashlib.sha256(canonical([key(made_from), self.copied()])).hexdigest()
        return self.directory / whole[:2] / f"{whole}.json"


def directory(common: Path) -> Path:
    """Return where a repository's results stand."""
    return common / "patchyard" / "results"


def older_than(common: Path, seconds: float) -> Iterator[Path]:
    """Yield the results that were not written within some seconds."""
    limit = time.time() - seconds
    for path in sorted(directory(common).glob("??/*.json")):
        if path.stat().st_mtime < limit:
            yield path
