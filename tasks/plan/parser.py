"""Parse a plan, with diagnostics that have line and column."""

import re
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import replace
from hashlib import sha256
from pathlib import PurePath

from tasks.diagnostics import Diagnostic, PlanError, Report, Severity
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.model import Plan
from tasks.plan.blocks import parse_blocks
from tasks.plan.checks import checked_batches
from tasks.plan.fields import FieldReader
from tasks.plan.front_matter import FrontMatter, read_front_matter
from tasks.plan.loose import find_loose_fields
from tasks.plan.outside import assign_groups, footer, header
from tasks.plan.sections import split_sections
from tasks.plan.tasks import SectionReader

__all__ = ["Diagnostic", "Parsed", "PlanError", "Severity", "decoded", "parse", "slug", "with_digest"]

MAX_BYTES = 16 * 1024 * 1024
"""A larger plan, in bytes, is not read."""

_SLUG = 50
_DIGEST = 6
_SURROGATE = regex("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Parsed:
    """The plan, unless there are errors, and the diagnostics in the order of the plan's text."""

    plan: Plan | None
    diagnostics: tuple[Diagnostic, ...]

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The diagnostics that prevent the plan from being run."""
        return tuple(found for found in self.diagnostics if found.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """The diagnostics about what is probably not intended."""
        return tuple(found for found in self.diagnostics if found.severity is Severity.WARNING)


def parse(
    data: bytes | str,
    path: str,
    *,
    agent: str | None = None,
    is_agent: Callable[[str], bool] = lambda _: True,
    agents: Collection[str] = (),
) -> Parsed:
    """Parse a plan. Any text gives a plan or errors, never an exception.

    Args:
        data: The text of the plan; bytes are UTF-8.
        path: The plan's path as the user gave it, with which every diagnostic begins.
        agent: The agent that gets the text of tasks that name none, unless the plan sets one.
        is_agent: Whether an agent's name or command can be used. Those that the plan declares always can.
        agents: Names that a message may propose for one that cannot be used.
    """
    report = Report(path)
    plan: Plan | None = None
    text = decoded(data, report)
    if text is not None:
        try:
            plan = _plan(text, path, report, agent, _Agents(is_agent, agents))
        except RecursionError:
            report.error(1, 1, "the plan is nested too deeply")
    return Parsed(None if report.errors else plan, report.sorted())


def slug(text: str) -> str:
    """Return a text as a part of branch names: lower-case ASCII, words joined by `-`; may be empty."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_SLUG].rstrip("-")


def plan_name(title: str, file: str) -> str:
    """Return the plan's part of branch names: a slug of its title, else of its file's name.

    It gets a digest of the title where it does not show all of it: it is cut, or the title is not ASCII.
    """
    name, text = next(((slug(text), text) for text in (title, file) if slug(text)), ("plan", title or file))
    whole = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return name if (title or file).isascii() and name == whole else with_digest(name, title or file)


def with_digest(name: str, text: str) -> str:
    """Return a part of branch names, followed by a short digest of a text."""
    digest = sha256(text.encode(errors="surrogateescape")).hexdigest()[:_DIGEST]
    return f"{name[: _SLUG - _DIGEST - 1].rstrip('-')}-{digest}"


@dataclass(frozen=True, slots=True)
class _Agents:
    """Which names of agents can be used, and which a message may propose."""

    can_use: Callable[[str], bool]
    names: Collection[str]


def _plan(text: str, path: str, report: Report, agent: str | None, agents: _Agents) -> Plan | None:
    front = read_front_matter(text, report)
    settings = front.settings
    document = parse_blocks(front.body, extended=front.extended)
    if (line := document.depth()) is not None:
        report.error(line + 1, 1, "quotes and lists are nested too deeply here; flatten them")
        return None
    for line, what in document.unclosed():
        report.error(line + 1, 1, f"this {what} is never closed, so everything below belongs to it")

    fields = FieldReader(
        document,
        report,
        lambda name: name in settings.agents or agents.can_use(name),
        [*settings.agents, *agents.names],
    )
    _check_agent(front, fields)
    sections = split_sections(document, report, front.title or "")
    file = PurePath(path).stem
    title = sections[0].title or file
    if front.extended:
        assign_groups(fields, sections, report)
    else:
        find_loose_fields(
            document, sections, report, is_agent=fields.can_use, has_agent=bool(agent or settings.agent)
        )
    reader = SectionReader(fields, report)
    drafts = reader.batches(sections, title)
    batches = checked_batches(drafts, reader.links, report)
    if not any(batch.tasks for batch in batches) and not report.errors:
        report.error(1, 1, "the plan has no task; write one as `### Task 1.1: Title`")
    name = plan_name(sections[0].title, file)
    plan = Plan(name, title, path, batches, settings, neighbours=front.documents)
    if not front.extended:
        return plan
    return replace(
        plan,
        version=front.version,
        header=header(document, sections),
        footer=footer(document, sections),
    )


def _check_agent(front: FrontMatter, fields: FieldReader) -> None:
    if front.settings.agent is not None:
        fields.agent(front.settings.agent, *front.agent_at)


def decoded(data: bytes | str, report: Report) -> str | None:
    """Return the text with line feeds alone, and report characters that are not valid text."""
    if len(data) > MAX_BYTES:
        report.error(1, 1, f"the plan is larger than {MAX_BYTES // 1024 // 1024} MiB")
        return None
    text = _text(data.removeprefix("\ufeff"), report) if isinstance(data, str) else _utf8(data, report)
    if text is None:
        return None
    text = re.sub(r"\r\n?", "\n", text)
    if "\0" in text:
        line, column = _position(text[: text.index("\0")])
        report.error(line, column, "NUL character: a plan is a text file")
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text


def _utf8(data: bytes, report: Report) -> str | None:
    """Return the text of bytes; what is not UTF-8 is an error and replaced, so that all else is read."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        report.error(1, 1, "the plan is not UTF-8 but UTF-16; save it as UTF-8")
        return None
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line, column = _position(data[: error.start].decode())
        report.error(
            line, column, f"the byte 0x{data[error.start]:02x} is not valid UTF-8; save the plan as UTF-8"
        )
        return data.decode(errors="replace")


def _text(text: str, report: Report) -> str:
    """Return a text without unpaired surrogates, and report them."""
    if half := _SURROGATE.search(text):
        line, column = _position(text[: half.start()])
        report.error(line, column, "unpaired surrogate: the text is not valid Unicode")
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def _position(above: str) -> tuple[int, int]:
    """Return the line and column (1-based) of what follows a text."""
    lines = re.split(r"\r\n?|\n", above)
    return len(lines), len(lines[-1]) + 1
