"""Plans of GSD: a phase is a directory of `*-PLAN.md` files, each with a list of tasks in tags."""

import re
from collections.abc import Collection, Iterator
from functools import cached_property
from itertools import pairwise
from math import isnan
from typing import Any

from tasks.diagnostics import Report, quoted
from tasks.dialects.dialect import Item, Reading, Unit
from tasks.dialects.prose.commands import check_of, leaves_repository, passing_command
from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.source import Source
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.model import Check, DeclaredFile, FileAction

SUFFIX = "PLAN.md"
SUMMARY = "SUMMARY.md"

_FRONT = regex(r"---[ \t]*\n(?P<front>(?:.*\n)*?)---[ \t]*(?:\n|$)")
_TASKS = regex(r"(?ms)^[ \t]*<tasks>(?P<body>.*)^[ \t]*</tasks>")
_TASK = regex(r"(?ms)^[ \t]*<task\b(?P<attributes>[^>\n]*)>(?P<body>.*?)(?:^[ \t]*</task>|</task>[ \t]*$)")
_NAME = regex(r"(?:(?P<phase>[0-9]+(?:\.[0-9]+)*)-)?(?P<plan>[0-9]+(?:\.[0-9]+)*)(?:-.*)?$")
_CONTEXT = regex(r"(?m)^[ \t]*(?:[-*][ \t]+)?@(?P<path>[^\s`]+)")
_LIST_MARK = regex(r"^\s*(?:[-*+]|[0-9]+[.)])\s+")


@dataclass(frozen=True)
class _Task:
    """A task of a file: its text, and its line (1-based)."""

    body: str
    line: int

    def tag(self, name: str) -> str:
        """Return what is in a tag, or nothing."""
        found = re.search(rf"(?s)<{name}\b[^>]*>(.*?)</{name}>", self.body)
        return found[1].strip() if found else ""

    @property
    def title(self) -> str:
        return re.sub(r"^Task\s+[0-9.]+\s*[:.–-]\s*", "", self.tag("name"))  # noqa: RUF001 - the dashes that people type

    @property
    def files(self) -> tuple[DeclaredFile, ...]:
        return tuple(_files(re.split(r"[\n,]", self.tag("files")), self.line))

    @property
    def checks(self) -> Iterator[Check]:
        """Yield the commands of `<automated>`, and the lines of `<verify>` that only are a command."""
        automated = re.findall(r"(?s)<automated>(.*?)</automated>", self.body)
        commands = [command.strip().strip("`").strip() for command in automated]
        if not commands:
            lines = self.tag("verify").split("\n")
            commands = [command for line in lines if (command := passing_command(_LIST_MARK.sub("", line)))]
        for command in commands:
            if command and not command.upper().startswith("MISSING") and not leaves_repository(command):
                yield check_of(command, self.line)


@dataclass(frozen=True)
class _File:
    """A `*-PLAN.md` file."""

    name: str
    text: str
    done: bool = False

    @cached_property
    def front(self) -> dict[str, Any]:
        """The front matter. Every value is a text: a number would lose the zeros of `01` and `02.10`."""
        import yaml  # noqa: PLC0415 - keeps the start of the command line quick

        found = _FRONT.match(self.text)
        try:
            values = yaml.load(found["front"], Loader=yaml.BaseLoader) if found else None  # noqa: S506 - texts only
        except (yaml.YAMLError, RecursionError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def list_of(self, key: str) -> list[str]:
        """Return a list of texts of the front matter; one text is a list of one."""
        value = self.front.get(key) or []
        values = value if isinstance(value, list) else re.split(r"[,\s]+", str(value).strip("[]"))
        return [str(each).strip() for each in values if str(each).strip()]

    @cached_property
    def tasks(self) -> list[_Task]:
        found = _TASKS.search(self.text)
        start = found.start("body") if found else 0
        matches = _TASK.finditer(self.text, start, found.end("body")) if found else ()
        return [_Task(match["body"], self.text.count("\n", 0, match.start()) + 1) for match in matches]

    @cached_property
    def numbers(self) -> tuple[str, str]:
        """The numbers of the phase and of the plan, without zeros at their beginning."""
        found = _NAME.match(self.stem)
        phase = (found and found["phase"]) or self._front_number("phase")
        plan = (found and found["plan"]) or self._front_number("plan") or "1"
        return _plain(phase or ""), _plain(plan)

    def _front_number(self, key: str) -> str:
        found = re.match(r"[0-9.]+", str(self.front.get(key, "")))
        return found[0] if found else ""

    @property
    def stem(self) -> str:
        return re.sub(r"(?i)-?PLAN\.md$", "", self.name)

    @property
    def id(self) -> str:
        found = _NAME.match(self.stem)
        if not found:
            return str(self.front.get("plan") or self.stem or "1")
        return f"{found['phase']}-{found['plan']}" if found["phase"] else found["plan"]

    @cached_property
    def wave(self) -> float:
        try:
            return float(str(self.front.get("wave", 1)))
        except ValueError:
            return 1.0

    @property
    def title(self) -> str:
        found = re.search(r"(?s)<objective>\s*(.*?)\s*(?:\n|</objective>)", self.text)
        return found[1] if found and found[1] else self.stem

    @property
    def body(self) -> str:
        """The text without the front matter."""
        found = _FRONT.match(self.text)
        return self.text[found.end() :] if found else self.text

    @property
    def about(self) -> str:
        """What the file says around its tasks, its front matter included."""
        return re.sub(r"\n{3,}", "\n\n", _TASKS.sub("", self.text)).strip()


class _Names:
    """The files by what `depends_on` may call them: `12-01`, `01`, `1`, `12.1`, or the file's name."""

    def __init__(self, files: list[_File]) -> None:
        self._files = files
        self._by_stem: dict[str, list[int]] = {}
        self._by_numbers: dict[tuple[str, str], list[int]] = {}
        self._by_plan: dict[str, list[int]] = {}
        for at, file in enumerate(files):
            phase, plan = file.numbers
            self._by_stem.setdefault(file.stem, []).append(at)
            self._by_numbers.setdefault((phase, plan), []).append(at)
            for name in (plan, f"{phase}.{plan}"):
                self._by_plan.setdefault(name, []).append(at)

    def find(self, name: str) -> list[_File]:
        """Return the files that a name may mean, in order."""
        name = re.sub(r"(?i)-?PLAN(?:\.md)?$", "", name.strip().strip("\"'"))
        places = {*self._by_stem.get(name, ())}
        if found := _NAME.match(name):
            phase, plan = _plain(found["phase"] or ""), _plain(found["plan"])
            has_words = re.search(r"-[A-Za-z]", name) is not None
            if phase or not has_words:
                places.update(self._by_numbers.get((phase, plan), ()))
            if not phase and not has_words:
                places.update(self._by_plan.get(plan, ()))
        return [self._files[at] for at in sorted(places)]


def _plain(number: str) -> str:
    """Return a number without zeros at the beginning of its parts."""
    return ".".join(part.lstrip("0") or "0" for part in number.split(".")) if number else ""


def _files(paths: list[str], line: int) -> Iterator[DeclaredFile]:
    for path in paths:
        plain = re.sub(r"\s+\(.*|^[-*]\s+|:[0-9]+(?:-[0-9]+)?$", "", path.strip()).strip("` ")
        if plain and " " not in plain:
            yield DeclaredFile(FileAction.MODIFY, plain, line)


class Gsd:
    """A file is a unit, or each of its tasks is."""

    name = "gsd"

    def count(self, source: Source) -> int:
        """Return the number of tasks."""
        return sum(len(file.tasks) for file in _plan_files(source))

    def read(self, source: Source, options: ReadOptions, report: Report) -> Reading:
        """Read a directory of plans, or one plan."""
        files = _plan_files(source)
        requires = _requires(files, report)
        by_item = options.unit is UnitKind.ITEM
        units = (
            _item_units(files, requires) if by_item else (_file_unit(file, requires[file.id]) for file in files)
        )
        context = "\n".join(
            found for file in files for found in re.findall(r"(?s)<context>(.*?)</context>", file.text)
        )
        paths = dict.fromkeys(found["path"].removeprefix("./") for found in _CONTEXT.finditer(context))
        phase = next((str(file.front["phase"]) for file in files if file.front.get("phase")), "")
        return Reading(
            title=f"Phase {phase}" if phase else "",
            units=tuple(units),
            unit=UnitKind.ITEM if by_item else UnitKind.GROUP,
            neighbours=tuple(f"/{path}" for path in paths if not path.startswith(("~", "/", "$"))),
        )


def _plan_files(source: Source) -> list[_File]:
    """Return the plans of a source, each with whether a summary says that it is done."""
    if source.beside.files:
        named = [(name, text) for name, text in source.beside.files if name.endswith(SUFFIX)]
    elif source.is_json or "<task" not in source.text or not _FRONT.match(source.text):
        named = []
    else:
        named = [(source.parts[-1] if source.parts else "", source.text)]
    summaries = (name for name in source.beside.names if name.endswith(SUMMARY))
    done = {numbers for name in summaries if name != f"PHASE-{SUMMARY}" and (numbers := _summarised(name))}
    files = [_File(name, text, _is_summarised(name, done)) for name, text in named]
    return [file for file in files if file.tasks]


def _summarised(summary: str) -> tuple[str, str] | None:
    """Return the numbers of the phase and of the plan that a summary is of, by its name."""
    found = _NAME.match(re.sub(r"-?SUMMARY\.md$", "", summary))
    return (_plain(found["phase"] or ""), _plain(found["plan"])) if found else None


def _is_summarised(name: str, done: Collection[tuple[str, str]]) -> bool:
    """Whether there is a summary of a plan: `01-02-SUMMARY.md` is that of `01-02-some-words-PLAN.md`."""
    found = _NAME.match(re.sub(r"-?PLAN\.md$", "", name))
    if not found:
        return False
    phase, plan = _plain(found["phase"] or ""), _plain(found["plan"])
    return (phase, plan) in done or (phase.split(".")[0], plan) in done


def _requires(files: list[_File], report: Report) -> dict[str, list[_File]]:
    """Return the files that each waits for: those that it names, else all of the wave before."""
    names = _Names(files)
    in_wave: dict[float, list[_File]] = {}
    for file in files:
        if not isnan(file.wave):
            in_wave.setdefault(file.wave, []).append(file)
    before = {later: in_wave[earlier] for earlier, later in pairwise(sorted(in_wave))}
    return {file.id: _named(file, names, report) or before.get(file.wave, []) for file in files}


def _named(file: _File, names: _Names, report: Report) -> list[_File]:
    """Return the files that `depends_on` of one names."""
    named: list[_File] = []
    for name in file.list_of("depends_on"):
        found = [other for other in names.find(name) if other is not file]
        named += found
        if not found:
            report.warning(
                1, 1, f"{file.name}: `depends_on` names {quoted(name)}, which this phase does not have"
            )
    return named


def _file_unit(file: _File, requires: list[_File]) -> Unit:
    return Unit(
        id=file.id,
        title=file.title,
        text=file.text.strip(),
        line=1,
        items=tuple(Item(task.title, task.line, file.done) for task in file.tasks),
        requires=tuple(other.id for other in requires),
        files=tuple(_files(file.list_of("files_modified"), 1)),
        checks=tuple(check for task in file.tasks for check in task.checks),
    )


def _item_units(files: list[_File], requires: dict[str, list[_File]]) -> Iterator[Unit]:
    for file in files:
        ids = [f"{file.id}.{number}" for number in range(1, len(file.tasks) + 1)]
        before = dict(pairwise(ids))
        waits = {later: (earlier,) for earlier, later in before.items()}
        first = tuple(f"{other.id}.{len(other.tasks)}" for other in requires[file.id])
        for name, task in zip(ids, file.tasks, strict=True):
            yield Unit(
                id=name,
                title=task.title,
                text=task.body.strip("\n").rstrip(),
                line=task.line,
                items=(Item(task.title, task.line, file.done),),
                requires=waits.get(name, first),
                group=file.title,
                group_text=file.about,
                files=task.files,
                checks=tuple(task.checks),
            )


DIALECT = Gsd()
