"""Cache of task results, shared by all runs of a repository.

A result is a file in the common git directory, named by its cache key (`tasks/keys.py`). It is not a row of the
database, because loading SQLAlchemy takes longer than a small task.
"""

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from containers.git.repository import GitError, Repository
from containers.temporary import write_atomically
from tasks.keys import TaskInputs, canonical, key
from tasks.model import Outcome, Patch
from tasks.secrets import Secrets

VERSION = 2
"""Version of the content of a result; results of other versions are not used."""


@dataclass(frozen=True, slots=True)
class ResultCache:
    """The cached results of a repository. Blocking.

    Args:
        repository: Gets the trees of results, which are made again from the patches.
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
        path = self._path(inputs)
        try:
            content = json.loads(path.read_bytes())
            diff = base64.b64decode(content["patch"], validate=True)
            if content["sha256"] != _checksum(path.stem, content, diff) or self.secrets.find(diff):
                return None
            patch = Patch(start, content["tree"], diff, tuple(content["files"]))
            return patch if self._is_true(patch) else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError, GitError):
            return None

    def keep(self, inputs: TaskInputs, outcome: Outcome) -> None:
        """Store the result of a task that succeeded; without space for it, the task runs again next time."""
        patch = outcome.patch
        diff = patch.diff if patch else b""
        path = self._path(inputs)
        content = {
            "version": VERSION,
            "task": outcome.task,
            "tree": patch.tree if patch else inputs.start_tree,
            "files": list(outcome.files),
        }
        content |= {
            "sha256": _checksum(path.stem, content, diff),
            "patch": base64.b64encode(diff).decode("ascii"),
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, canonical(content), mode=0o600, durable=True)
        except OSError:
            return

    def _is_true(self, patch: Patch) -> bool:
        """Whether the patch makes the tree of its start, and changes the files that it names.

        This also creates the tree where git has pruned it. The checksum has no key: a program that can write
        the file can make another one, but no commit that differs from the patch that people read.

        Raises:
            GitError: The patch does not apply.
        """
        history = self.repository.history
        if history.apply(patch.start, patch.diff) != patch.tree:
            return False
        return sorted(patch.files) == sorted(change.path for change in history.changes(patch.start, patch.tree))

    def _path(self, inputs: TaskInputs) -> Path:
        whole = hashlib.sha256(canonical([key(inputs), self.copied()])).hexdigest()
        return self.directory / whole[:2] / f"{whole}.json"


def _checksum(cache_key: str, content: Mapping[str, object], diff: bytes) -> str:
    """Return the SHA-256 of everything in a result, and of the cache key that it is stored under.

    Raises:
        KeyError: A part of it is missing.
    """
    parts = [cache_key, VERSION, *(content[name] for name in ("version", "task", "tree", "files"))]
    return hashlib.sha256(canonical([*parts, hashlib.sha256(diff).hexdigest()])).hexdigest()


def directory(common: Path) -> Path:
    """Return the directory of a repository's results."""
    return common / "patchyard" / "results"


def older_than(common: Path, seconds: float) -> Iterator[Path]:
    """Yield the files of results that are older than some seconds."""
    limit = time.time() - seconds
    for path in sorted(directory(common).glob("??/*.json")):
        if path.stat().st_mtime < limit:
            yield path
