"""What a plan is read from: a file, or the files of a directory."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from tasks.dialects.outline import Outline, outline

MAIN_DOCUMENTS = ("tasks.md", "tasks.json", "prd.json", "plan.md")
"""The files that are the plan of a directory, the first that is there."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What is beside the text of a plan.

    `files` are name and text of the files of a directory that is the plan as a whole, sorted by name. `names`
    are the names of files in the plan's directory.
    """

    files: tuple[tuple[str, str], ...] = ()
    names: frozenset[str] = frozenset()


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
    def outline(self) -> Outline:
        """Headings and boxes of the text, as Markdown."""
        return outline(self.text)

    @property
    def is_json(self) -> bool:
        """Whether the text is JSON."""
        return self.text.lstrip()[:1] in {"{", "["}

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the path."""
        return PurePosixPath(self.path.replace("\\", "/")).parts

    def folder(self, *above: str) -> str:
        """Return the name of the file's folder if it is in these, such as `openspec`, `changes`, or nothing."""
        return self.parts[-2] if len(self.parts) > 1 and self.is_below(*above) else ""

    def is_below(self, *folders: str) -> bool:
        """Whether the path has these folders, one in the other, such as `.kiro`, `specs`."""
        parts, width = self.parts, len(folders)
        return any(parts[at : at + width] == folders for at in range(len(parts)))
