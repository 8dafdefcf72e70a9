"""The native format, `docs/plan-format.md`."""

import re
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.diagnostics import Diagnostic, Report, Severity
from tasks.dialects.source import Source
from tasks.lazy.patterns import regex
from tasks.model import Batch
from tasks.plan.blocks import FIELDS, FieldKind
from tasks.plan.parser import Parsed
from tasks.plan.parser import parse as parse_native
from tasks.plan.sections import is_heading as is_native_heading

if TYPE_CHECKING:
    from tasks.dialects.outline import Heading

_HEADING = regex(r"(?i)\**(?:task|batch)\s+#?\S*[0-9]")
_BATCH = regex(r"(?i)\W*batch\s")
_NAMES = tuple(name for name, (kind, _) in FIELDS.items() if kind is not FieldKind.CRITERIA)
_BOLD = regex(r"(?m)^\*\*([^*:\n]+)(?::\*\*|\*\*:)")
_VERSION = regex(r"---[ \t]*\n(?:(?!---|\.\.\.).*\n)*?patchyard[ \t]*:")
"""Front matter that names this format, whatever the text below looks like."""
_LOOSE_FIELD = regex(
    rf"(?im)^[ \t]*(?:[-*+][ \t]+)?(?:\*\*|__)?(?:{'|'.join(map(re.escape, _NAMES))}"
    r"|files?\(s\)|(?:acceptance|success)\s+criteria)"
    r"(?:\*\*|__)?[ \t]*:"
)
_BEGINS = regex(r"(?im)^#{2,4}[ \t]+\**(?:task|batch)[ \t]+#?\S*[0-9]")
_OF_ANOTHER = regex(
    r"(?im)\[[ \tx~-]?\]|<task|\bsteps?\b|criteria|automated|blocked|parallel\s+group|sub-?tasks|agentic"
    r"|for\s+claude|^[ \t]*[0-9]+[.)][ \t].*\b(?:run|commit)\b|\bT-?[0-9]{3}|_requirements"
    r"|^[ \t]*(?:[-*+][ \t]+)?(?:depends|wave)"
)
"""Something that plans of other tools have, and few of this format."""

_UNKNOWN = (
    "this is not a plan of a known dialect: there are no task headings, no boxes (`- [ ] …`), no `<tasks>` and"
    " no tasks or user stories in JSON; the shortest plan is `### Task 1.1: Title` and below it `**Run:** make`"
)
_OF_OTHERS = ("unknown key", "the plan has no task")
"""How errors begin that say nothing of a text without a task."""


def is_certain(source: Source) -> bool:
    """Whether a source is a plan of this format, without a look at what the other dialects read of it.

    Their modules take longer to load than a small task takes to run.
    """
    text = source.text
    if _VERSION.match(text):
        return True
    if _OF_ANOTHER.search(text) or _is_of_another_tool(source):
        return False
    return bool(_BEGINS.search(text) and _has_field(text))


def _has_field(text: str) -> bool:
    return any(match[1].lower() in _NAMES for match in _BOLD.finditer(text))


def _is_of_another_tool(source: Source) -> bool:
    """Whether a source has the path of a tool whose plans may have such headings and fields."""
    return source.is_below("openspec", "changes") or source.is_below(".kiro", "specs")


def count(source: Source) -> int:
    """Return how many headings of tasks a source has, with a field of the native format in it."""
    if source.is_json or not _has_field(source.text):
        return 0
    if _is_of_another_tool(source):
        return 0
    found = [heading for heading in source.outline.headings if _HEADING.match(heading.text)]
    return 0 if not found or _is_of_superpowers(source, found) else len(found)


def fits_loosely(source: Source) -> bool:
    """Whether a source has headings of tasks, all as this format has them, and fields as others write them."""
    if source.is_json or not _LOOSE_FIELD.search(source.text):
        return False
    found = [heading for heading in source.outline.headings if _HEADING.match(heading.text)]
    return bool(found) and all(is_native_heading(heading.text, heading.level) for heading in found)


def _is_of_superpowers(source: Source, tasks: "list[Heading]") -> bool:
    """Whether a plan with tasks is one of superpowers: it says so, or it has steps and no batch."""
    from tasks.dialects.blocks.steps import (  # noqa: PLC0415 - see `is_certain`
        has_numbered_steps,
        has_steps,
        is_for_workers,
    )

    if is_for_workers("\n".join(source.outline.lines[: tasks[0].line])):
        return True
    if any(_BATCH.match(task.text) for task in tasks):
        return False
    first = tasks[0].line
    return has_steps(source.outline, first) or has_numbered_steps(source.outline, first)


def parse(  # noqa: PLR0913 - as that of the registry
    data: bytes | str,
    path: str,
    *,
    agent: str | None,
    is_agent: Callable[[str], bool],
    agents: Collection[str] = (),
    optional: bool = False,
) -> Parsed:
    """Parse a plan of the native format; `optional` runs tasks that it calls optional."""
    parsed = parse_native(data, path, agent=agent, is_agent=is_agent, agents=agents)
    plan = parsed.plan
    if plan is None:
        return parsed
    if optional and any(task.optional for task in plan.tasks):
        plan = replace(plan, batches=tuple(_with_optional(batch) for batch in plan.batches))
    done = sum(task.completed for task in plan.tasks)
    return replace(parsed, plan=replace(plan, items=len(plan.tasks), done_items=done))


def _with_optional(batch: Batch) -> Batch:
    return replace(batch, tasks=tuple(replace(task, optional=False) for task in batch.tasks))


def unknown(parsed: Parsed, source: Source) -> Parsed:
    """Return what to say of a text that no dialect reads, unless it has headings of native tasks."""
    if parsed.plan is not None:
        return parsed
    headings = () if source.is_json else source.outline.headings
    if any(_HEADING.match(heading.text) for heading in headings):
        return parsed
    if source.path.endswith(".json") and (broken := _json_errors(source)):
        return Parsed(None, broken)
    errors = (found for found in parsed.errors if not found.message.startswith(_OF_OTHERS))
    return Parsed(None, (Diagnostic(source.path, 1, 1, Severity.ERROR, _UNKNOWN), *errors))


def _json_errors(source: Source) -> tuple[Diagnostic, ...]:
    """Return what is wrong with a file that is JSON by its name."""
    from tasks.dialects.json_objects import read_json  # noqa: PLC0415 - see `is_certain`

    report = Report(source.path)
    read_json(source.text, report)
    return report.sorted()
