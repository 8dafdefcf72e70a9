"""Cache of task results, shared by all runs of a repository.

A result is a file in the common git directory, named by its cache key (`tasks/keys.py`), with a file beside it
for a patch that is not small. It is not a row of the database: a result may be needed before that of a run is
open, which may be on a server.
"""

import base64
import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path

from containers.filesystem import open_regular, read_small
from containers.git.repository import GitError, Repository
from containers.patch_files import spool
from containers.temporary import write_atomically
from tasks.keys import TaskInputs, canonical, key
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import Outcome, Patch
from tasks.patch_data import BLOCK, INLINE, InlineData, PatchData
from tasks.secrets import Search, Secrets

VERSION = 2
"""Version of the content of a result; results of other versions are not used."""
PATCH = ".patch"
"""Suffix of a file beside a result, with a patch that is not small."""
MOST_BYTES = 16_000_000
"""A larger result, in bytes, is not read; its patch is not in it."""


@dataclass(frozen=True, slots=True)
class CachedResult:
    """What is kept of a task that succeeded: its patch, and what its agent said last."""

    patch: Patch
    said: str | None = None


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

    def find(self, inputs: TaskInputs, start: str) -> CachedResult | None:
        """Return a cache hit, from the commit `start`; a patch without files changes nothing."""
        if not self.reads:
            return None
        path = self._path(inputs)
        try:
            content = json.loads(read_small(path, MOST_BYTES))
            diff = self._read(path, content["patch"])
            if content["sha256"] != _checksum(path.stem, content, diff) or self._has_secret(diff):
                return None
            patch = Patch(start, content["tree"], diff, tuple(content["files"]))
            said = content.get("said")  # results of releases before 0.2 have none
            said = self.secrets.mask_text(said) if isinstance(said, str) else None
            return CachedResult(patch, said) if self._is_true(patch) else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError, GitError):
            return None

    def _read(self, path: Path, inline: str | None) -> PatchData:
        """Return a copy of a patch, which nobody changes after its checksum was compared.

        Raises:
            OSError: It cannot be read, or the copy cannot be written.
            ValueError: It is not in Base64.
        """
        if inline is not None:
            return InlineData(base64.b64decode(inline, validate=True))
        if (file := open_regular(path.with_suffix(PATCH))) is None:
            raise FileNotFoundError
        with file:
            return spool(iter(partial(file.read, BLOCK), b""), path.parent)

    def _has_secret(self, diff: PatchData) -> bool:
        search = Search(self.secrets)
        return any(search.feed(block) for block in diff.blocks())

    def keep(self, inputs: TaskInputs, outcome: Outcome) -> None:
        """Store the result of a task that succeeded; without space for it, the task runs again next time."""
        patch = outcome.patch
        diff = patch.diff if patch else InlineData(b"")
        path = self._path(inputs)
        content = {
            "version": VERSION,
            "task": outcome.task,
            "tree": patch.tree if patch else inputs.start_tree,
            "files": list(outcome.files),
            **({} if outcome.said is None else {"said": outcome.said}),
        }
        content |= {
            "sha256": _checksum(path.stem, content, diff),
            "patch": base64.b64encode(diff.read()).decode("ascii") if diff.size <= INLINE else None,
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if diff.size > INLINE:
                write_atomically(path.with_suffix(PATCH), diff.blocks(), mode=0o600, durable=True)
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


def _checksum(cache_key: str, content: Mapping[str, object], diff: PatchData) -> str:
    """Return the SHA-256 of everything in a result, and of the cache key that it is stored under.

    Raises:
        KeyError: A part of it is missing.
    """
    parts = [cache_key, VERSION, *(content[name] for name in ("version", "task", "tree", "files"))]
    parts += [content["said"]] if "said" in content else []
    return hashlib.sha256(canonical([*parts, diff.sha256])).hexdigest()


def directory(common: Path) -> Path:
    """Return the directory of a repository's results."""
    return common / "patchyard" / "results"


def results_of(common: Path, results: Collection[tuple[str, str]]) -> Iterator[Path]:
    """Yield the files of results that tasks have, by the task's id and the tree that it makes. Blocking."""
    for path in sorted(directory(common).glob("??/*.json")):
        try:
            content = json.loads(read_small(path, MOST_BYTES))
            found = (content["task"], content["tree"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        if found in results:
            yield from (one for one in (path, path.with_suffix(PATCH)) if one.exists())


def older_than(common: Path, seconds: float) -> Iterator[Path]:
    """Yield the files of results that are older than some seconds."""
    limit = time.time() - seconds
    for path in sorted(directory(common).glob("??/*")):
        if path.stat().st_mtime < limit:
            yield path
