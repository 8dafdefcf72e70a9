"""Phases of a plan that are for user stories, and which of them wait for which."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from tasks.diagnostics import Report
from tasks.dialects.outline import Heading, Outline
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex

_STORY = (
    r"(?:user\s+stor(?:y|ies)|(?<![A-Za-z])US(?=[\s#-]*[0-9])|hist[oó]rias?\s+(?:de\s+)?usu[aá]rio"
    r"|用户故事|使用者故事|ユーザーストーリー|사용자\s*스토리)"
)
_PHASE = r"(?:phases?|fases?|etapas?|阶段|階段|フェーズ|단계)"
_JOIN = r"\s*(?:,\s*(?:and\b)?|\+|&|/|and\b|y\b|e\b|和|、|[-–]|to\b|through\b)\s*"  # noqa: RUF001 - what people type
_STORIES = regex(rf"(?i){_STORY}[\s#-]*(?P<chain>[0-9]+(?:{_JOIN}(?:{_STORY}[\s#-]*)?[0-9]+)*)")
_PHASES = regex(rf"(?i)(?<![\w]){_PHASE}\s*(?P<chain>[0-9]+(?:\.[0-9]+)*(?:{_JOIN}(?:{_PHASE}\s*)?[0-9]+)*)")
_RANGE = regex(
    rf"(?i)([0-9]+(?:\.[0-9]+)*)(?:\s*(?:[-–]|to|through)\s*(?:{_STORY}|{_PHASE})?\s*([0-9]+))?"  # noqa: RUF001 - likewise
)
_NUMBERED = regex(rf"^\W*(?i:{_PHASE})\s*(?P<number>[0-9]+(?:\.[0-9]+)*[a-z]?|[A-Z][0-9]*)?(?!\w)")
_TITLE = regex(rf"(?i)^\W*(?:P[0-9]\W+)?{_STORY}")
_DEPENDS = regex(
    r"(?i)\b(?:(?:depend(?:s|ent)?|builds?|relies|rely)\s+(?:up)?on|depends:|blocked\s+by|requires?|needs|after"
    r"|dependem?\s+d[aeo]s?|depend(?:e|en)\s+de|dépend(?:ent)?\s+d[eu]|hängt\s+ab\s+von|após|después\s+de)\b"
    r"|依赖|依賴|依存"
)
_WEAK = regex(r"(?i)(?:after|após|requires?|needs|después\s+de)$")
_NOT = regex(r"(?i)(?:\bnot|n't|\bno\s+longer|\bnever|\bnão|\bno|不)\s*$")
_STOP = regex(
    r"(?i)\bblocks?\b|\bcan\b|\bmay\b|\bmight\b|\bshould\b|\bpode\b|\bin\s+parallel|\bem\s+paralelo|\bindependent|\bbut\b|\bnot\b"
    r"|\bthen\b|\bwithout\b|\bno\s|;|\.\s"
)
_ALL_BEFORE = regex(
    r"(?i)\ball\s+(?:(?:of\s+)?the\s+)?(?:(?:previous|prior|preceding|earlier|other)\s+(?:\w+\s+)?(?:phases|stories)|user\s+stories)"
)
_CHOICE = regex(
    r"(?i)parallel|priorit|recommend|suggest|mvp|incremental|sequential|optional|\bor\b|\bif\b|strategy|team|critical"
)
_ARROW = regex(r"\s*(?:→|⟶|-+>|=+>)\s*")


def phase_number(title: str) -> str | None:
    """Return the number of a phase's title, an empty text where it has none, `None` for other titles."""
    found = _NUMBERED.match(title)
    return (found["number"] or "") if found else None


def stories_in(text: str) -> list[str]:
    """Return the numbers of the stories that a text names, as `US1`, `User Stories 3+4` or `US2-US5`."""
    return [number for found in _STORIES.finditer(text) for number in _numbers(found["chain"])]


def _numbers(chain: str) -> Iterator[str]:
    for first, last in _RANGE.findall(chain):
        plain = first.lstrip("0") or "0"
        yield plain
        if last and plain.isdecimal() and int(plain) < int(last) < int(plain) + 100:
            yield from map(str, range(int(plain) + 1, int(last) + 1))


@dataclass(frozen=True, slots=True)
class Phase:
    """A group of items: its heading, if any, the stories of each of its items, and its lines (0-based)."""

    heading: Heading | None
    tags: tuple[frozenset[str], ...]
    start: int
    end: int

    @property
    def number(self) -> str | None:
        """The number that its heading gives."""
        return (phase_number(self.heading.text) or None) if self.heading else None

    @property
    def is_story(self) -> bool:
        """Whether its title begins with a story, or every item is tagged with the same one."""
        return bool(_TITLE.match(self._title)) or len(self._tagged) == 1

    @property
    def stories(self) -> frozenset[str]:
        """The numbers of the stories that it is for."""
        if not self.is_story:
            return frozenset()
        found = _STORIES.search(self._title) if _TITLE.match(self._title) else None
        return frozenset(_numbers(found["chain"])) if found else frozenset().union(*self.tags)

    @property
    def _title(self) -> str:
        return _NUMBERED.sub("", self.heading.text, count=1) if self.heading else ""

    @property
    def _tagged(self) -> frozenset[str]:
        own = set(self.tags)
        return next(iter(own)) if len(own) == 1 else frozenset()


def order_of(outline: Outline, phases: Sequence[Phase], report: Report) -> list[tuple[int, ...]]:
    """Return the phases, by place, that each waits for: neighbouring stories run side by side."""
    waits: list[tuple[int, ...]] = []
    run: tuple[int, ...] = ()  # the stories side by side, or the one phase, that end above
    foundation: tuple[int, ...] = ()
    for at, phase in enumerate(phases):
        if phase.is_story and run and all(phases[other].is_story for other in run):
            run = (*run, at)
        else:
            foundation, run = run, (at,)
        waits.append(foundation)
    for line, at, other in _named(outline, phases):
        if at in _reached(waits, other):
            what = (
                f"phase {phases[at].number or at + 1} cannot wait for phase {phases[other].number or other + 1}"
            )
            report.warning(line + 1, 1, f"{what}, which waits for it; correct the line, or it stays text")
        elif other != at and other not in _reached(waits, at):
            waits[at] = (*waits[at], other)
    return [_direct(waits, at) if phase.is_story else waits[at] for at, phase in enumerate(phases)]


def _reached(waits: Sequence[tuple[int, ...]], start: int) -> set[int]:
    """Return all that a phase waits for, through others."""
    found: set[int] = set()
    todo = list(waits[start])
    while todo:
        if (at := todo.pop()) not in found:
            found.add(at)
            todo.extend(waits[at])
    return found


def _direct(waits: Sequence[tuple[int, ...]], at: int) -> tuple[int, ...]:
    """Return what a phase waits for, without what is waited for by that."""
    through = set().union(*(_reached(waits, other) for other in waits[at]))
    return tuple(sorted(other for other in waits[at] if other not in through))


def _named(outline: Outline, phases: Sequence[Phase]) -> Iterator[tuple[int, int, int]]:
    """Yield lines (0-based) that say what depends on what, with the places of both phases."""
    places = _Places(phases)
    own = {phase.heading for phase in phases}
    for heading in outline.headings:
        if not _is_about(heading) or heading in own:
            continue
        if not any(map(_is_about, outline.holding(heading.line))):
            yield from _in_section(outline, heading, places)
            yield from _in_tables(outline, heading, places)
    for at, phase in enumerate(phases):
        for line, text in outline.prose(phase.start, phase.end):
            if found := re.match(r"(?i)\W*(?:depends\s+on|dependenc(?:y|ies))\b(?P<what>.*)", text):
                yield from ((line, at, other) for other in places.named(found["what"], at))


def _is_about(heading: Heading) -> bool:
    return bool(re.search(r"(?i)dep[eê]nd[eê]nc|依赖|依賴|依存", heading.text))


def _in_section(outline: Outline, heading: Heading, places: "_Places") -> Iterator[tuple[int, int, int]]:
    """Yield what the lines below a heading say; "depends on" alone is about the last subject."""
    subjects: list[int] = []
    for line, text in enumerate(outline.lines[heading.line + 1 : heading.end], heading.line + 1):
        if text.lstrip().startswith("|"):
            continue
        yield from ((line, at, other) for at, other in places.chained(text))
        said = _DEPENDS.search(text)
        before = text[: said.start()] if said else text
        if not said or re.search(r"\w", before):
            subjects = places.subjects(before)
        elif _WEAK.search(said[0]):
            continue
        if said and not _NOT.search(before):
            for at in subjects:
                yield from ((line, at, other) for other in places.named(text[said.end() :], at))


def _in_tables(outline: Outline, heading: Heading, places: "_Places") -> Iterator[tuple[int, int, int]]:
    """Yield what the tables below a heading say, in a column about dependencies."""
    column: int | None = None
    for line, text in enumerate(outline.lines[heading.line + 1 : heading.end], heading.line + 1):
        if not text.lstrip().startswith("|"):
            column = None
            continue
        cells = text.strip().strip("|").split("|")
        if column is None:
            column = next((at for at, cell in enumerate(cells) if re.search(r"(?i)depend", cell)), None)
        elif column < len(cells):
            for at in places.subjects(cells[0]):
                yield from ((line, at, other) for other in places.named(cells[column], at))


class _Places:
    """Where the phases are that a text names."""

    def __init__(self, phases: Sequence[Phase]) -> None:
        self._stories: Mapping[str, int] = {
            story: at for at, phase in reversed(list(enumerate(phases))) for story in phase.stories
        }
        self._phases: Mapping[str, int] = {
            phase.number: at for at, phase in reversed(list(enumerate(phases))) if phase.number
        }

    def subjects(self, text: str) -> list[int]:
        """Return the phases that a line is about: those of its stories, else those that it names."""
        return self._of_stories(text) or self._of_phases(text)

    def named(self, text: str, at: int) -> list[int]:
        """Return the phases that a phase depends on; remarks and second sentences do not count."""
        plain = re.sub(r"\([^()]*\)|[*`\[\]]", " ", text)
        plain = _STOP.split(plain, maxsplit=1)[0]
        before = list(range(at)) if _ALL_BEFORE.search(plain) else []
        return [other for other in (*self._of_stories(plain), *self._of_phases(plain), *before) if other != at]

    def chained(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield what waits for what in a line such as `US1 → US2 → US3`, unless it is about a choice."""
        parts = [] if _CHOICE.search(text) else [self._of_stories(part) for part in _ARROW.split(text)]
        for before, after in pairwise(parts):
            yield from ((at, other) for at in after for other in before if at != other)

    def _of_stories(self, text: str) -> list[int]:
        return list(dict.fromkeys(self._stories[name] for name in stories_in(text) if name in self._stories))

    def _of_phases(self, text: str) -> list[int]:
        chains = (found["chain"] for found in _PHASES.finditer(text))
        numbers = (number for chain in chains for number in _numbers(chain))
        return list(dict.fromkeys(self._phases[name] for name in numbers if name in self._phases))
