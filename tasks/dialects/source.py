"""What a plan is read from: a file, or the files of a directory."""

from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from tasks.lazy.dataclasses import dataclass

if TYPE_CHECKING:
    from tasks.dialects.outline import Outline

MAIN_DOCUMENTS = ("tasks.md", "tasks.json", "prd.json", "plan.md")
"""The files that are the plan of a directory, the first that is there."""
TOOL_FOLDERS = (
    (".kiro", "specs"),
    ("openspec", "changes"),
    ("conductor", "tracks"),
    ("conductor", "archive"),
    (".sisyphus",),
)
"""Folders, one in the other, that tell which tool a plan is of."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What is beside the text of a plan.

    `files` are name and text of the files of a directory that is the plan as a whole, sorted by name. `names`
    are the names of files in the plan's directory. `place` is the plan's path from the folder of its tool on,
    such as `.kiro/specs/login/tasks.md`, where the path that the user gave begins below that.
    """

    files: tuple[tuple[str, str], ...] = ()
    names: frozenset[str] = frozenset()
    place: str = ""


@dataclass(frozen=True)
class Source:
    """A plan's text, and what is beside it.

    Args:
        path: The path, as the user gave it.
        text: The text of the file, with line feeds alone; empty where a directory is the plan.
        beside: What is beside it.
    """

    path: str
    text: str
    beside: Beside = Beside()

    @cached_property
    def outline(self) -> "Outline":
        """Headings and boxes of the text, as Markdown."""
        return _outline(self.text)

    @cached_property
    def outlines(self) -> "tuple[tuple[str, Outline], ...]":
        """Name and outline of each Markdown file of a directory that is the plan as a whole."""
        return tuple((name, _outline(text)) for name, text in self.beside.files if name.endswith(".md"))

    @property
    def is_json(self) -> bool:
        """Whether the text is JSON."""
        return self.text.lstrip()[:1] in {"{", "["}

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the path, from the folder of its tool on if that is known."""
        return _parts(self.beside.place or self.path)

    def folder(self, *above: str) -> str:
        """Return the name of the file's folder if it is in these, such as `openspec`, `changes`, or nothing."""
        return self.parts[-2] if len(self.parts) > 1 and self.is_below(*above) else ""

    def is_below(self, *folders: str) -> bool:
        """Whether the path has these folders, one in the other, such as `.kiro`, `specs`."""
        return _find(self.parts, folders) is not None


def place_of(path: str, absolute: str) -> str:
    """Return `Beside.place` of a plan: its path as the user gave it, and as an absolute one."""
    given, whole = _parts(path), _parts(absolute)
    found = [_find(whole, folders) for folders in TOOL_FOLDERS if _find(given, folders) is None]
    begins = max((at for at in found if at is not None), default=None)
    return "" if begins is None else "/".join(whole[begins:])


def _outline(text: str) -> "Outline":
    from tasks.dialects.outline import outline  # noqa: PLC0415 - start-up stays quick

    return outline(text)


def _parts(path: str) -> tuple[str, ...]:
    return PurePosixPath(path.replace("\\", "/")).parts


def _find(parts: tuple[str, ...], folders: tuple[str, ...]) -> int | None:
    """Return where some folders, one in the other, are in a path, the last place; `None` if they are not."""
    width = len(folders)
    places = (at for at in range(len(parts), -1, -1) if parts[at : at + width] == folders)
    return next(places, None)
