"""Cache of task results, shared by all runs of a repository.

A result is a file in the common git directory, named by its cache key (`tasks/keys.py`). It is not a row of the
database, because loading SQLAlchemy takes longer than a small task.
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
    """The cached results of a repository. Blocking.

    Args:
        repository: Has the trees of results; those that git has pruned are recreated from the patches.
        secrets: Values that no result may hold.
        copied: Returns a digest of the files that are copied into every worktree.
        reads: Whether results are looked up; they are stored in any case.
    """

    repository: Repository
    secrets: Secrets
    copied: Callable[[], str]
    reads: bool = True

    @property
    def directory(self) -> Path:
        """The directory of the results."""
        return directory(self.repository.common)

    def find(self, inputs: TaskInputs, start: str) -> Patch | None:
        """Return the patch of a cache hit, from the commit `start`; a patch without files changes nothing."""
        if not self.reads:
            return None
        try:
            content = json.loads(self._path(inputs).read_bytes())
            diff = base64.b64decode(content["patch"])
            files, tree = tuple(content["files"]), str(content["tree"])
            whole = content["version"] == VERSION and content["sha256"] == hashlib.sha256(diff).hexdigest()
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
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

    def keep(self, inputs: TaskInputs, outcome: Outcome) -> None:
        """Store the result of a task that succeeded; without space for it, the task runs again next time."""
        patch = outcome.patch
        diff = patch.diff if patch else b""
        content = {
            "version": VERSION,
            "task": outcome.task,
            "tree": patch.tree if patch else inputs.start_tree,
            "files": list(outcome.files),
            "sha256": hashlib.sha256(diff).hexdigest(),
            "patch": base64.b64encode(diff).decode("ascii"),
        }
        path = self._path(inputs)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, canonical(content), mode=0o600, durable=True)
        except OSError:
            return

    def _path(self, inputs: TaskInputs) -> Path:
        whole = hashlib.sha256(canonical([key(inputs), self.copied()])).hexdigest()
        return self.directory / whole[:2] / f"{whole}.json"


def directory(common: Path) -> Path:
    """Return the directory of a repository's results."""
    return common / "patchyard" / "results"


def older_than(common: Path, seconds: float) -> Iterator[Path]:
    """Yield the files of results that are older than some seconds."""
    limit = time.time() - seconds
    for path in sorted(directory(common).glob("??/*.json")):
        if path.stat().st_mtime < limit:
            yield path
