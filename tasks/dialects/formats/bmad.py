"""Stories of BMAD: a file per story, with `## Tasks / Subtasks`."""

import re
from collections.abc import Iterator

from tasks.diagnostics import Report
from tasks.dialects.blocks.boxes import box_item
from tasks.dialects.dialect import Item, Reading, Unit, in_sequence
from tasks.dialects.outline import Heading, Outline
from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.source import Source
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.plan.marks import says_done, without_done

_TASKS = regex(r"(?i)\W*tasks(?:\s*/\s*sub-?tasks)?\W*$")
_STORY = regex(r"(?i)\W*(?:user\s+)?story\b")
_CRITERIA = regex(r"(?i)\W*acceptance\s+criteria\b")
_AC = regex(r"\(\s*ACs?\b\s*:?")
_NUMBER = regex(r"[0-9]+(?:[.-][0-9]+)*[a-z]?")
_TASK = regex(r"(?i)\W*task\s+[0-9]+")


@dataclass(frozen=True, slots=True)
class _Top:
    """A top item of a story; `line` and `end` (not included) are 0-based."""

    title: str
    line: int
    end: int
    done: bool


@dataclass(frozen=True)
class _Story:
    """A file. `tasks` is the heading of its tasks."""

    name: str
    outline: Outline
    tasks: Heading

    @property
    def title(self) -> str:
        return self.outline.title() or self.name

    @property
    def id(self) -> str:
        """The story's number, as its title or the name of its file says it."""
        title = re.sub(r"(?i)^\W*story\W*", "", self.outline.title())
        found = _NUMBER.match(title) or _NUMBER.search(self.name)
        return found[0].replace("-", ".") if found else "1"

    @property
    def items(self) -> list[_Top]:
        """The top boxes, or the headings `### Task N` above them."""
        start, end = self.tasks.line + 1, self.tasks.end
        headings = [
            each for each in self.outline.headings if start <= each.line < end and _TASK.match(each.text)
        ]
        if headings:
            return [self._of_heading(each) for each in headings]
        boxes = [box for box in self.outline.boxes_in(start, end) if box.parent is None]
        return [_Top(box.text, box.line, box.end, box_item(box).done) for box in boxes]

    def _of_heading(self, heading: Heading) -> _Top:
        boxes = self.outline.boxes_in(heading.line, heading.end)
        done = says_done(heading.text) or (bool(boxes) and all(box_item(box).done for box in boxes))
        return _Top(without_done(heading.text), heading.line, heading.end, done)

    @property
    def around(self) -> str:
        """What the story says around its tasks."""
        lines = self.outline.lines
        return "\n".join([*lines[self.outline.front : self.tasks.line], *lines[self.tasks.end :]]).strip()


class Bmad:
    """A story is a unit, or each of its top items is."""

    name = "bmad"

    def count(self, source: Source) -> int:
        """Return the number of top items."""
        return sum(len(story.items) for story in _stories(source))

    def read(self, source: Source, options: ReadOptions, report: Report) -> Reading:
        """Read a story, or a directory of them in the order of their numbers."""
        stories = sorted(_stories(source), key=_place)
        by_item = options.unit is UnitKind.ITEM
        units = [
            unit for story in stories for unit in (_item_units(story, stories) if by_item else [_unit(story)])
        ]
        for story in stories:
            _warn_of_status(story, report)
        return Reading(
            title=stories[0].title if len(stories) == 1 else "",
            units=in_sequence(units),
            unit=UnitKind.ITEM if by_item else UnitKind.GROUP,
        )


def _stories(source: Source) -> list[_Story]:
    texts: tuple[tuple[str, Outline], ...]
    if source.beside.files:
        texts = source.outlines
    elif source.is_json:
        texts = ()
    else:
        texts = ((source.parts[-1] if source.parts else "", source.outline),)
    return [story for name, found in texts if (story := _story(name, found))]


def _story(name: str, found: Outline) -> _Story | None:
    """Return the story that a file is; `None` if it has no list of tasks, or neither story nor criteria."""
    tasks = next((heading for heading in found.headings if _TASKS.match(heading.text)), None)
    if tasks is None:
        return None
    kinds = [any(kind.match(each.text) for each in found.headings) for kind in (_STORY, _CRITERIA)]
    named = any(_AC.search(box.text) for box in found.boxes_in(tasks.line, tasks.end))
    story = _Story(name, found, tasks)
    return story if all(kinds) or (named and any(kinds)) else None


def _place(story: _Story) -> tuple[list[int], str]:
    return [int(number) for number in re.findall(r"[0-9]+", story.id)], story.name


def _unit(story: _Story) -> Unit:
    found = story.outline
    return Unit(
        id=story.id,
        title=story.title,
        text=found.text(found.front, len(found.lines)),
        line=1,
        items=tuple(Item(top.title, top.line + 1, top.done) for top in story.items),
    )


def _item_units(story: _Story, stories: list[_Story]) -> Iterator[Unit]:
    for number, top in enumerate(story.items, 1):
        yield Unit(
            id=str(number) if len(stories) == 1 else f"{story.id}.{number}",
            title=top.title,
            text=story.outline.text(top.line, top.end),
            line=top.line + 1,
            items=(Item(top.title, top.line + 1, top.done),),
            group=story.title,
            group_text=story.around,
        )


def _warn_of_status(story: _Story, report: Report) -> None:
    """Warn of a story that says it is done while items of it are open: the items decide."""
    match = re.search(
        r"(?im)^(?:#+\s*status\s*:?\s*|\**status:?\**:?\s*)\n*\s*\**(done|completed?)\b",
        "\n".join(story.outline.lines),
    )
    if match and not all(top.done for top in story.items):
        line = "\n".join(story.outline.lines)[: match.start()].count("\n") + 1
        report.warning(
            line, 1, f"{story.name or story.id}: its status is {match[1]}, but items are open; they are run"
        )


DIALECT = Bmad()
