"""What a plan says of its own state at its head."""

from collections.abc import Sequence

from tasks.diagnostics import Report
from tasks.dialects.dialect import Unit
from tasks.dialects.outline import Outline
from tasks.lazy.patterns import regex
from tasks.text import plural

_FINISHED = regex(
    r"(?i)^[\s>*+-]*[*_]{0,2}(?:status|状态|estado)[*_]{0,2}\s*[:：][*_\s]*"  # noqa: RUF001 - full-width, as people type it
    r"\W*(?:completed?|done|finished|shipped|implemented|merged|✅|✔|已?完成)(?!\w)"
)


def says_finished(line: str) -> bool:
    """Whether a line is a status that says that all is done, such as `**Status:** completed`."""
    return bool(_FINISHED.match(line))


def report_status(outline: Outline, units: Sequence[Unit], report: Report, first: int | None = None) -> None:
    """Report a plan that calls itself completed while units are open: the boxes decide.

    Args:
        outline: The outline of the plan.
        units: Its units.
        report: Where it is reported.
        first: The line (0-based) above which the plan speaks of itself, by default that of its first unit.
    """
    left = sum(not (unit.done or unit.optional) for unit in units)
    end = min((unit.line - 1 for unit in units), default=0) if first is None else first
    line = next((line for line, text in outline.prose(0, end) if says_finished(text)), None)
    if left and line is not None:
        are = "is" if left == 1 else "are"
        message = f"the plan says that it is completed, but {plural(left, 'task')} {are} open and will run"
        report.warning(line + 1, 1, f"{message}; tick what is done")
