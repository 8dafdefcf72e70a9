"""What is where around boxes: sections, their own text, and the text of each box."""

from collections.abc import Callable, Collection, Iterable, Sequence

from tasks.dialects.blocks.boxes import is_done
from tasks.dialects.dialect import each_once
from tasks.dialects.outline import Box, Heading, Outline
from tasks.dialects.prose.declared import declared_files
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.model import DeclaredFile

_FILE = regex(r"(?i)files?\b|\*\*(?:create|modify|delete|test)|文件|archivo|arquivo|ファイル")

Above = Callable[[Box], Heading | None]


@dataclass(frozen=True, slots=True)
class Section:
    """The boxes that belong to one heading, or to none.

    `lines` (0-based) are its own: not its heading, and nothing of a section inside of it. `parents` are the
    headings above it that hold sections, the outermost first.
    """

    heading: Heading | None
    boxes: tuple[Box, ...]
    lines: tuple[int, ...]
    parents: tuple[Heading, ...]

    @property
    def line(self) -> int:
        """The line (0-based) with which it begins."""
        return self.heading.line if self.heading else self.boxes[0].line


@dataclass(frozen=True, slots=True)
class Layout:
    """Sections in order; `own` are the lines of each heading that holds sections, by the heading's line.

    `header` is what comes before the first, `footer` what belongs to none of them.
    """

    sections: tuple[Section, ...]
    own: dict[int, tuple[int, ...]]
    header: str
    footer: str


def title_heading(outline: Outline) -> Heading | None:
    """Return the heading of the whole text: the first one, if it is the only one of level 1."""
    first = next(iter(outline.headings), None)
    alone = sum(heading.level == 1 for heading in outline.headings) == 1
    return first if first and first.level == 1 and alone else None


def nearest(outline: Outline) -> Above:
    """Return what finds the nearest heading above a box; the title of the text is none."""
    title = title_heading(outline)

    def above(box: Box) -> Heading | None:
        found = outline.heading_above(box.line)
        return None if found == title else found

    return above


def layout(outline: Outline, boxes: Sequence[Box], above: Above, *, without: Collection[Box] = ()) -> Layout:
    """Return the sections of boxes, without the lines of boxes that are left out."""
    groups: dict[Heading | None, list[Box]] = {}
    for box in boxes:
        groups.setdefault(above(box), []).append(box)
    headings = [heading for heading in groups if heading]
    title = title_heading(outline)
    holders = [
        heading
        for heading in outline.headings
        if heading != title and any(heading.line <= found.line < heading.end for found in headings)
    ]
    owners = _owners(outline, holders, groups.get(None, ()))
    skipped = {line for box in without for line in range(box.line, box.end)}
    own: dict[int | None, list[int]] = {}
    for line, owner in enumerate(owners):
        if line not in skipped:
            own.setdefault(owner, []).append(line)
    sections = tuple(
        Section(
            heading,
            tuple(found),
            tuple(own.get(heading.line if heading else _LOOSE, ())[1 if heading else 0 :]),
            tuple(h for h in holders if heading and h.line < heading.line < h.end),
        )
        for heading, found in groups.items()
    )
    first = next((line for line, owner in enumerate(owners) if owner is not None), len(owners))
    free = [line for line in own.get(None, ()) if line >= outline.front]
    return Layout(
        sections,
        {heading.line: tuple(own[heading.line][1:]) for heading in holders},
        text_of(outline, [line for line in free if line < first]),
        text_of(outline, [line for line in free if line > first]),
    )


_LOOSE = -1


def _owners(outline: Outline, holders: Iterable[Heading], loose: Iterable[Box]) -> list[int | None]:
    """Return, for each line, the line of the innermost of some headings above it."""
    owners: list[int | None] = [None] * len(outline.lines)
    for heading in holders:
        owners[heading.line : heading.end] = [heading.line] * (heading.end - heading.line)
    breaks = sorted(heading.line for heading in outline.headings)
    for box in loose:
        if owners[box.line] == _LOOSE:
            continue
        end = next((line for line in breaks if line > box.line), len(owners))
        for line in range(box.line, end):
            owners[line] = _LOOSE if owners[line] is None else owners[line]
    return owners


def files_on(outline: Outline, lines: Sequence[int]) -> tuple[DeclaredFile, ...]:
    """Return the files that some lines declare, each once."""
    if not any(_FILE.search(outline.lines[line]) for line in lines):
        return ()
    return each_once(file for run in _runs(lines) for file in declared_files(outline, run[0], run[-1] + 1))


def text_of(outline: Outline, lines: Sequence[int]) -> str:
    """Return lines as they are, without rules and empty lines at the ends of each run of them."""
    return "\n\n".join(filter(None, (_run(outline, run) for run in _runs(lines))))


def _runs(lines: Sequence[int]) -> list[list[int]]:
    """Return lines in runs of consecutive ones."""
    runs: list[list[int]] = []
    for line in lines:
        if runs and runs[-1][-1] == line - 1:
            runs[-1].append(line)
        else:
            runs.append([line])
    return runs


def _run(outline: Outline, run: list[int]) -> str:
    start, end = 0, len(run)
    while start < end and _is_empty(outline, run[start]):
        start += 1
    while start < end and _is_empty(outline, run[end - 1]):
        end -= 1
    return outline.text(run[start], run[end - 1] + 1) if start < end else ""


def _is_empty(outline: Outline, line: int) -> bool:
    return line in outline.rules or not outline.lines[line].strip()


def divided(
    outline: Outline, lines: Sequence[int], boxes: Sequence[Box]
) -> tuple[dict[Box, list[int]], list[int]]:
    """Return the lines of each box, and those that belong to none of them.

    A fence after a box belongs to it, as does what is written between it and the next box, unless it introduces
    that one; a heading or a rule ends it.
    """
    stops = {heading.line for heading in outline.headings} | outline.rules
    fences = {start for start, _, _ in outline.code}
    owned: dict[Box, list[int]] = {box: [] for box in boxes}
    rest: list[int] = []
    order = sorted(boxes, key=lambda box: box.line)
    at = -1
    tail: list[int] = []
    is_open = False

    def close(*, before_box: bool) -> None:
        if at >= 0 and _belongs(outline, order[at], tail, fences, before_box=before_box and is_open):
            owned[order[at]].extend(tail)
        else:
            rest.extend(tail)
        tail.clear()

    for line in lines:
        if at + 1 < len(order) and line >= order[at + 1].line:
            close(before_box=True)
            at, is_open = at + 1, True
        if line in stops and not (at >= 0 and line < order[at].end):
            close(before_box=False)
            is_open = False
        if at >= 0 and line < order[at].end:
            owned[order[at]].append(line)
        elif is_open:
            tail.append(line)
        else:
            rest.append(line)
    close(before_box=False)
    return owned, sorted(rest)


def _belongs(
    outline: Outline, box: Box, tail: Sequence[int], fences: Collection[int], *, before_box: bool
) -> bool:
    """Whether the lines after a box belong to it."""
    written = [line for line in tail if not _is_empty(outline, line)]
    if not written:
        return True
    if written[0] in fences:
        return True
    last = outline.lines[written[-1]].strip()
    is_label = last.endswith((":", "：", ":**")) or (last.startswith("**") and last.endswith("**"))  # noqa: RUF001
    return before_box and not is_done(box) and not is_label
