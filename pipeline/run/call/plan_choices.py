"""The plans of a repository: the files of its commit that look like one."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath

from containers.filesystem import read_regular
from containers.git.repository import Repository
from pipeline.run.call.plan_file import SUFFIXES
from tasks.dialects.registry import recognised
from tasks.dialects.source import Beside, Source
from tasks.lazy.dataclasses import dataclass

MOST_FILES = 400
"""Files that are looked at, those with the likeliest names first."""
MOST_CHOICES = 60
"""Plans that are offered."""
LARGEST = 512 * 1024
"""Bytes of a file that is looked at; a larger one can be named by its path."""
WORDS = ("plan", "task", "prd", "spec", "todo", "roadmap", "story", "stories", "phase")
"""Parts of a path that plans often have."""
UNLIKELY = ("readme", "changelog", "license", "contributing", "package", "tsconfig", "fixtures", "testdata")
BOXES = "checklist"
"""The dialect of any text with boxes, which is the least certain."""


@dataclass(frozen=True, slots=True)
class PlanChoice:
    """A file that looks like a plan: its path from the repository's root, and its dialect."""

    path: str
    dialect: str


def find_plans(root: Path, environ: Mapping[str, str]) -> tuple[PlanChoice, ...]:
    """Return the plans among the files of a repository's current commit, the likeliest first. Blocking.

    Args:
        root: The repository's checkout. It is opened again: an open repository keeps the commit that it had.
        environ: The environment variables of git.

    Raises:
        PatchyardError: The repository has no commit, so that nothing can run there.
    """
    repository = Repository.open(root, environ)
    head = repository.resolve("HEAD")
    names = (name for name in repository.history.files(head) if PurePosixPath(name).suffix in SUFFIXES)
    likely = sorted(names, key=_unlikelihood)[:MOST_FILES]
    found = filter(None, (_choice(repository.root, name) for name in likely))
    return tuple(sorted(found, key=_rank)[:MOST_CHOICES])


def _unlikelihood(name: str) -> tuple[int, str]:
    lower = name.lower()
    return 2 * _has(lower, UNLIKELY) - _has(lower, WORDS), name


def _rank(choice: PlanChoice) -> tuple[bool, tuple[int, str]]:
    return choice.dialect == BOXES, _unlikelihood(choice.path)


def _has(name: str, words: Iterable[str]) -> bool:
    return any(word in name for word in words)


def _choice(root: Path, name: str) -> PlanChoice | None:
    path = root / name
    try:
        found = path.lstat()
    except OSError:
        return None  # removed from the checkout since the commit
    seen = None if found.st_size > LARGEST else _recognised(path, name, found.st_mtime_ns, found.st_size)
    return PlanChoice(name, seen) if seen else None


@lru_cache(maxsize=4 * MOST_FILES)
def _recognised(path: Path, name: str, _modified: int, _size: int) -> str | None:
    """Return the dialect of a file that was modified at a time."""
    content = read_regular(path, LARGEST)
    if content is None:
        return None
    return recognised(Source(name, content.decode(errors="replace"), Beside()))
