"""Read a plan from a file, a directory or standard input."""

import os
import sys
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import ClassVar

from containers.agents.agent import is_usable
from containers.agents.builtin import BUILT_IN
from containers.git.repository import Repository
from pipeline.config.sources import Sources
from tasks.dialects.packing import packed
from tasks.dialects.registry import parse
from tasks.dialects.source import MAIN_DOCUMENTS, Beside, Source, place_of
from tasks.errors import PatchyardError
from tasks.lazy.dataclasses import dataclass
from tasks.model import Plan
from tasks.plan.parser import MAX_BYTES, Parsed
from tasks.secrets import Secrets

SUFFIXES = frozenset({".md", ".json"})
"""What the files of a plan are named, in a directory."""


class CallError(PatchyardError):
    """The invocation is wrong, such as a file that does not exist."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A plan as it was read: the bytes of its file or main document, and what is beside it."""

    path: str
    data: bytes
    beside: Beside = field(default_factory=Beside)

    def stored_text(self, sources: Sources, secrets: Secrets) -> str:
        """Return the text that a run stores of the plan, with secrets masked."""
        source = Source(self.path, self.data.decode(errors="replace"), self.beside)
        beside = replace(
            self.beside, files=tuple((name, secrets.mask_text(text)) for name, text in self.beside.files)
        )
        masked = replace(source, text=secrets.mask_text(source.text), beside=beside)
        return packed(masked, sources.reading)


def read_plan(path: str) -> PlanFile:
    """Return the plan at a path; `-` is standard input. Of a plan that is too large, the start. Blocking.

    Raises:
        CallError: It cannot be read, or a directory has no plan.
    """
    try:
        if path == "-":
            return PlanFile(path, sys.stdin.buffer.read(MAX_BYTES + 1))
        if Path(path).is_dir():
            return _read_directory(path)
        beside = Beside(names=_names_beside(Path(path)), place=_place(Path(path)))
        return PlanFile(path, _read(Path(path)), beside)
    except OSError as error:
        raise CallError(f"{path}: cannot be read: {error.strerror}") from None


def parse_plan(file: PlanFile, sources: Sources, environ: Mapping[str, str]) -> Parsed:
    """Parse a plan with the agents that the settings declare, read as they say."""

    def known(name: str) -> bool:
        return is_usable(name, sources.agents, environ.get("PATH", ""))

    return parse(
        file.data,
        file.path,
        agent=sources.agent,
        is_agent=known,
        agents=[*sources.agents, *BUILT_IN],
        options=sources.reading,
        beside=file.beside,
    )


def with_existing_neighbours(plan: Plan, repository: Repository | None, base: str) -> Plan:
    """Return a plan that names the documents which exist: at the base, or on the disk without a repository."""
    if repository is None:
        directory = _directory(plan.path)
        beside = (directory / name for name in plan.neighbours if not name.startswith("/"))
        found = (Path(os.path.normpath(path)).as_posix() for path in beside if path.exists())
        return replace(plan, neighbours=tuple(found))
    return replace(plan, neighbours=repository.paths_in(base, documents_in(plan, repository)))


def documents_in(plan: Plan, repository: Repository) -> tuple[str, ...]:
    """Return the paths of a plan's documents from a repository's root, whether they exist or not. Blocking."""
    root = repository.root.resolve()
    directory = _plan_directory(plan.path, root)
    paths = (root / name.lstrip("/") if name.startswith("/") else directory / name for name in plan.neighbours)
    return tuple(path.relative_to(root).as_posix() for path in paths if path.is_relative_to(root))


def _plan_directory(path: str, root: Path) -> Path:
    """Return the directory of a plan's file, or that which is the plan, in a repository. Blocking.

    A plan outside of the repository whose relative path is one of the repository's is a copy of that.
    """
    directory = _directory(path)
    if not directory.is_absolute() and not directory.resolve().is_relative_to(root):
        directory = root / directory
    return directory.resolve()


def _directory(path: str) -> Path:
    return Path(path) if Path(path).is_dir() else Path(path).parent


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)  # one more than the parser takes: a device or a pipe may have no end


def plan_files(directory: Path) -> list[Path]:
    """Return the files of a directory that a plan may be in, sorted by name. Blocking.

    Raises:
        OSError: The directory cannot be read.
    """
    return sorted(entry for entry in directory.iterdir() if entry.suffix in SUFFIXES and entry.is_file())


def _read_directory(path: str) -> PlanFile:
    names = [entry.name for entry in plan_files(Path(path))]
    main = next((name for name in MAIN_DOCUMENTS if name in names), None)
    if main is not None:
        file = Path(path, main)
        return PlanFile(str(file), _read(file), Beside(names=frozenset(names), place=_place(file)))
    if not names:
        raise CallError(f"{path}: no plan in this directory; name the file of the plan")
    files = tuple((name, _read(Path(path, name)).decode(errors="replace")) for name in names)
    return PlanFile(path, b"", Beside(files, frozenset(names), _place(Path(path))))


def _place(path: Path) -> str:
    return place_of(str(path), str(path.absolute()))


def _names_beside(path: Path) -> frozenset[str]:
    """Return the names of summaries beside a plan, which say that it is done."""
    return frozenset(entry.name for entry in path.parent.glob("*SUMMARY.md"))
