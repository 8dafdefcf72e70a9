"""Plans of HumanLayer: phases with criteria that are verified by commands and by a person."""

from collections.abc import Iterator

from tasks.diagnostics import Report
from tasks.dialects.blocks.boxes import is_done
from tasks.dialects.dialect import Item, Reading, Unit, in_sequence
from tasks.dialects.outline import Box, Heading, Outline
from tasks.dialects.prose.commands import check_of, leaves_repository, spans_that_run
from tasks.dialects.prose.verification import never_ends
from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.source import Source
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.plan.marks import says_done, without_done

_PHASE = regex(r"(?i)(?:✅\s*)?phase\s+(?P<number>[0-9]+(?:\.[0-9]+)*[a-z]?)\b")
_LABEL = regex(
    r"(?i)\s*(?:#{1,6}\s+|[-*+]\s+)?(?:\*\*)?(?P<word>automated|manual)\s+(?:verification|testing|checks?)\b"
)
_CRITERIA = regex(
    r"(?im)^[ \t]*#{1,6}[ \t]+\W*success[ \t]+criteria"
    r"|^[^\w\n]*(?:[0-9]+[.)][ \t]+)?[^\w\n]*(?:automated|manual)[ \t]+verification\b"
)
_ITEM = regex(r"\s*(?:[-*+]|[0-9]+[.)])\s+(?:\[[ xX]?\]\s*)?(?P<text>.*)")
_IF = regex(r"(?i)\(\s*if\b|\bif\s+(?:any|applicable|available|present)\b")


@dataclass(frozen=True, slots=True)
class _Criteria:
    """The criteria of a phase: line (0-based) and text of each, by how it is verified."""

    automated: list[tuple[int, str]]
    manual: list[tuple[int, str]]


class Humanlayer:
    """Each phase is a unit; they run one after another."""

    name = "humanlayer"

    def count(self, source: Source) -> int:
        """Return the number of phases, if one of them has criteria."""
        phases = [] if source.is_json or not _CRITERIA.search(source.text) else _phases(source.outline)
        texts = (source.outline.text(phase.line, phase.end) for phase in phases)
        return len(phases) if any(_CRITERIA.search(text) for text in texts) else 0

    def read(self, source: Source, _options: ReadOptions, _report: Report) -> Reading:
        """Read the phases."""
        outline = source.outline
        phases = _phases(outline)
        first, last = phases[0].line if phases else 0, phases[-1].end if phases else 0
        return Reading(
            title=outline.title(),
            units=in_sequence(_unit(outline, phase) for phase in phases),
            unit=UnitKind.ITEM,
            header=outline.text(outline.front, first),
            footer=outline.text(last, len(outline.lines)),
        )


def _phases(outline: Outline) -> list[Heading]:
    """Return the headings of phases, of the highest level that has any below the title."""
    named = [found for found in outline.headings if _PHASE.match(found.text.strip("*# "))]
    levels = sorted({found.level for found in named}, key=lambda level: (level == 1, level))
    return [found for found in named if found.level == levels[0]]


def _unit(outline: Outline, phase: Heading) -> Unit:
    criteria = _criteria(outline, phase)
    number = _PHASE.match(phase.text.strip("*# "))
    boxes = {box.line: box for box in outline.boxes_in(phase.line, phase.end)}
    commands = [(line, command) for line, text in criteria.automated for command in _commands(text)]
    title = without_done(phase.text)
    return Unit(
        id=number["number"] if number else str(phase.line + 1),
        title=title,
        text=outline.text(phase.line + 1, phase.end),
        line=phase.line + 1,
        items=(Item(title, phase.line + 1, says_done(phase.text) or _all_ticked(criteria, boxes)),),
        checks=tuple(check_of(command, line + 1) for line, command in commands),
        manual=tuple(text for _, text in criteria.manual),
    )


def _all_ticked(criteria: _Criteria, boxes: dict[int, Box]) -> bool:
    own = [boxes[line] for line, _ in criteria.automated if line in boxes]
    if not (criteria.automated or criteria.manual):
        own = list(boxes.values())  # criteria without a word on how they are verified
    return bool(own) and all(map(is_done, own))


def _criteria(outline: Outline, phase: Heading) -> _Criteria:
    """Return what is listed below `Automated Verification` and `Manual Verification`."""
    found: dict[str, list[tuple[int, str]]] = {"automated": [], "manual": []}
    headings = {heading.line for heading in outline.headings}
    inside = {line for start, end, _ in outline.code for line in range(start, end)}
    word = ""
    for line in range(phase.line + 1, phase.end):
        text = outline.lines[line]
        if line in inside:
            continue
        if label := _LABEL.match(text):
            word = label["word"].lower()
        elif line in headings or (text.startswith("**") and text.rstrip().rstrip(":").endswith("**")):
            word = ""
        elif word and (item := _ITEM.match(text)) and item["text"].strip():
            found[word].append((line, item["text"].strip()))
    return _Criteria(found["automated"], found["manual"])


def _commands(text: str) -> Iterator[str]:
    if _IF.search(text):
        return
    for command in spans_that_run(text):
        if not leaves_repository(command) and not never_ends(command):
            yield command


DIALECT = Humanlayer()
