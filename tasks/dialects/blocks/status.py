"""What a plan says of its own state at its head."""

import re
from collections.abc import Sequence

from tasks.diagnostics import Report
from tasks.dialects.dialect import Unit
from tasks.dialects.outline import Outline
from tasks.text import plural

_FINISHED = re.compile(
    r"(?i)^[\s>*+-]*[*_]{0,2}(?:status|状态|estado)[*_]{0,2}\s*[:：][*_\s]*"  # noqa: RUF001 - full-width, as people type it
    r"\W*(?:completed?|done|finished|shipped|implemented|merged|✅|✔|已?完成)(?!\w)"
)


def report_status(outline: Outline, units: Sequence[Unit], report: Report) -> None:
    """Report a plan that calls itself completed above its first unit while units are open: the boxes decide."""
    left = sum(not (unit.done or unit.optional) for unit in units)
    first = min((unit.line - 1 for unit in units), default=0)
    for line, text in outline.prose(outline.front, first):
        if left and _FINISHED.match(text):
            message = (
                f"the plan says that it is completed, and {plural(left, 'task')} will run; tick what is done"
            )
            report.warning(line + 1, 1, message)
            return
