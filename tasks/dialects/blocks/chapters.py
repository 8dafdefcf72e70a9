"""Units of a plan without a box: its numbered headings."""

from collections.abc import Sequence

from tasks.dialects.blocks.ids import identify, numbered
from tasks.dialects.blocks.layout import files_on, text_of, title_heading
from tasks.dialects.dialect import Item, Reading, Unit, in_sequence
from tasks.dialects.outline import Heading, Outline
from tasks.dialects.read_options import UnitKind
from tasks.lazy.patterns import regex
from tasks.plan.marks import says_done, without_done

_PHASE = regex(r"(?i)(?:phase|stage|part|step|阶段|フェーズ|fase)\s*(?P<number>[0-9]+(?:\.[0-9]+)*)")


def number_and_title(text: str) -> tuple[str, str]:
    """Return the number of a heading, such as `1. …` or `Phase 1: …`, and its title, with the word `Phase`."""
    plain = without_done(text)
    if (found := numbered(plain)).number:
        return found.number, found.title or plain
    phase = _PHASE.match(plain)
    return phase["number"] if phase else "", plain


def chapter_headings(outline: Outline) -> list[Heading]:
    """Return the numbered headings that have none inside of them."""
    title = title_heading(outline)
    found = [head for head in outline.headings if head != title and number_and_title(head.text)[0]]
    return [head for head in found if not any(head.line < other.line < head.end for other in found)]


def boxes_are_beside_chapters(outline: Outline) -> bool:
    """Whether there are several numbered headings, and every box is below another one."""
    found = chapter_headings(outline)
    return len(found) > 1 and not any(outline.boxes_in(chapter.line, chapter.end) for chapter in found)


def read_chapters(
    outline: Outline, unit: UnitKind, *, title: str = "", neighbours: tuple[str, ...] = ()
) -> Reading:
    """Return a unit for each numbered heading, or for each heading above them, in order."""
    chapters = chapter_headings(outline)
    parents = {chapter: _parent(outline, chapter) for chapter in chapters}
    by_group = unit is UnitKind.GROUP
    heads = list(dict.fromkeys((parents[chapter] if by_group else None) or chapter for chapter in chapters))
    ids = identify([number_and_title(head.text)[0] for head in heads])
    units = [
        _unit(outline, name, head, [each for each in chapters if head.line <= each.line < head.end], parents)
        for name, head in zip(ids, heads, strict=True)
    ]
    tops = [parents[chapter] or chapter for chapter in chapters]
    owned = {line for top in tops for line in range(top.line, top.end)}
    first = min(owned, default=len(outline.lines))
    free = [line for line in range(outline.front, len(outline.lines)) if line not in owned]
    return Reading(
        title=outline.title() or title,
        units=in_sequence(units),
        unit=unit,
        header=text_of(outline, [line for line in free if line < first]),
        footer=text_of(outline, [line for line in free if line > first]),
        neighbours=neighbours,
    )


def _parent(outline: Outline, chapter: Heading) -> Heading | None:
    title = title_heading(outline)
    found = outline.heading_above(chapter.line)
    return None if found == title else found


def _unit(
    outline: Outline,
    name: str,
    head: Heading,
    chapters: Sequence[Heading],
    parents: dict[Heading, Heading | None],
) -> Unit:
    lines = range(head.line + 1, head.end)
    parent = parents.get(head)
    covered = {line for each in parents if parents[each] == parent for line in range(each.line, each.end)}
    about = [line for line in range(parent.line + 1, parent.end) if line not in covered] if parent else []
    return Unit(
        id=name,
        title=number_and_title(head.text)[1],
        text=text_of(outline, lines),
        line=head.line + 1,
        items=tuple(Item(each.text, each.line + 1, says_done(each.text)) for each in chapters),
        group=number_and_title(parent.text)[1] if parent else "",
        group_text=text_of(outline, about),
        files=files_on(outline, lines),
    )
