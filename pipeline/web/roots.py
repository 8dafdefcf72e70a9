"""Access to repositories and plans: only below the server's roots, after links are resolved. Blocking."""

import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from errno import ENOENT, ENOTDIR
from pathlib import Path
from time import monotonic
from typing import ClassVar

from containers.git.repository import Repository
from pipeline.run.call.plan_file import plan_files
from pipeline.store.store import Store, StoreError
from tasks.errors import PatchyardError
from tasks.text import without_surrogates

DEPTH = 2
"""Levels of directories below a root that are searched for repositories."""
FRESH = 5.0
"""Seconds between two searches for repositories."""
MAX_PLAN = 4 * 1024 * 1024
"""Maximum size of a plan, in bytes."""


class PathOutsideRootsError(PatchyardError):
    """A path is outside of the server's roots."""

    exit_code: ClassVar[int] = 2


class PathError(PatchyardError):
    """A path is invalid, or its file cannot be used."""

    exit_code: ClassVar[int] = 2


class Roots:
    """The directories that a server gives access to."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self.directories = tuple(Path(os.path.realpath(directory)) for directory in directories)

    def inside(self, path: str | Path, beside: Path | None = None) -> Path:
        """Resolve the links of a path; a relative path starts at `beside`, by default at the first root.

        Raises:
            PathOutsideRootsError: The path is outside of the roots. The message does not reveal whether it
                exists.
            PathError: No file can have that name, or the path cannot be accessed.
        """
        try:
            resolved = Path(os.path.realpath((beside or self.directories[0]) / path))
        except (OSError, ValueError):
            raise PathError(f"{_shown(path)} is not a valid path; name a file below a root") from None
        if not any(resolved.is_relative_to(root) for root in self.directories):
            where = ", ".join(map(str, self.directories))
            raise PathOutsideRootsError(
                f"{_shown(path)} is outside of {where}; start the server with `--root` to allow it"
            )
        try:
            resolved.stat()
        except OSError as error:
            if error.errno not in {ENOENT, ENOTDIR}:  # the caller reports a missing file
                raise PathError(f"{_shown(path)}: cannot be used: {error.strerror}") from None
        return resolved

    def plan(self, path: str, repository: Repository) -> Path:
        """Return the path of a plan, a file or a directory; a relative path starts at the repository.

        Raises:
            PathOutsideRootsError: The path is outside of the roots.
            PathError: It does not exist, is neither a regular file nor a directory, or is too large.
        """
        resolved = self.inside(path, repository.root)
        try:
            found = resolved.stat()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "the path is invalid"
            raise PathError(f"{_shown(path)}: cannot be read: {reason}") from None
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise PathError(f"{_shown(path)}: is not a file; name a plan in Markdown or JSON, or a directory")
        size = found.st_size if stat.S_ISREG(found.st_mode) else self._size_of_plans(resolved)
        if size > MAX_PLAN:
            raise PathError(f"{_shown(path)}: is longer than {MAX_PLAN} bytes; split the plan")
        return resolved

    def _size_of_plans(self, directory: Path) -> int:
        """Return the size, in bytes, of the files in a directory that are read as a plan.

        Raises:
            PathOutsideRootsError: One is a link that leads out of the roots.
            PathError: One cannot be accessed.
        """
        try:
            return sum(self.inside(file).stat().st_size for file in plan_files(directory))
        except OSError as error:
            raise PathError(f"{_shown(directory)}: cannot be read: {error.strerror}") from None


class Repositories:
    """The repositories below the roots and their stores. Thread-safe."""

    def __init__(
        self, roots: Roots, environ: Mapping[str, str], open_store: Callable[[Repository], Store]
    ) -> None:
        self.roots = roots
        self._environ = environ
        self._open_store = open_store
        self._lock = threading.RLock()
        self._known: dict[Path, Repository] = {}
        self._stores: dict[Path, Store] = {}
        self._searched_at = float("-inf")

    def named(self, path: str | None) -> Repository:
        """Return the repository at a path, by default that of the first root.

        Raises:
            PathOutsideRootsError: The path is outside of the roots.
            NotARepositoryError: There is no repository at the path.
        """
        place = self.roots.inside(path) if path is not None else self.roots.directories[0]
        return self._opened(place)

    def all(self) -> tuple[Repository, ...]:
        """Return the repositories that were named, and those at most `DEPTH` levels below a root."""
        with self._lock:
            if monotonic() - self._searched_at < FRESH:
                return tuple(self._known.values())
        for root in self.roots.directories:
            for place in (root, *_repositories_below(root, DEPTH)):
                with self._lock:
                    if any(place == known.root for known in self._known.values()):
                        continue
                try:
                    self._opened(place)
                except PatchyardError:
                    continue  # not a repository, or a broken one: it has no runs to show
        with self._lock:
            self._searched_at = monotonic()
            return tuple(self._known.values())

    def store(self, repository: Repository) -> Store:
        """Return the open store of a repository.

        Raises:
            StoreError: The store cannot be opened.
        """
        with self._lock:
            if repository.common not in self._stores:
                self._stores[repository.common] = self._open_store(repository)
            return self._stores[repository.common]

    def stores(self) -> list[tuple[Repository, Store]]:
        """Return the repositories whose store can be opened, with their stores.

        Raises:
            StoreError: No store can be opened.
        """
        found: list[tuple[Repository, Store]] = []
        failure: StoreError | None = None
        for repository in self.all():
            try:
                found.append((repository, self.store(repository)))
            except StoreError as error:
                failure = error  # one that is broken does not hide the others
        if failure and not found:
            raise failure
        return found

    def close(self) -> None:
        """Close every store."""
        with self._lock:
            for store in self._stores.values():
                store.close()
            self._stores.clear()

    def _opened(self, place: Path) -> Repository:
        repository = Repository.open(place, self._environ)
        self.roots.inside(repository.root)  # a directory in a root can belong to a repository around the root
        if repository.root not in self.roots.directories:  # a linked worktree may be a root, as it was named
            self.roots.inside(repository.common)  # what `.git` leads to
        with self._lock:
            return self._known.setdefault(repository.common, repository)


def _repositories_below(directory: Path, depth: int) -> Iterator[Path]:
    """Yield directories with a `.git` directory of their own; linked worktrees and submodules have a file."""
    try:
        children = sorted(child for child in directory.iterdir() if not child.name.startswith("."))
        for child in children:
            if child.is_symlink() or not child.is_dir():
                continue
            if (child / ".git").is_dir():
                yield child
            elif depth > 1:
                yield from _repositories_below(child, depth - 1)
    except OSError:
        return  # not ours to read


def _shown(path: str | Path) -> str:
    return without_surrogates(str(path)[:200])
