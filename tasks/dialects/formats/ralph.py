"""Ralph's `prd.json`: user stories by priority."""

import math
import re

from tasks.diagnostics import Report
from tasks.dialects.dialect import Item, Reading, Unit, in_sequence
from tasks.dialects.json_objects import Located, read_json
from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.source import Source
from tasks.lazy.patterns import regex
from tasks.model import Check

_STORIES = regex(r'"userStories"\s*:\s*\[')
_PASSES = regex(r'"passes"\s*:|"acceptanceCriteria"\s*:')
_READ = frozenset({"id", "title", "description", "acceptanceCriteria", "priority", "passes", "notes"})


class Ralph:
    """Each story is a unit; they run one after another by priority."""

    name = "ralph"

    def count(self, source: Source) -> int:
        """Return the number of stories."""
        if not source.is_json or not _STORIES.search(source.text):
            return 0
        return max(1, len(re.findall(r'"title"\s*:', source.text)))

    def read(self, source: Source, _options: ReadOptions, report: Report) -> Reading:
        """Read the stories."""
        content = read_json(source.text, report)
        stories = content.objects("userStories")
        ordered = sorted(enumerate(stories, 1), key=lambda numbered: _priority(numbered[1]))
        return Reading(
            title=content.text("title") or content.text("description") or content.text("project"),
            units=in_sequence(_unit(story, number) for number, story in ordered),
            unit=UnitKind.ITEM,
            header=_header(content),
        )


def _priority(story: Located) -> float:
    try:
        return float(story.text("priority"))
    except ValueError:
        return math.inf


def _header(content: Located) -> str:
    parts = [f"{key}: {content.text(key)}" for key in content if key not in {"userStories", "branchName"}]
    return "\n\n".join(parts)


def _unit(story: Located, number: int) -> Unit:
    title, name = story.text("title"), story.text("id") or str(number)
    others = [f"{key}: {story.text(key)}" for key in story if key not in _READ and story.text(key)]
    texts = [story.text("description"), story.text("notes"), *others]
    criteria = story.get("acceptanceCriteria")
    return Unit(
        id=name,
        title=title,
        text="\n\n".join(text for text in texts if text),
        line=story.line,
        column=story.column,
        items=(Item(title, story.line, story.get("passes") is True, column=story.column),),
        checks=tuple(Check(str(text), None, story.line) for text in criteria if str(text).strip())
        if isinstance(criteria, list)
        else (),
    )


DIALECT = Ralph()
