"""What a plan of version 2 says outside of its tasks: of a group of them, and of the whole plan."""

from collections.abc import Iterator, Sequence

from tasks.diagnostics import Report
from tasks.plan.blocks import Document, FieldKind
from tasks.plan.fields import FieldReader
from tasks.plan.sections import Kind, Section
from tasks.plan.verbatim import given

ABOUT = "About the whole plan"
"""The title of a section of which only the content goes to the agents."""

_OF_PLAN = frozenset({FieldKind.MODE, FieldKind.IMAGE})
_PARTS = frozenset({Kind.TASK, Kind.GROUP, Kind.BATCH})


def assign_groups(fields: FieldReader, sections: Sequence[Section], report: Report) -> None:
    """Say of each task which group it is below, and of each group its title and what the plan says of it.

    A group ends where the next one begins, and at any other heading of its level.
    """
    group: Section | None = None
    ends = _ends(fields.document, sections)
    for section, end in zip(sections, ends, strict=True):
        if section.kind is Kind.TASK:
            section.group = group
        elif section.kind is Kind.GROUP:
            section.title = _title(fields, section, report)
            section.text = _text(fields.document, section.below, end, section)
            group = section
        else:
            group = None


def header(document: Document, sections: Sequence[Section]) -> str:
    """Return what a plan says above its first task, group or batch, without its title."""
    plan = sections[0]
    end = next((section.line for section in sections if section.kind in _PARTS), len(document.lines))
    above = _text(document, 0, plan.above, plan)
    below = _text(document, plan.below, end, plan)
    return "\n\n".join(text for text in (above, below) if text.strip())


def footer(document: Document, sections: Sequence[Section]) -> str:
    """Return what a plan says in sections of their own after its first task, group or batch."""
    first = next((at for at, section in enumerate(sections) if section.kind in _PARTS), len(sections))
    return "\n\n".join(_sections(document, sections[first:]))


def _sections(document: Document, sections: Sequence[Section]) -> Iterator[str]:
    """Yield the text of each run of sections that are neither tasks nor groups of them."""
    begin: int | None = None
    for section, end in zip(sections, _ends(document, sections), strict=True):
        if section.kind is Kind.OTHER:
            if begin is None:
                begin = section.below if section.title == ABOUT else section.line
            last = end
        elif begin is not None:
            yield _text(document, begin, last)
            begin = None
    if begin is not None:
        yield _text(document, begin, last)


def _title(fields: FieldReader, group: Section, report: Report) -> str:
    """Return the title of a group: that of its heading, unless a field gives it."""
    title = group.title
    for item in group.fields:
        if item.kind is FieldKind.TITLE:
            title, _ = fields.exact(item)
        else:
            message = f"**{item.label}:** belongs to a task, not to a group"
            report.error(item.line + 1, item.column, message)
    return title


def _ends(document: Document, sections: Sequence[Section]) -> list[int]:
    """Return the line (0-based) on which what follows each section begins."""
    return [*(section.line for section in sections[1:]), len(document.lines)] if sections else []


def _text(document: Document, begin: int, end: int, section: Section | None = None) -> str:
    """Return lines (0-based) as they are, without the fields of the section that are read as such."""
    read = frozenset(_lines_of_fields(section)) if section else frozenset()
    lines = [line for at, line in enumerate(document.lines[begin:end], begin) if at not in read]
    return given("\n".join(lines))


def _lines_of_fields(section: Section) -> Iterator[int]:
    """Yield the lines (0-based) of fields that say something of the section itself, such as its title."""
    for item in section.fields:
        if section.kind is Kind.PLAN and item.kind in _OF_PLAN:
            yield from range(item.line, item.end)
        elif item.kind is FieldKind.TITLE:
            end = item.end if item.value or not item.blocks else item.blocks[0].end
            yield from range(item.line, end)
