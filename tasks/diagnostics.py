"""Errors and warnings about a plan."""

from collections.abc import Iterable
from enum import StrEnum
from typing import ClassVar

from tasks.errors import PatchyardError
from tasks.lazy.dataclasses import dataclass
from tasks.text import without_unprintable

_SHOWN = 60
"""Maximum number of characters that a message quotes from a plan."""


class Severity(StrEnum):
    """An error prevents the run; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error or warning. `line` and `column` are 1-based, the column in characters."""

    path: str
    line: int
    column: int
    severity: Severity
    message: str

    def __str__(self) -> str:
        """Format as `path:line:column: severity: message`, which editors understand."""
        return f"{self.path}:{self.line}:{self.column}: {self.severity}: {self.message}"


class PlanError(PatchyardError):
    """A plan cannot be run. The message has one line per diagnostic."""

    exit_code: ClassVar[int] = 2

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(map(str, self.diagnostics)))


class Report:
    """Collects the diagnostics of one plan. `errors` is the number of errors so far."""

    def __init__(self, path: str) -> None:
        self.errors = 0
        self._path = path
        self._found: dict[Diagnostic, None] = {}

    def error(self, line: int, column: int, message: str) -> None:
        """Add an error, which prevents the plan from being run."""
        self.errors += 1
        self._found[Diagnostic(self._path, line, column, Severity.ERROR, message)] = None

    def warning(self, line: int, column: int, message: str) -> None:
        """Add a warning about something that is probably not intended."""
        self._found[Diagnostic(self._path, line, column, Severity.WARNING, message)] = None

    def sorted(self) -> tuple[Diagnostic, ...]:
        """Return the diagnostics in the order of the plan's text."""
        return tuple(sorted(self._found, key=lambda found: (found.line, found.column, found.severity)))


def quoted(text: str) -> str:
    """Return text of a plan as messages quote it: on one line, in backticks, printable and shortened."""
    line = without_unprintable(" ".join(text[: _SHOWN * 4].split()))
    return f"`{line if len(line) <= _SHOWN else line[: _SHOWN - 1] + '…'}`"
